"""Training speed: the class-room loop, transformers' Trainer and this project in one run, on the same rows.

Three tasks: distilling a teacher into its odd layers, fine-tuning the teacher, and LoRA. `ours` is the peers' recipe,
term for term, with about as many rows a step; the further lines of ours change what leaves quality as it is (frozen
word embeddings, no dropout, the usual 1,024 tokens a step). One pass of the teacher over all rows, which every
student, seed and trial shares, is timed apart.

Recipes in bf16 with batches by length pass over their rows three times, as oneDNN makes its kernels in the first
Every recipe is timed several times, in rounds through the whole list, and ratios are taken within a round: other work
on the machine slows a whole round, not one line. Peers and ours have a process each, as what ours asks of the memory
allocator and of oneDNN holds for a process.

    python -m benchmarks.training            speeds, and the macro-F1 that each recipe reaches over three seeds
    python -m benchmarks.training --quick    speeds alone, in under five minutes on two cores
"""

from __future__ import annotations

import argparse
import copy
import multiprocessing
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Any

import numpy as np
import torch
from transformers.utils import logging as transformers_logging

from benchmarks.figures import write_figures
from benchmarks.memory import PeakMemory
from benchmarks.recipes import CLASSROOM_TOKENS, RECIPES, Bench, Measured, part_of, run_recipe
from evenodd.config import DataSettings, TrainSettings
from evenodd.data import load_corpus, resolve_model, token_store
from evenodd.training import FitContext, FitData, LabelObjective, choose_precision, fit, teacher_targets
from evenodd.training.precision import DTYPES, best_device, measure_product
from evenodd.variants import load_encoder
from pipelines.command import ENVIRONMENT

ROUNDS = 3
PRODUCT_SIZE = 2048
SHARES = ("share_of_ceiling", "share_of_ceiling_executed", "best_share_of_ceiling", "best_share_of_ceiling_executed")
WARM_UP_ROWS = 32
QUICK_VALIDATION_ROWS = 128
RATIOS = {
    "ours_over_classroom": ("ours", "classroom"),
    "best_over_classroom": ("ours, frozen, no dropout", "classroom"),
    "ours_over_trainer_bf16_grouped": ("ours", "trainer bf16 grouped"),
    "best_over_trainer_bf16_grouped": ("ours, frozen, no dropout", "trainer bf16 grouped"),
    "teacher_over_trainer_fp32": ("teacher ours", "teacher trainer fp32"),
    "best_teacher_over_trainer_fp32": ("teacher ours, frozen, no dropout", "teacher trainer fp32"),
    "lora_over_trainer_fp32": ("lora ours", "lora trainer fp32"),
    "best_lora_over_trainer_fp32": ("lora ours, no dropout", "lora trainer fp32"),
}


@dataclass(frozen=True)
class Task:
    """What every process of a run measures on.

    Attributes:
        data: as for `-P data`.
        home: caches.
        work: for what runs leave behind; the fitted teacher lies there for the process that comes later.
        fitted: whether the teacher is fine-tuned first, for two epochs; speeds do not depend on it.
        cached: whether the teacher passes over all rows before: peers run it for every batch.
    """

    data: str
    home: Path
    work: Path
    fitted: bool
    cached: bool = True


def run(
    *, quick: bool, data: str, seeds: int, epochs: int, home: Path, scored: Iterable[str] = RECIPES
) -> dict[str, Any]:
    """Every recipe's speed, and without `quick` the macro-F1 that the `scored` ones reach.

    Returns:
        `recipes`: figures by recipe, medians over the rounds, and `rounds`: sentences a second in each; the ratios of
        `RATIOS`; `share_of_ceiling` of ours and `best_share_of_ceiling`; `product_gflops` by precision;
        `teacher_pass_seconds` over all rows.
    """
    with tempfile.TemporaryDirectory() as work:
        task = Task(data, home, Path(work), fitted=not quick)
        _tell(f"preparing {data}")
        with Side(task, ENVIRONMENT) as ours, Side(replace(task, cached=False)) as peers:
            sides = {"ours": ours, "classroom": peers, "trainer": peers}
            rounds = [_round(number, sides) for number in range(1, ROUNDS + 1)]
            figures = summary(rounds) | {"teacher_pass_seconds": ours.teacher_pass_seconds}
            for name in () if quick else scored:
                figures["recipes"][name] |= _quality(sides[RECIPES[name].how], name, seeds, epochs)
    return figures


class Side:
    """A process that measures recipes, one after another, as it is asked.

    Args:
        task: what it measures on.
        environ: variables of its own.

    Raises:
        RuntimeError: the process died or failed.
    """

    def __init__(self, task: Task, environ: Mapping[str, str] = MappingProxyType({})) -> None:
        context = multiprocessing.get_context("spawn")
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(target=_measure_as_asked, args=(theirs, task, dict(environ)), daemon=True)
        self.teacher_pass_seconds = 0.0

    def __enter__(self) -> Side:
        self.process.start()
        self.teacher_pass_seconds = self._answer()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.process.kill()
        self.process.join()

    def measure(self, name: str, rows: int | None, **how: int) -> dict[str, float]:
        """A recipe on so many rows (None: all)."""
        self.pipe.send((name, rows, how))
        found: dict[str, float] = self._answer()
        return found

    def products(self) -> dict[str, float]:
        """GFLOP/s of a matrix product in each precision, now."""
        self.pipe.send(None)
        found: dict[str, float] = self._answer()
        return found

    def _answer(self) -> Any:
        while not self.pipe.poll(1.0):
            if not self.process.is_alive():
                raise RuntimeError(f"a measuring process ended with {self.process.exitcode}; what it said is above.")
        return self.pipe.recv()


def _measure_as_asked(pipe: Connection, task: Task, environ: dict[str, str]) -> None:
    os.environ.update(environ)
    _be_quiet()
    bench, seconds = prepare(task)
    pipe.send(seconds)
    warm: set[str] = set()
    while True:
        asked = pipe.recv()
        if asked is None:
            pipe.send({name: _product(dtype) for name, dtype in DTYPES.items()})
            continue
        name, rows, how = asked
        if name not in warm:
            run_recipe(bench, RECIPES[name], WARM_UP_ROWS)
            warm.add(name)
        with PeakMemory() as memory:
            found = run_recipe(bench, RECIPES[name], rows, **how)
        pipe.send(_figures(found) | {"peak_mb": memory.rss_mb})


def _product(dtype: torch.dtype) -> float:
    return measure_product(dtype, torch.device(best_device()), size=PRODUCT_SIZE)


def prepare(task: Task) -> tuple[Bench, float]:
    """Rows, token ids, the teacher and its targets; and the seconds of the teacher's pass."""
    torch.manual_seed(0)
    cache = task.home / "cache"
    corpus = load_corpus(DataSettings(source=task.data), seed=0, cache=cache)
    encoder, tokenizer = load_encoder(resolve_model("minilm"), corpus.label_names)
    train = token_store(corpus.train, tokenizer, max_length=CLASSROOM_TOKENS, cache=cache)
    validation = token_store(corpus.validation, tokenizer, max_length=CLASSROOM_TOKENS, cache=cache)
    teacher = copy.deepcopy(encoder)
    if task.fitted:
        about = FitData(train, corpus.train.labels, validation, corpus.validation.labels)
        _fit_teacher(teacher, about, task.work / "teacher")
    start = time.perf_counter()
    precision = choose_precision("auto", best_device())
    targets = teacher_targets(teacher, train, task.work / "targets", precision) if task.cached else None
    seconds = time.perf_counter() - start
    looked_at = np.arange(len(validation) if task.fitted else min(len(validation), QUICK_VALIDATION_ROWS))
    seen = (part_of(validation, looked_at), corpus.validation.labels[looked_at])
    return Bench(corpus, encoder, teacher.requires_grad_(True), train, *seen, targets, task.work), seconds


def _fit_teacher(teacher: Any, data: FitData, folder: Path) -> None:
    """The weights of the process that was first, so that both sides distil one teacher."""
    weights = folder / "weights.pt"
    if weights.is_file():
        teacher.load_state_dict(torch.load(weights, weights_only=True))
        return
    score: Callable[..., dict[str, float]] = lambda logits, labels: {  # noqa: E731 - the best epoch's choice, no more
        "f1_macro": float((logits.argmax(1) == labels).mean())
    }
    fit(teacher, data, TrainSettings(epochs=2), LabelObjective(), FitContext(folder, 0, score))
    torch.save(teacher.state_dict(), weights)


def _round(number: int, sides: dict[str, Side]) -> dict[str, dict[str, float]]:
    """Every recipe once: its figures, and `share_of_ceiling` against the products measured before it in the round."""
    found: dict[str, dict[str, float]] = {"product": sides["ours"].products()}
    for name, recipe in RECIPES.items():
        figures = sides[recipe.how].measure(name, recipe.rows, epochs=recipe.passes)
        for share, gflops in (("share_of_ceiling", "gflops"), ("share_of_ceiling_executed", "executed_gflops")):
            figures[share] = figures.pop(gflops) / found["product"]["bf16"]
        found[name] = figures
    speeds = ", ".join(f"{name} {found[name]['sentences_per_second']:.0f}" for name in RECIPES)
    _tell(f"[{number}/{ROUNDS}] sentences a second: {speeds}")
    return found


def summary(rounds: list[dict[str, dict[str, float]]]) -> dict[str, Any]:
    """Medians over the rounds: of every figure, and of the ratios taken within a round."""
    recipes: dict[str, dict[str, Any]] = {name: _medians([found[name] for found in rounds]) for name in RECIPES}
    for name, figures in recipes.items():
        figures["rounds"] = [found[name]["sentences_per_second"] for found in rounds]
    products = _medians([found["product"] for found in rounds])
    return {"recipes": recipes, "product_gflops": products} | _medians([ratios(found) for found in rounds])


def _medians(rows: list[dict[str, float]]) -> dict[str, Any]:
    return {key: statistics.median(row[key] for row in rows) for key in rows[0]}


def ratios(recipes: dict[str, dict[str, float]]) -> dict[str, float]:
    """How many times as fast, by `RATIOS`, and ours' shares of the ceiling."""
    speed = {name: recipes[name]["sentences_per_second"] for name in RECIPES}
    found = {key: speed[ours] / speed[other] for key, (ours, other) in RATIOS.items()}
    for share in ("share_of_ceiling", "share_of_ceiling_executed"):
        found[share] = recipes["ours"][share]
        distilled = [name for name, recipe in RECIPES.items() if (recipe.task, recipe.how) == ("distil", "ours")]
        found[f"best_{share}"] = max(recipes[name][share] for name in distilled)
    return found


def _figures(found: Measured) -> dict[str, float]:
    return {
        "sentences_per_second": found.rows / found.seconds,
        "tokens_per_second": found.tokens / found.seconds,
        "gflops": found.flops / found.seconds / 1e9,
        "executed_gflops": found.executed_flops / found.seconds / 1e9,
        "rows_per_step": found.rows / found.steps,
        "rows": found.rows,
        "seconds": found.seconds,
        "f1_macro": found.f1_macro,
    }


def _quality(side: Side, name: str, seeds: int, epochs: int) -> dict[str, float]:
    scores = []
    for seed in range(seeds):
        scores.append(side.measure(name, None, seed=seed, epochs=epochs)["f1_macro"])
        _tell(f"{name}: seed {seed}, {epochs} epochs, macro-F1 {scores[-1]:.3f}")
    spread = statistics.stdev(scores) if len(scores) > 1 else float("nan")
    return {"f1_macro": statistics.mean(scores), "f1_macro_sd": spread}


def table(figures: dict[str, Any]) -> str:
    """What a person reads: a line a recipe, then the ratios."""
    ceiling = figures["product_gflops"]
    columns = (("sentences/s", 11), ("tokens/s", 9), ("ceiling", 8), ("executed", 8), ("rows/step", 9), ("peak MB", 8))
    lines = [
        " ".join((" " * 33, *(f"{name:>{width}}" for name, width in columns), " macro-F1")),
        *(_line(name, row) for name, row in figures["recipes"].items()),
        "",
        f"ceiling: of {ceiling['bf16']:.0f} GFLOP/s, a bf16 matrix product here (fp32: {ceiling['fp32']:.0f}), the "
        "products of the whole model for the real tokens;",
        "executed: those of them that were executed (ours leaves out what nothing reads)",
        f"one pass of the teacher over all rows: {figures['teacher_pass_seconds']:.1f} s, in no line above",
        "",
        *(f"{name:<33} {figures[name]:6.2f}" for name in (*RATIOS, *SHARES)),
    ]
    return "\n".join(lines)


def _line(name: str, row: dict[str, Any]) -> str:
    quality = f"{row['f1_macro']:.3f} ± {row['f1_macro_sd']:.3f}" if "f1_macro_sd" in row else ""
    shares = f"{row['share_of_ceiling']:8.1%} {row['share_of_ceiling_executed']:8.1%}"
    speeds = f"{row['sentences_per_second']:11,.0f} {row['tokens_per_second']:9,.0f} {shares}"
    return f"{name:<33} {speeds} {row['rows_per_step']:9.1f} {row['peak_mb']:8,.0f}  {quality}".rstrip()


def _tell(line: str) -> None:
    print(f"{time.strftime('%H:%M:%S')}  {line}", file=sys.stderr, flush=True)


def _be_quiet() -> None:
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    transformers_logging.disable_progress_bar()
    transformers_logging.set_verbosity_error()


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="speeds alone")
    parser.add_argument("--json", type=Path, help="file to write the figures to")
    parser.add_argument("--data", default="sample", help="rows, as for -P data")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=2, help="of the runs that measure macro-F1")
    parser.add_argument("--scored", nargs="+", choices=RECIPES, default=list(RECIPES), metavar="RECIPE",
                        help="whose macro-F1 is measured (default: all): " + "; ".join(RECIPES))  # fmt: skip
    parser.add_argument("--home", type=Path, default=Path(".evenodd"))
    given = parser.parse_args()
    _be_quiet()
    figures = run(
        quick=given.quick,
        data=given.data,
        seeds=given.seeds,
        epochs=given.epochs,
        home=given.home,
        scored=given.scored,
    )
    print(table(figures))
    write_figures(given.json, figures)


if __name__ == "__main__":
    main()
