"""Speed of a model or a graph by batch size and length, and its trade-off with macro-F1."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from evenodd.classifier.session import open_session
from evenodd.release.encode import Feeds
from evenodd.release.export import Graphs
from evenodd.release.graph import INPUT_NAMES

Predict = Callable[[Feeds], object]

BATCHES = (1, 8, 32)
LENGTHS = (16, 32, 64, 128)
SHORT, FULL = ((1, 32), (32,)), (BATCHES, LENGTHS)
POINT = {"batch": 1, "tokens": 32}
FIRST_WORD_ID = 5
WORD_IDS = 100
MIN_RUNS = 3


def latency_p50_ms(target: torch.nn.Module | Path, *, tokens: int = 32, seconds: float = 1.5) -> float:
    """Median milliseconds of one text of 32 tokens on one CPU thread: the metric `cost/latency_p50_ms`.

    One text is what an unbatched caller waits for; 32 tokens are above the average of forum texts; with one thread the
    figure does not depend on the number of cores. It takes about two seconds.

    Args:
        target: a transformers classifier, or the path of a graph.
        tokens: length of the text.
        seconds: measuring time; there are at least three runs.
    """
    with one_thread():
        predict, inputs = _predictor(target, threads=1)
        return float(np.median(time_runs(predict, random_feeds(inputs, 1, tokens), seconds)))


def latency_table(
    model: torch.nn.Module,
    graphs: Mapping[str, Path],
    *,
    batches: Sequence[int] = BATCHES,
    lengths: Sequence[int] = LENGTHS,
    seconds: float = 0.3,
) -> pd.DataFrame:
    """Sentences per second and latency for torch (float32, bfloat16) and each graph, on all cores of this CPU.

    Args:
        model: a transformers classifier on the CPU.
        graphs: name to graph file.
        batches: numbers of rows per batch.
        lengths: numbers of tokens per row.
        seconds: measuring time per cell; there are at least three runs.

    Returns:
        One row per runtime, batch and length: runtime, batch, tokens, sentences_per_second, p50_ms, p95_ms, runs.
    """
    rows = []
    for name, predict, inputs in _runtimes(model, graphs):
        for batch in batches:
            for tokens in lengths:
                times = time_runs(predict, random_feeds(inputs, batch, tokens), seconds)
                rows.append(_cell(name, batch, tokens, times))
    return pd.DataFrame(rows)


def _runtimes(model: torch.nn.Module, graphs: Mapping[str, Path]) -> Iterator[tuple[str, Predict, tuple[str, ...]]]:
    """Name, callable and inputs of each compared runtime."""
    predict, inputs = _predictor(model)
    yield "torch fp32", predict, inputs

    def predict_bf16(feeds: Feeds) -> object:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            return predict(feeds)

    yield "torch bf16", predict_bf16, inputs
    for name, path in graphs.items():
        yield (f"onnx {name}", *_predictor(path))


def _cell(name: str, batch: int, tokens: int, times: np.ndarray) -> dict[str, object]:
    """A row of the table from run times in milliseconds."""
    p50, p95 = np.percentile(times, [50, 95])
    return {
        "runtime": name,
        "batch": batch,
        "tokens": tokens,
        "sentences_per_second": 1000 * batch / p50,
        "p50_ms": p50,
        "p95_ms": p95,
        "runs": len(times),
    }


def _predictor(target: torch.nn.Module | Path, threads: int = 0) -> tuple[Predict, tuple[str, ...]]:
    """A callable for padded feeds, and its inputs."""
    if isinstance(target, Path):
        session = open_session(target, threads=threads)
        return session.run, tuple(each.name for each in session.session.get_inputs())
    model = target

    def predict(feeds: Feeds) -> object:
        was_training = model.training
        model.eval()
        with torch.inference_mode():
            logits = model(**{name: torch.from_numpy(value) for name, value in feeds.items()}).logits
        model.train(was_training)
        return logits

    return predict, INPUT_NAMES[:2]


def random_feeds(inputs: Sequence[str], batch: int, tokens: int) -> Feeds:
    """A batch of random word ids without padding: int64, (batch, tokens)."""
    ids = np.random.default_rng(0).integers(FIRST_WORD_ID, WORD_IDS, (batch, tokens), dtype=np.int64)
    feeds = {"input_ids": ids, "attention_mask": np.ones_like(ids), "token_type_ids": np.zeros_like(ids)}
    return {name: feeds[name] for name in inputs}


def time_runs(predict: Predict, feeds: Feeds, seconds: float) -> np.ndarray:
    """Milliseconds of each run after a warm-up run: float64, (runs,)."""
    predict(feeds)
    times: list[float] = []
    end = time.perf_counter() + seconds
    while len(times) < MIN_RUNS or time.perf_counter() < end:
        start = time.perf_counter()
        predict(feeds)
        times.append(1000 * (time.perf_counter() - start))
    return np.array(times)


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Restricts torch to one thread within a `with` block."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def pareto_points(table: pd.DataFrame, graphs: Graphs, parameters: int) -> pd.DataFrame:
    """Points for `plot_pareto`: torch in float32, each graph, and `checked` if it was measured.

    Latency is the median of one text of 32 tokens. `checked` is not run: its latency is int8's plus its share of
    float32's, and its labels are float32's. torch in bfloat16 is left out, because its macro-F1 is not measured.

    Args:
        table: from `latency_table`, with batch 1 and 32 tokens.
        graphs: from `export_graphs`, with macro-F1.
        parameters: number of parameters of the torch model.

    Raises:
        ValueError: the export had no labels.
    """
    if graphs.f1_macro is None:
        raise ValueError("graphs.f1_macro is None: pass validation_labels to export_graphs.")
    cells = table[(table.batch == POINT["batch"]) & (table.tokens == POINT["tokens"])]
    latency = cells.set_index("runtime").p50_ms
    rows = [("torch fp32", latency["torch fp32"], graphs.f1_macro, 4 * parameters / 1e6)]
    for kind, candidate in graphs.chosen.items():
        f1 = graphs.f1_macro - (candidate.f1_loss or 0.0)
        rows.append((f"onnx {kind}", latency[f"onnx {kind}"], f1, candidate.megabytes))
    if graphs.checked is not None:
        fast, exact = (graphs.chosen[kind] for kind in (graphs.checked.kind, "fp32"))
        both = latency[f"onnx {fast.kind}"] + graphs.checked.share * latency["onnx fp32"]
        rows.append(("checked", both, graphs.f1_macro, fast.megabytes + exact.megabytes))
    return pd.DataFrame(rows, columns=["name", "latency_ms", "f1_macro", "megabytes"])


def pareto_front(latency_ms: ArrayLike, f1_macro: ArrayLike) -> np.ndarray:
    """Points on the Pareto front: bool, (n,)."""
    latency, f1 = np.asarray(latency_ms, dtype=float), np.asarray(f1_macro, dtype=float)
    no_worse = (latency[:, None] <= latency) & (f1[:, None] >= f1)
    better = (latency[:, None] < latency) | (f1[:, None] > f1)
    return np.asarray(~(no_worse & better).any(axis=0))


def plot_pareto(points: pd.DataFrame) -> Figure:
    """Macro-F1 against latency, size of the file as area, the Pareto front as a line.

    Args:
        points: columns name, latency_ms, f1_macro, megabytes; one row per graph.

    Raises:
        ValueError: a column is missing.
    """
    missing = {"name", "latency_ms", "f1_macro", "megabytes"} - set(points.columns)
    if missing:
        raise ValueError(
            f"points: columns {', '.join(sorted(missing))} are missing; it has {', '.join(points.columns)}."
        )
    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.add_subplot()
    front = points[pareto_front(points.latency_ms, points.f1_macro)].sort_values("latency_ms")
    axes.step(front.latency_ms, front.f1_macro, where="post", color="tab:grey", zorder=1, label="Pareto front")
    axes.scatter(points.latency_ms, points.f1_macro, s=4 * points.megabytes + 12, alpha=0.6, zorder=2)
    for row in points.itertuples():
        axes.annotate(
            str(row.name), (row.latency_ms, row.f1_macro), xytext=(5, 5), textcoords="offset points", fontsize=8
        )
    axes.set_xscale("log")
    axes.set_xlabel("latency, ms (area: size of the file)")
    axes.set_ylabel("macro-F1")
    axes.legend(loc="lower right", frameon=False)
    return figure
