"""Time and memory for files of 10,000, 100,000 and 1,000,000 rows, from the file to fitted weights.

The bundled sample's texts are repeated, each with a different number added, in a JSON-lines file of each size. Every
size runs in its own process, after a warm-up on 20,000 rows: oneDNN caches kernels by batch shape up to a limit, and
the first few thousand rows fill that memory. Four stages are measured: rows (read, checked, split, written), tokens
(the memory-mapped store), targets (a teacher's pass, memory-mapped) and training (a two-layer student distilled from
them; small files get more epochs, so that all sizes train on about the same number of rows). Models are tiny, because
only the cost per row is of interest.

    python -m benchmarks.scale            10,000, 100,000 and 1,000,000 rows
    python -m benchmarks.scale --quick    10,000 and 50,000 rows
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from itertools import count, cycle, islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import AutoTokenizer, BertConfig, BertForSequenceClassification, PreTrainedModel
from transformers.utils import logging as transformers_logging

from benchmarks.figures import tell, write_figures
from benchmarks.memory import PeakMemory
from benchmarks.ways import Stopwatch
from evenodd.encoders import init_student
from evenodd.encoders.files import resolve_model
from evenodd.rows import Corpus, load_corpus, token_store
from evenodd.rows.sample import sample_rows
from evenodd.settings import DataSettings, DistillSettings, TrainSettings
from evenodd.training import DistillObjective, FitContext, FitData, TeacherTargets, fit, teacher_targets

SIZES = (10_000, 100_000, 1_000_000)
QUICK_SIZES = (10_000, 50_000)
WARM_UP_ROWS = 20_000
LEAST_STEPPED_ROWS = 100_000
STAGES = ("rows", "tokens", "targets", "training")
LAYERS = (1, 3)


@dataclass(frozen=True)
class Stage:
    """Cost of a stage: number of `rows`, seconds, and peaks in MiB (see `PeakMemory`)."""

    rows: int
    seconds: float
    rss_mb: float
    private_mb: float


def measure(path: Path, work: Path) -> dict[str, Stage]:
    """All stages on one file, in this process, after a warm-up on a small file."""
    small = work / "warm-up.jsonl"
    write_rows(small, WARM_UP_ROWS)
    _run_stages(small, work / "warm-up", 1)
    rows = _lines(path)
    return _run_stages(path, work / "measured", max(1, LEAST_STEPPED_ROWS // rows))


def write_rows(path: Path, rows: int) -> None:
    """Writes a JSON-lines file with the given number of different texts and their labels."""
    texts = [(row["text"], row["label_text"]) for row in sample_rows()]
    with path.open("w", encoding="utf-8") as file:
        for number, (text, label) in islice(zip(count(), cycle(texts), strict=False), rows):
            file.write(json.dumps({"text": f"{text} {number}", "label_text": label}) + "\n")


def _run_stages(path: Path, work: Path, epochs: int) -> dict[str, Stage]:
    tokenizer = AutoTokenizer.from_pretrained(resolve_model("minilm"))
    teacher = _tiny_encoder(len(tokenizer))
    found: dict[str, Stage] = {}

    def stage(name: str, rows: int, step: Callable[[], Any]) -> Any:
        with PeakMemory() as memory:
            start = time.perf_counter()
            result = step()
            seconds = time.perf_counter() - start
        if isinstance(result, Stopwatch):
            seconds = result.seconds
        found[name] = Stage(rows, seconds, memory.rss_mb, memory.private_mb)
        return result

    rows = _lines(path)
    corpus = stage("rows", rows, lambda: load_corpus(DataSettings(source=str(path)), seed=0, cache=work))
    stores = stage("tokens", rows, lambda: _tokens(corpus, tokenizer, work))
    train = len(corpus.train)
    targets = stage("targets", train, lambda: teacher_targets(teacher, stores[0], work / "targets", "fp32"))
    data = FitData(stores[0], corpus.train.labels, stores[1], corpus.validation.labels)
    stage("training", train * epochs, lambda: _train(teacher, data, targets, work / "fit", epochs))
    return found


def _lines(path: Path) -> int:
    with path.open("rb") as file:
        return sum(1 for _ in file)


def _tokens(corpus: Corpus, tokenizer: Any, work: Path) -> list[Any]:
    return [token_store(split, tokenizer, max_length=128, cache=work) for split in corpus.splits]


def _train(teacher: PreTrainedModel, data: FitData, targets: TeacherTargets, folder: Path, epochs: int) -> Stopwatch:
    """Distils as a run does; the time covers only the steps, the memory everything."""
    settings = TrainSettings(epochs=epochs, token_budget=4096, max_rows=256, patience=epochs)
    objective, watch = DistillObjective(DistillSettings(), LAYERS, targets=targets), Stopwatch()
    student = init_student(teacher, LAYERS).model
    fit(student, data, settings, objective, FitContext(folder, 0, _accuracy, callbacks=(watch,)))
    return watch


def _accuracy(logits: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    return {"f1_macro": float((logits.argmax(1) == labels).mean())}


def _tiny_encoder(vocabulary: int) -> PreTrainedModel:
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=vocabulary, hidden_size=32, num_hidden_layers=4, num_attention_heads=2, intermediate_size=64
    )
    return BertForSequenceClassification(config)


def run(sizes: tuple[int, ...], work: Path) -> dict[str, Any]:
    """Measures every size in its own process.

    Returns:
        `sizes`: stages by rows; by stage the ratios `seconds_per_row_over_first` of the largest size, and
        `bytes_per_row`: growth of private memory from the first size to the last, by row of the file.

    Raises:
        RuntimeError: a size failed.
    """
    found = {size: _in_a_process(size, work / str(size)) for size in sizes}
    return {"sizes": {str(size): {name: asdict(stage) for name, stage in found[size].items()} for size in sizes}} | {
        "seconds_per_row_over_first": {name: _slower(found, name) for name in STAGES},
        "bytes_per_row": {name: _growth(found, name) for name in STAGES},
    }


def _in_a_process(size: int, work: Path) -> dict[str, Stage]:
    work.mkdir(parents=True)
    path = work / "rows.jsonl"
    write_rows(path, size)
    tell(f"{size:,} rows, {path.stat().st_size / 1e6:.0f} MB")
    command = [sys.executable, "-m", "benchmarks.scale", "--file", str(path), "--work", str(work)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{size:,} rows: the process ended with {done.returncode}; see its output above.")
    return {name: Stage(**stage) for name, stage in json.loads(done.stdout.splitlines()[-1]).items()}


def _per_row(stage: Stage) -> float:
    return stage.seconds / stage.rows


def _slower(found: dict[int, dict[str, Stage]], name: str) -> float:
    first, last = min(found), max(found)
    return _per_row(found[last][name]) / _per_row(found[first][name])


def _growth(found: dict[int, dict[str, Stage]], name: str) -> float:
    first, last = min(found), max(found)
    if first == last:
        return 0.0
    return (found[last][name].private_mb - found[first][name].private_mb) * 2**20 / (last - first)


def table(figures: dict[str, Any]) -> str:
    """A line for each stage of each size, then the growth."""
    lines = [f"{'rows':>9}  {'stage':<9} {'µs/row':>8} {'seconds':>8} {'private MB':>11} {'with files MB':>14}"]
    for size, stages in figures["sizes"].items():
        for name, row in stages.items():
            per_row, memory = row["seconds"] / row["rows"] * 1e6, f"{row['private_mb']:11,.0f} {row['rss_mb']:14,.0f}"
            lines.append(f"{int(size):>9,}  {name:<9} {per_row:8,.0f} {row['seconds']:8.1f} {memory}")
    lines += ["", "from the first size to the last:"]
    for name in STAGES:
        slower, grown = figures["seconds_per_row_over_first"][name], figures["bytes_per_row"][name]
        lines.append(f"  {name:<9} seconds per row × {slower:.2f}, private memory + {grown:.0f} bytes per row")
    return "\n".join(lines)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="two small sizes")
    parser.add_argument("--json", type=Path, help="file to write the figures to")
    parser.add_argument("--rows", help="sizes, separated by commas")
    parser.add_argument("--work", type=Path, help="folder for the files, a few GB; default: a temporary one")
    parser.add_argument("--file", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    transformers_logging.disable_progress_bar()
    transformers_logging.set_verbosity_error()
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    os.environ.setdefault("HF_DATASETS_DISABLE_PROGRESS_BARS", "1")
    if given.file:
        print(json.dumps({name: asdict(stage) for name, stage in measure(given.file, given.work).items()}))
        return
    sizes = tuple(map(int, given.rows.split(","))) if given.rows else QUICK_SIZES if given.quick else SIZES
    with tempfile.TemporaryDirectory(dir=given.work) as work:
        figures = run(sizes, Path(work))
    print(table(figures))
    write_figures(given.json, figures)


if __name__ == "__main__":
    main()
