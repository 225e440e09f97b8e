"""Processes that measure recipes, each with the same rows and the same teacher."""

from __future__ import annotations

import copy
import hashlib
import multiprocessing
import os
import time
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Any

import numpy as np
import torch
from transformers.utils import logging as transformers_logging

from benchmarks.bench import CLASSROOM_TOKENS, Bench, part_of, scores
from benchmarks.memory import PeakMemory
from benchmarks.recipes import QUALITY, RECIPES, Measured, run_recipe
from evenodd.encoders import load_encoder
from evenodd.encoders.encoder import best_attention, state_digest
from evenodd.encoders.files import resolve_model
from evenodd.rows import TokenStore, load_corpus, token_store
from evenodd.settings import DataSettings, TrainSettings
from evenodd.training import FitContext, FitData, LabelObjective, choose_precision, fit, teacher_targets
from evenodd.training.inputs import Score
from evenodd.training.precision import best_device, measure_rates

WARM_UP_ROWS = 32
QUICK_SCORED_ROWS = 128


@dataclass(frozen=True)
class Task:
    """Common input of all processes of a run.

    Attributes:
        data, model: as for `-P data` and `-P teacher`.
        home: folder of caches.
        work: folder for files of runs, and for the fitted teacher, which later processes read.
        fitted: whether the teacher is fine-tuned first, for two epochs; speeds do not depend on it.
        cached: whether the teacher's targets are cached; peers run the teacher for every batch.
    """

    data: str
    model: str
    home: Path
    work: Path
    fitted: bool
    cached: bool = True


class Worker:
    """A process that measures recipes on request, one after another.

    Args:
        task: its input.
        environ: environment variables of the process.

    Attributes:
        teacher: digest of the rows and the encoder that the teacher is fitted from.
        teacher_pass_seconds: duration of the teacher's pass over all rows.

    Raises:
        ValueError: rows or encoder cannot be used.
        RuntimeError: the process died or failed.
    """

    def __init__(self, task: Task, environ: Mapping[str, str] = MappingProxyType({})) -> None:
        context = multiprocessing.get_context("spawn")
        self.pipe, self.theirs = context.Pipe()
        self.process = context.Process(target=_measure_as_asked, args=(self.theirs, task, dict(environ)), daemon=True)
        self.teacher, self.teacher_pass_seconds = "", 0.0

    def __enter__(self) -> Worker:
        self.process.start()
        self.theirs.close()
        self.teacher, self.teacher_pass_seconds = self._answer()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.process.kill()
        self.process.join()

    def measure(self, name: str, rows: int | None, **how: int) -> dict[str, float]:
        """Measures a recipe on the given number of rows (None: all)."""
        self.pipe.send((name, rows, how))
        found: dict[str, float] = self._answer()
        return found

    def products(self) -> dict[str, float]:
        """GFLOP/s of a matrix product in each precision, now."""
        self.pipe.send(None)
        found: dict[str, float] = self._answer()
        return found

    def _answer(self) -> Any:
        try:
            found = self.pipe.recv()
        except EOFError:
            self.process.join()
            code = self.process.exitcode
            raise RuntimeError(f"a measuring process ended with {code}; see its output above.") from None
        if isinstance(found, str):
            raise ValueError(found)
        return found


def _measure_as_asked(pipe: Connection, task: Task, environ: dict[str, str]) -> None:
    os.environ.update(environ)
    be_quiet()
    try:
        bench, *about = prepare(task)
    except (ValueError, OSError) as error:
        pipe.send(" ".join(str(error).split()))
        return
    pipe.send(about)
    warm: dict[str, float] = {}
    while True:
        asked = pipe.recv()
        if asked is None:
            pipe.send(measure_rates(best_device()))
            continue
        name, rows, how = asked
        if name not in warm:
            start = time.perf_counter()
            run_recipe(bench, RECIPES[name], WARM_UP_ROWS)
            warm[name] = time.perf_counter() - start
        with PeakMemory() as memory:
            found = run_recipe(bench, RECIPES[name], rows, **how)
        about = {"first_use_seconds": warm[name], "peak_mb": memory.rss_mb}
        pipe.send(_figures(found) | about | _device_peak())


def _device_peak() -> dict[str, float]:
    """Peak GPU memory since the last call, in MiB."""
    if not torch.cuda.is_available():
        return {}
    peak = torch.cuda.max_memory_allocated() / 2**20
    torch.cuda.reset_peak_memory_stats()
    return {"peak_device_mb": peak}


def prepare(task: Task) -> tuple[Bench, str, float]:
    """Rows, token ids, the teacher and its targets; the digest of its inputs; the seconds of its pass."""
    torch.manual_seed(0)
    cache = task.home / "cache"
    corpus = load_corpus(DataSettings(source=task.data), seed=0, cache=cache)
    encoder, tokenizer = load_encoder(resolve_model(task.model), corpus.task, attention=best_attention(best_device()))
    encoder.to(best_device())
    train = token_store(corpus.train, tokenizer, max_length=CLASSROOM_TOKENS, cache=cache)
    validation = token_store(corpus.validation, tokenizer, max_length=CLASSROOM_TOKENS, cache=cache)
    test = token_store(corpus.test, tokenizer, max_length=CLASSROOM_TOKENS, cache=cache)
    teacher = copy.deepcopy(encoder)
    digest = hashlib.sha256(f"{corpus.digest} {state_digest(encoder.state_dict())}".encode()).hexdigest()[:16]
    if task.fitted:
        about = FitData(train, corpus.train.labels, validation, corpus.validation.labels)
        _fit_teacher(teacher, about, partial(scores, corpus), task.work / f"teacher-{digest}")
    start = time.perf_counter()
    precision = choose_precision("auto", best_device())
    targets = teacher_targets(teacher, train, task.work / "targets", precision) if task.cached else None
    seconds = time.perf_counter() - start
    seen = [*_looked_at(task, validation, corpus.validation.labels), *_looked_at(task, test, corpus.test.labels)]
    return Bench(corpus, encoder, teacher.requires_grad_(True), train, *seen, targets, task.work), digest, seconds


def _looked_at(task: Task, store: TokenStore, labels: np.ndarray) -> tuple[TokenStore, np.ndarray]:
    """All rows, or a few if only speeds are measured."""
    rows = np.arange(len(store) if task.fitted else min(len(store), QUICK_SCORED_ROWS))
    return part_of(store, rows), labels[rows]


def _fit_teacher(teacher: Any, data: FitData, score: Score, folder: Path) -> None:
    """Reads the first process's weights if they exist, so that both workers distil the same teacher."""
    weights = folder / "weights.pt"
    if weights.is_file():
        teacher.load_state_dict(torch.load(weights, weights_only=True, map_location=teacher.device))
        return
    fit(teacher, data, TrainSettings(epochs=2), LabelObjective(), FitContext(folder, 0, score))
    partial_file = weights.with_suffix(".partial")
    torch.save(teacher.state_dict(), partial_file)
    partial_file.rename(weights)


def _figures(found: Measured) -> dict[str, float]:
    return {
        "sentences_per_second": found.rows / found.seconds,
        "tokens_per_second": found.tokens / found.seconds,
        "gflops": found.flops / found.seconds / 1e9,
        "executed_gflops": found.executed_flops / found.seconds / 1e9,
        "rows_per_step": found.rows / found.steps,
        "rows": found.rows,
        "seconds": found.seconds,
        **{name: getattr(found, name) for name in QUALITY},
    }


def be_quiet() -> None:
    """Disables the hub, and transformers' progress bars, hints and warnings."""
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    transformers_logging.disable_progress_bar()
    warnings.filterwarnings("ignore", category=FutureWarning)
    transformers_logging.set_verbosity_error()
