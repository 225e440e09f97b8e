"""Training speed: the class-room loop, transformers' Trainer and this project in one run, on the same rows.

Three tasks: distilling a teacher into its odd layers, fine-tuning the teacher, and LoRA. `ours` is the peers' recipe,
term for term, with about as many rows a step; the further lines of ours change what leaves quality as it is (frozen
word embeddings, no dropout, the usual 1,024 tokens a step). One pass of the teacher over all rows, which every
student, seed and trial shares, is timed apart.

    python -m benchmarks.training            speeds, and the macro-F1 that each recipe reaches over three seeds
    python -m benchmarks.training --quick    speeds alone, in under five minutes on two cores
"""

from __future__ import annotations

import argparse
import copy
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
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
from evenodd.training.precision import best_device, product_rates
from evenodd.variants import load_encoder

WARM_UP_ROWS = 64
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


def run(*, quick: bool, data: str, seeds: int, epochs: int, home: Path) -> dict[str, Any]:
    """Every recipe's speed, and without `quick` the macro-F1 that it reaches.

    Returns:
        `recipes`: figures by recipe; the ratios of `RATIOS`; `share_of_ceiling` of ours and `best_share_of_ceiling`;
        `product_gflops` by precision; `teacher_pass_seconds` over all rows.
    """
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as work:
        rates = product_rates(best_device())
        bench, pass_seconds = prepare(data, home, Path(work), fitted=not quick)
        recipes: dict[str, dict[str, float]] = {}
        for number, name in enumerate(RECIPES, start=1):
            recipes[name] = _speed(bench, name, rates["bf16"], f"[{number}/{len(RECIPES)}]")
        if not quick:
            for name in RECIPES:
                recipes[name] |= _quality(bench, name, seeds, epochs)
    figures: dict[str, Any] = {"recipes": recipes, "product_gflops": rates, "teacher_pass_seconds": pass_seconds}
    return figures | ratios(recipes)


def prepare(data: str, home: Path, work: Path, *, fitted: bool) -> tuple[Bench, float]:
    """Rows, token ids and the teacher's targets; and the seconds of the teacher's pass.

    Args:
        data: as for `-P data`.
        home: caches.
        work: for what runs leave behind.
        fitted: fine-tune the teacher for two epochs first; speeds do not depend on it.
    """
    _tell(f"preparing {data}")
    corpus = load_corpus(DataSettings(source=data), seed=0, cache=home / "cache")
    encoder, tokenizer = load_encoder(resolve_model("minilm"), corpus.label_names)
    train = token_store(corpus.train, tokenizer, max_length=CLASSROOM_TOKENS, cache=home / "cache")
    validation = token_store(corpus.validation, tokenizer, max_length=CLASSROOM_TOKENS, cache=home / "cache")
    teacher = copy.deepcopy(encoder)
    about = FitData(train, corpus.train.labels, validation, corpus.validation.labels)
    score: Callable[..., dict[str, float]] = lambda logits, labels: {  # noqa: E731 - the best epoch's choice, no more
        "f1_macro": float((logits.argmax(1) == labels).mean())
    }
    if fitted:
        fit(teacher, about, TrainSettings(epochs=2), LabelObjective(), FitContext(work / "teacher", 0, score))
    start = time.perf_counter()
    precision = choose_precision("auto", best_device())
    targets = teacher_targets(teacher, train, work / "targets", precision)
    seconds = time.perf_counter() - start
    looked_at = np.arange(len(validation) if fitted else min(len(validation), QUICK_VALIDATION_ROWS))
    seen = (part_of(validation, looked_at), corpus.validation.labels[looked_at])
    return Bench(corpus, encoder, teacher.requires_grad_(True), train, *seen, targets, work), seconds


def ratios(recipes: dict[str, dict[str, float]]) -> dict[str, float]:
    """How many times as fast, by `RATIOS`, and ours' shares of the ceiling."""
    speed = {name: figures["sentences_per_second"] for name, figures in recipes.items()}
    found = {key: speed[ours] / speed[other] for key, (ours, other) in RATIOS.items()}
    found["share_of_ceiling"] = recipes["ours"]["share_of_ceiling"]
    distilled = [name for name, recipe in RECIPES.items() if (recipe.task, recipe.how) == ("distil", "ours")]
    return found | {"best_share_of_ceiling": max(recipes[name]["share_of_ceiling"] for name in distilled)}


def _speed(bench: Bench, name: str, ceiling: float, place: str) -> dict[str, float]:
    recipe = RECIPES[name]
    run_recipe(bench, recipe, WARM_UP_ROWS)
    with PeakMemory() as memory:
        found = run_recipe(bench, recipe, recipe.rows)
    figures = _figures(found, ceiling) | {"peak_mb": memory.rss_mb}
    _tell(
        f"{place} {name}: {found.rows:,} rows in {found.seconds:.1f} s, {figures['sentences_per_second']:.0f} a second"
    )
    return figures


def _figures(found: Measured, ceiling: float) -> dict[str, float]:
    return {
        "sentences_per_second": found.rows / found.seconds,
        "tokens_per_second": found.tokens / found.seconds,
        "share_of_ceiling": found.flops / found.seconds / 1e9 / ceiling,
        "rows_per_step": found.rows / found.steps,
        "rows": found.rows,
        "seconds": found.seconds,
    }


def _quality(bench: Bench, name: str, seeds: int, epochs: int) -> dict[str, float]:
    scores = []
    for seed in range(seeds):
        scores.append(run_recipe(bench, RECIPES[name], None, seed=seed, epochs=epochs).f1_macro)
        _tell(f"{name}: seed {seed}, {epochs} epochs, macro-F1 {scores[-1]:.3f}")
    spread = statistics.stdev(scores) if len(scores) > 1 else float("nan")
    return {"f1_macro": statistics.mean(scores), "f1_macro_sd": spread}


def table(figures: dict[str, Any]) -> str:
    """What a person reads: a line a recipe, then the ratios."""
    ceiling = figures["product_gflops"]
    lines = [
        f"{'':<33} {'sentences/s':>11} {'tokens/s':>9} {'ceiling':>8} {'rows/step':>9} {'peak MB':>8}  macro-F1",
        *(_line(name, row) for name, row in figures["recipes"].items()),
        "",
        f"ceiling: {ceiling['bf16']:.0f} GFLOP/s of a bf16 matrix product here (fp32: {ceiling['fp32']:.0f}); "
        f"one pass of the teacher over all rows: {figures['teacher_pass_seconds']:.1f} s, in no line above",
        "",
        *(f"{name:<33} {figures[name]:6.2f}" for name in (*RATIOS, "share_of_ceiling", "best_share_of_ceiling")),
    ]
    return "\n".join(lines)


def _line(name: str, row: dict[str, float]) -> str:
    quality = f"{row['f1_macro']:.3f} ± {row['f1_macro_sd']:.3f}" if "f1_macro" in row else ""
    speeds = f"{row['sentences_per_second']:11,.0f} {row['tokens_per_second']:9,.0f} {row['share_of_ceiling']:8.1%}"
    return f"{name:<33} {speeds} {row['rows_per_step']:9.1f} {row['peak_mb']:8,.0f}  {quality}".rstrip()


def _tell(line: str) -> None:
    print(f"{time.strftime('%H:%M:%S')}  {line}", file=sys.stderr, flush=True)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="speeds alone")
    parser.add_argument("--json", type=Path, help="file to write the figures to")
    parser.add_argument("--data", default="sample", help="rows, as for -P data")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=2, help="of the runs that measure macro-F1")
    parser.add_argument("--home", type=Path, default=Path(".evenodd"))
    given = parser.parse_args()
    transformers_logging.disable_progress_bar()
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    transformers_logging.set_verbosity_error()
    figures = run(quick=given.quick, data=given.data, seeds=given.seeds, epochs=given.epochs, home=given.home)
    print(table(figures))
    write_figures(given.json, figures)


if __name__ == "__main__":
    main()
