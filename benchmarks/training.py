"""Training speed: the textbook loop, transformers' Trainer and this project in one run, on the same rows.

Three tasks: distilling a teacher into its odd layers, fine-tuning the teacher, and LoRA. `ours` has the same recipe and
loss terms as the peers, with about as many rows per step, in the fastest precision of this machine (peers are measured
in bf16 if it is faster, otherwise only in float32). The other lines of ours have changes that do not affect quality
(frozen word embeddings, no dropout, the usual 1,024 tokens per step). One pass of the teacher over all rows, which all
students, seeds and trials share, is timed separately.

The peer that groups by length draws its batches from all rows, because few rows cannot be grouped. The time for
building oneDNN's kernels counts only in the first round; fits that are scored are timed completely, including kernels.
Every recipe is timed three times, in rounds through the whole list (twice with --quick on a slow machine), and ratios
are computed within a round, because other work on the machine slows a whole round. Peers and ours run in separate
processes, because our settings for the memory allocator and oneDNN apply to a whole process.

    python -m benchmarks.training --quick          only speeds, in under five minutes on two cores
    python -m benchmarks.training                  also the test macro-F1 of each recipe over three seeds
    python -m benchmarks.training --keep FOLDER    the same; after an interruption it resumes with the remaining fits
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Iterable
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.bench import Recipe
from benchmarks.figures import tell, write_figures
from benchmarks.quality import SPEED, Ledger, measure_quality
from benchmarks.recipes import QUALITY, RECIPES, recipes_for
from benchmarks.workers import Task, Worker, be_quiet
from evenodd import __version__
from evenodd.flow.logs import ENVIRONMENT

ROUNDS, LEAST_ROUNDS, PROBES = 3, 2, 3
QUICK_SECONDS = 285
WHOLE_FIT = f"whole_fit_{SPEED}"
SHARES = ("share_of_ceiling", "share_of_ceiling_executed", "best_share_of_ceiling", "best_share_of_ceiling_executed")
RATIOS = {
    "ours_over_classroom": ("ours", "classroom"),
    "best_over_classroom": ("ours, frozen, no dropout", "classroom"),
    "ours_over_trainer_bf16_grouped": ("ours", "trainer bf16 grouped"),
    "best_over_trainer_bf16_grouped": ("ours, frozen, no dropout", "trainer bf16 grouped"),
    "ours_over_trainer_fp32_grouped": ("ours", "trainer fp32 grouped"),
    "best_over_trainer_fp32_grouped": ("ours, frozen, no dropout", "trainer fp32 grouped"),
    "teacher_over_trainer_fp32": ("teacher ours", "teacher trainer fp32"),
    "best_teacher_over_trainer_fp32": ("teacher ours, frozen, no dropout", "teacher trainer fp32"),
    "lora_over_trainer_fp32": ("lora ours", "lora trainer fp32"),
    "best_lora_over_trainer_fp32": ("lora ours, no dropout", "lora trainer fp32"),
}


def run(
    *,
    quick: bool,
    data: str,
    model: str,
    seeds: int,
    epochs: int,
    home: Path,
    times: int = 1,
    scored: Iterable[str] = (),
    keep: Path | None = None,
) -> dict[str, Any]:
    """Every recipe's speed and, without `quick`, the test scores of the `scored` ones (if none are named: all).

    Args:
        data, model: as for `-P data` and `-P teacher`.
        seeds, epochs: for the fits that are scored.
        times: factor for the number of timed rows; a fast machine needs more.
        keep: folder of the fitted teacher and of finished scores, which are not measured again.

    Returns:
        `recipes`: figures by recipe, medians over the rounds, and `rounds`: sentences per second in each; the ratios of
        `RATIOS`, and of whole fits under `whole_fit_NAME`; `share_of_ceiling` of ours, `best_share_of_ceiling` and
        `whole_fit_share_of_ceiling`; `product_gflops` by precision; `teacher_pass_seconds` over all rows.
    """
    end = time.monotonic() + QUICK_SECONDS if quick else float("inf")
    with nullcontext(keep) if keep else tempfile.TemporaryDirectory() as work:
        task = Task(data, model, home, Path(work), fitted=not quick)
        tell(f"preparing {data}")
        with Worker(task, ENVIRONMENT) as ours, Worker(replace(task, cached=False)) as peers:
            workers = {"ours": ours, "classroom": peers, "trainer": peers}
            figures = summary(_rounds(workers, times, end)) | {"teacher_pass_seconds": ours.teacher_pass_seconds}
            recipes = figures["recipes"]
            if not quick:
                ledger = Ledger(task.work / "scores.jsonl", teacher=ours.teacher, epochs=epochs, version=__version__)
                for name, found in measure_quality(
                    workers, recipes, tuple(scored) or tuple(recipes), range(seeds), ledger
                ).items():
                    recipes[name] |= found
                figures |= whole_fit_ratios(recipes)
    return figures


def _rounds(workers: dict[str, Worker], times: int, end: float) -> list[dict[str, dict[str, float]]]:
    """Three rounds; two if the third would end after `end`, a time of `time.monotonic`."""
    probes = [workers["ours"].products() for _ in range(PROBES)]  # other work may slow one of them down
    here = recipes_for({name: max(probe[name] for probe in probes) for name in probes[0]})
    rounds: list[dict[str, dict[str, float]]] = []
    took = 0.0
    while len(rounds) < ROUNDS and (len(rounds) < LEAST_ROUNDS or time.monotonic() + took < end):
        start = time.monotonic()
        rounds.append(_round(len(rounds) + 1, here, workers, times))
        took = time.monotonic() - start
    return rounds


def _round(number: int, here: dict[str, Recipe], workers: dict[str, Worker], times: int) -> dict[str, dict[str, float]]:
    """Every recipe once: its figures, with `share_of_ceiling` of the faster product measured just before it."""
    found: dict[str, dict[str, float]] = {"product": workers["ours"].products()}
    for place, (name, recipe) in enumerate(here.items(), start=1):
        figures = workers[recipe.how].measure(name, times * recipe.rows)
        for share, gflops in (("share_of_ceiling", "gflops"), ("share_of_ceiling_executed", "executed_gflops")):
            figures[share] = figures.pop(gflops) / max(found["product"].values())
        found[name] = figures
        speed = figures["sentences_per_second"]
        tell(f"[round {number} of {ROUNDS}, {place} of {len(here)}] {name}: {speed:.0f} sentences per second")
    return found


def summary(rounds: list[dict[str, dict[str, float]]]) -> dict[str, Any]:
    """Medians over the rounds of every figure, and of the ratios within a round."""
    names = [name for name in rounds[0] if name != "product" and all(name in found for found in rounds)]
    recipes: dict[str, dict[str, Any]] = {name: _medians([found[name] for found in rounds]) for name in names}
    for name, figures in recipes.items():
        figures["rounds"] = [found[name]["sentences_per_second"] for found in rounds]
    products = _medians([found["product"] for found in rounds])
    return {"recipes": recipes, "product_gflops": products} | _medians(
        [ratios({name: found[name] for name in names}) for found in rounds]
    )


def _medians(rows: list[dict[str, float]]) -> dict[str, Any]:
    return {key: statistics.median(row[key] for row in rows) for key in rows[0]}


def ratios(recipes: dict[str, dict[str, float]]) -> dict[str, float]:
    """Speed ratios as in `RATIOS`, and our shares of the ceiling."""
    here = {name: recipe for name, recipe in RECIPES.items() if name in recipes}
    speed = {name: recipes[name]["sentences_per_second"] for name in here}
    found = {key: speed[ours] / speed[other] for key, (ours, other) in RATIOS.items() if {ours, other} <= speed.keys()}
    for share in ("share_of_ceiling", "share_of_ceiling_executed"):
        found[share] = recipes["ours"][share]
        distilled = [name for name, recipe in here.items() if (recipe.task, recipe.how) == ("distil", "ours")]
        found[f"best_{share}"] = max(recipes[name][share] for name in distilled)
    return found


def whole_fit_ratios(recipes: dict[str, dict[str, Any]]) -> dict[str, float]:
    """`RATIOS` of complete fits, as `whole_fit_NAME`, if both were fitted; and our share of the ceiling."""
    speed = {name: row[WHOLE_FIT] for name, row in recipes.items() if WHOLE_FIT in row}
    pairs = {key: pair for key, pair in RATIOS.items() if set(pair) <= speed.keys()}
    found = {f"whole_fit_{key}": speed[ours] / speed[other] for key, (ours, other) in pairs.items()}
    if "ours" in speed:
        found["whole_fit_share_of_ceiling"] = recipes["ours"]["whole_fit_share_of_ceiling"]
    return found


def table(figures: dict[str, Any]) -> str:
    """The printed table: one line per recipe, then the ratios."""
    ceiling = figures["product_gflops"]
    columns = (("sentences/s", 11), ("tokens/s", 9), ("ceiling", 8), ("executed", 8), ("rows/step", 9), ("peak MB", 8))
    named = (*RATIOS, *SHARES, *(f"whole_fit_{name}" for name in (*RATIOS, "share_of_ceiling")))
    head = " ".join((" " * 33, *(f"{name:>{width}}" for name, width in columns)))
    lines = [
        head + "  whole fits  macro-F1       average precision",
        *(_line(name, row) for name, row in figures["recipes"].items()),
        "",
        f"ceiling: of {max(ceiling.values()):.0f} GFLOP/s, the faster matrix product here (bf16 {ceiling['bf16']:.0f}, "
        f"fp32 {ceiling['fp32']:.0f}), the products of the whole model for the real tokens;",
        "executed: the part of them that was executed (ours omits unused results)",
        f"one pass of the teacher over all rows: {figures['teacher_pass_seconds']:.1f} s, not included above",
        "",
        *(f"{name:<41} {figures[name]:6.2f}" for name in named if name in figures),
    ]
    return "\n".join(lines)


def _line(name: str, row: dict[str, Any]) -> str:
    measured = [name for name in QUALITY if f"{name}_sd" in row]
    quality = "  ".join(f"{row[name]:.3f} ± {row[f'{name}_sd']:.3f}" for name in measured)
    whole = f"{row[WHOLE_FIT]:10,.0f}" if WHOLE_FIT in row else ""
    shares = f"{row['share_of_ceiling']:8.1%} {row['share_of_ceiling_executed']:8.1%}"
    speeds = f"{row['sentences_per_second']:11,.0f} {row['tokens_per_second']:9,.0f} {shares}"
    return f"{name:<33} {speeds} {row['rows_per_step']:9.1f} {row['peak_mb']:8,.0f} {whole}  {quality}".rstrip()


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="only speeds")
    parser.add_argument("--json", type=Path, help="file to write the figures to")
    parser.add_argument("--data", default="sample", help="rows, as for -P data")
    parser.add_argument("--model", default="minilm", help="encoder, as for -P teacher")
    parser.add_argument(
        "--times", type=int, default=1, help="factor for the number of timed rows; for a GPU, 20 or more"
    )
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=2, help="epochs of the fits that are scored")
    parser.add_argument("--scored", nargs="+", choices=RECIPES, default=[], metavar="RECIPE",
                        help="recipes to score (default: all): " + "; ".join(RECIPES))  # fmt: skip
    parser.add_argument("--keep", type=Path, help="folder for the teacher and the scores: the same command, given "
                        "again, resumes with the remaining fits (default: nothing is kept)")  # fmt: skip
    parser.add_argument("--home", type=Path, default=Path(".evenodd"))
    given = parser.parse_args()
    be_quiet()
    try:
        figures = run(
            quick=given.quick,
            data=given.data,
            model=given.model,
            times=given.times,
            seeds=given.seeds,
            epochs=given.epochs,
            home=given.home,
            scored=given.scored,
            keep=given.keep,
        )
    except (ValueError, RuntimeError) as error:
        sys.exit(f"benchmarks.training: {error}")
    print(table(figures))
    write_figures(given.json, figures)


if __name__ == "__main__":
    main()
