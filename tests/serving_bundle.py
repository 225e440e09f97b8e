"""A tiny bundle for the tests of `serving/`, made from scratch: BERT from its config, a small vocabulary, ONNX.

It follows the bundle contract on its own, so that the service is tested against the contract and not against the
writer.
"""

from __future__ import annotations

import atexit
import functools
import hashlib
import json
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import BertConfig, BertForSequenceClassification, PreTrainedModel

from evenodd.evidence.suites.own import own_page

WORDS = tuple(
    """i you we they he she it hate love like people women men group all some no not never do the a to of and are is was
    my your their good bad day sun rain go away out here there what why this that post read said wrong right friend
    stupid""".split()  # noqa: SIM905
)
CHECKED_MARGIN = 0.3
SAMPLE_TEXTS = ("i hate you", "I HATE rain", "i love my friend", "12 34", "they are not wrong, are they?", "")


def tiny_tokenizer() -> Tokenizer:
    """WordPiece over a few words, letters, digits and punctuation; [CLS] and [SEP] around; nothing cut or padded."""
    letters = [chr(code) for code in (*range(97, 123), *range(48, 58))]
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS, *(x for x in letters if x not in WORDS)]
    vocabulary += [f"##{letter}" for letter in letters] + list(".,!?'\"-:;()")
    tokenizer = Tokenizer(models.WordPiece({word: i for i, word in enumerate(vocabulary)}, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    return tokenizer


def tiny_bert(labels: int, *, seed: int = 0, vocabulary: int | None = None) -> PreTrainedModel:
    """Two layers of random weights, spread wide enough that texts differ in score."""
    torch.manual_seed(seed)
    config = BertConfig(
        vocab_size=vocabulary or tiny_tokenizer().get_vocab_size(),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=128,
        num_labels=labels,
        initializer_range=0.5,
        attn_implementation="eager",
    )
    return BertForSequenceClassification(config).eval()


class _Logits(torch.nn.Module):
    def __init__(self, model: PreTrainedModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, input_ids: Any, attention_mask: Any, token_type_ids: Any) -> Any:
        return self.model(input_ids=input_ids, attention_mask=attention_mask, token_type_ids=token_type_ids).logits


def export_graph(model: PreTrainedModel, path: Path) -> None:
    """The model as ONNX with batch and tokens free."""
    names = ["input_ids", "attention_mask", "token_type_ids"]
    ids = torch.ones((2, 8), dtype=torch.int64)
    axes = {name: {0: "batch", 1: "tokens"} for name in names}
    torch.onnx.export(
        _Logits(model).eval(),
        (ids, ids, torch.zeros_like(ids)),
        str(path),
        input_names=names,
        output_names=["logits"],
        dynamic_axes={**axes, "logits": {0: "batch"}},
        opset_version=17,
        dynamo=False,
    )


def quantize(source: Path, target: Path, *, lightly: bool = False) -> None:
    """Dynamic int8 of every matrix product, or of the last two: random weights are far off when all are quantised."""
    from onnxruntime.quantization import QuantType, quantize_dynamic

    last = ["/model/bert/encoder/layer.1/intermediate/dense/MatMul", "/model/bert/encoder/layer.1/output/dense/MatMul"]
    chosen = {"nodes_to_quantize": last} if lightly else {}
    quantize_dynamic(
        str(source), str(target), weight_type=QuantType.QInt8, per_channel=True, reduce_range=True, **chosen
    )


def reference_probabilities(folder: Path, graph: str, texts: Sequence[str], temperature: float = 1.0) -> np.ndarray:
    """Calibrated probabilities text by text, float64 (texts, labels): no batching, no padding, cut at max_length."""
    description = json.loads((folder / "bundle.json").read_text())
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.enable_truncation(description["max_length"])
    session = ort.InferenceSession(str(folder / description["graphs"][graph]), providers=["CPUExecutionProvider"])
    rows = []
    for text in texts:
        ids = np.array([tokenizer.encode(text).ids], dtype=np.int64)
        feed = {"input_ids": ids, "attention_mask": np.ones_like(ids), "token_type_ids": np.zeros_like(ids)}
        logits = session.run(None, {name: feed[name] for name in description["inputs"]})[0].astype(np.float64)[0]
        scaled = np.exp((logits - logits.max()) / temperature)
        rows.append(scaled / scaled.sum())
    return np.array(rows)


def seal(folder: Path) -> None:
    """Write the digests and the samples' probabilities of the files that are there into bundle.json."""
    path = folder / "bundle.json"
    description = json.loads(path.read_text())
    names = [*description["graphs"].values(), "tokenizer.json", *(["card.md"] if (folder / "card.md").exists() else [])]
    description["files"] = {
        name: {
            "sha256": hashlib.sha256((folder / name).read_bytes()).hexdigest(),
            "bytes": (folder / name).stat().st_size,
        }
        for name in names
    }
    temperature = description["decision"]["temperature"]
    tables = {kind: reference_probabilities(folder, kind, SAMPLE_TEXTS, temperature) for kind in description["graphs"]}
    description["samples"] = [
        {
            "text": text,
            **outcome(description, tables["fp32"][i].tolist()),
            "probabilities": {kind: table[i].tolist() for kind, table in tables.items()},
        }
        for i, text in enumerate(SAMPLE_TEXTS)
    ]
    path.write_text(json.dumps(description, indent=1))


def outcome(description: dict[str, Any], row: list[float]) -> dict[str, Any]:
    """Label, decision and score of a text's probabilities."""
    labels, positive = description["task"]["labels"], description["task"]["positive"]
    threshold, (low, high) = description["decision"]["threshold"], description["decision"]["review"]
    best = labels[row.index(max(row))]
    if positive is None:
        return {"label": best, "decision": best if max(row) >= high else "review", "score": max(row)}
    score = row[labels.index(positive)]
    other = next(label for label in labels if label != positive)
    decided = "review" if low <= score < high else positive if score >= threshold else other
    return {"label": best, "decision": decided, "score": score}


@dataclass(frozen=True)
class Kind:
    """What a bundle for tests holds; `margin` makes it answer from int8 with float32 near a boundary."""

    labels: tuple[str, ...] = ("noHate", "hate")
    positive: str | None = "hate"
    variant: str = "odd"
    int8: bool = False
    margin: float | None = None
    seed: int = 0


def write_bundle(folder: Path, kind: Kind) -> Path:
    """A whole bundle in `folder`, which is made. Returns the folder."""
    folder.mkdir(parents=True)
    export_graph(tiny_bert(len(kind.labels), seed=kind.seed), folder / "model.onnx")
    tiny_tokenizer().save(str(folder / "tokenizer.json"))
    if kind.int8:
        quantize(folder / "model.onnx", folder / "model.int8.onnx", lightly=kind.margin is not None)
    (folder / "card.md").write_text(f"# {kind.variant}\n\nA tiny model of random weights, for tests.\n")
    (folder / "bundle.json").write_text(json.dumps(describe(kind)))
    seal(folder)
    return folder


def describe(kind: Kind) -> dict[str, Any]:
    """The content of `bundle.json`, digests and samples left to `seal`."""
    return {
        "format": 3,
        "name": "hate-speech",
        "variant": kind.variant,
        "version": "3",
        "run_id": "0" * 32,
        "created": "2026-01-02T03:04:05+00:00",
        "task": {
            "kind": "binary" if len(kind.labels) == 2 else "multiclass",
            "labels": list(kind.labels),
            "positive": kind.positive,
            "metric": "f1_macro",
        },
        "max_length": 32,
        "pad_token_id": 0,
        "inputs": ["input_ids", "attention_mask", "token_type_ids"],
        "window_overlap": 8,
        "provider": "auto",
        "decision": {
            "temperature": 1.5,
            "threshold": 0.5 if kind.positive else None,
            "review": [0.4, 0.6],
            "target": "f1_macro",
            "pooling": "max",
        },
        "graphs": {"fp32": "model.onnx"} | ({"int8": "model.int8.onnx"} if kind.int8 else {}),
        "recommended": {"cpu": "checked" if kind.margin else "int8" if kind.int8 else "fp32", "cuda": "fp32"},
        "checked": {"kind": "int8", "margin": kind.margin, "share": 0.2, "max_abs_diff": 0.1} if kind.margin else None,
        "data": {"name": "sample", "digest": "0" * 64, "synthetic": True},
        "teacher": "minilm",
        "layer_map": [1, 3, 5],
        "metrics": {"test/f1_macro": 0.5},
        "limits": ["Random weights: for tests only."],
        "page": own_page("hate", "noHate") if kind.positive == "hate" else None,
        "reference": {
            "score_edges": [i / 10 for i in range(11)],
            "score_counts": [10] * 10,
            "length_edges": [0, 4, 8, 16, 32, 64],
            "length_counts": [5, 20, 40, 30, 5],
        },
    }


def copy_bundle(source: Path, target: Path) -> Path:
    """A copy to spoil."""
    shutil.copytree(source, target)
    return target


def change_bundle(folder: Path, change: dict[str, Any]) -> None:
    """Overwrite fields of bundle.json; a dotted name goes into an object."""
    path = folder / "bundle.json"
    description = json.loads(path.read_text())
    for name, value in change.items():
        place = description
        *outer, last = name.split(".")
        for part in outer:
            place = place[part]
        if value is None:
            place.pop(last, None)
        else:
            place[last] = value
    path.write_text(json.dumps(description))


KINDS = {
    "binary": Kind(),
    "int8": Kind(int8=True),
    "checked": Kind(int8=True, margin=CHECKED_MARGIN),
    "even": Kind(variant="even", seed=1),
    "multiclass": Kind(labels=("calm", "rude", "cruel"), positive=None, variant="three", seed=2),
}


@functools.cache
def shared_bundle(kind: str = "binary") -> Path:
    """A bundle made once a test run, not to be changed: of one of `KINDS`."""
    folder = Path(tempfile.mkdtemp(prefix="evenodd-test-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return write_bundle(folder / kind, KINDS[kind])
