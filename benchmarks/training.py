"""Training speed: the class-room loop, transformers' Trainer and this project in one run, on the same rows.

Three tasks: distilling a teacher into its odd layers, fine-tuning the teacher, and LoRA. `ours` is the peers' recipe,
term for term, with about as many rows a step, in the precision that pays on this machine (peers are measured in bf16
where that pays, else in float32 alone); the further lines of ours
change what leaves quality as it is (frozen word embeddings, no dropout, the usual 1,024 tokens a step). One pass of the
teacher over all rows, which every student, seed and trial shares, is timed apart.

The peer that groups by length draws its batches from all rows, as it cannot group few. Kernels that oneDNN makes for
shapes met first count in the first round alone; fits that are scored are timed as well, whole, with all that they make.
Every recipe is timed three times, in rounds through the whole list (with --quick on a slow machine twice), and ratios
are taken within a round: other work on the machine slows a whole round, not one line. Peers and ours have a process
each, as what ours asks of the memory allocator and of oneDNN holds for a process.

    python -m benchmarks.training --quick          speeds alone, in under five minutes on two cores
    python -m benchmarks.training                  and the test macro-F1 that each recipe reaches over three seeds
    python -m benchmarks.training --keep FOLDER    the same; if it is interrupted, it resumes with what is scored
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
    """Every recipe's speed, and without `quick` what the `scored` ones (none said: all) reach on the test rows.

    Args:
        data, model: as for `-P data` and `-P teacher`.
        seeds, epochs: of the fits that are scored.
        times: as many times each recipe's rows are timed; a fast machine needs more of them.
        keep: folder of the fitted teacher and of the scores so far; those are not measured again.

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
    """Three rounds; two where the third would end after that moment of `time.monotonic`."""
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
    """Every recipe once: its figures, and `share_of_ceiling` of the faster product measured before it in the round."""
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
    """Medians over the rounds: of every figure, and of the ratios taken within a round."""
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
    """How many times as fast, by `RATIOS`, and ours' shares of the ceiling."""
    here = {name: recipe for name, recipe in RECIPES.items() if name in recipes}
    speed = {name: recipes[name]["sentences_per_second"] for name in here}
    found = {key: speed[ours] / speed[other] for key, (ours, other) in RATIOS.items() if {ours, other} <= speed.keys()}
    for share in ("share_of_ceiling", "share_of_ceiling_executed"):
        found[share] = recipes["ours"][share]
        distilled = [name for name, recipe in here.items() if (recipe.task, recipe.how) == ("distil", "ours")]
        found[f"best_{share}"] = max(recipes[name][share] for name in distilled)
    return found


def whole_fit_ratios(recipes: dict[str, dict[str, Any]]) -> dict[str, float]:
    """`RATIOS` of whole fits, under `whole_fit_NAME`, where both were fitted; and ours' share of the ceiling."""
    speed = {name: row[WHOLE_FIT] for name, row in recipes.items() if WHOLE_FIT in row}
    pairs = {key: pair for key, pair in RATIOS.items() if set(pair) <= speed.keys()}
    found = {f"whole_fit_{key}": speed[ours] / speed[other] for key, (ours, other) in pairs.items()}
    if "ours" in speed:
        found["whole_fit_share_of_ceiling"] = recipes["ours"]["whole_fit_share_of_ceiling"]
    return found


def table(figures: dict[str, Any]) -> str:
    """What a person reads: a line a recipe, then the ratios."""
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
        "executed: those of them that were executed (ours leaves out what nothing reads)",
        f"one pass of the teacher over all rows: {figures['teacher_pass_seconds']:.1f} s, in no line above",
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
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="speeds alone")
    parser.add_argument("--json", type=Path, help="file to write the figures to")
    parser.add_argument("--data", default="sample", help="rows, as for -P data")
    parser.add_argument("--model", default="minilm", help="encoder, as for -P teacher")
    parser.add_argument("--times", type=int, default=1, help="as many times the rows: for a GPU, 20 or more")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=2, help="of the fits that are scored")
    parser.add_argument("--scored", nargs="+", choices=RECIPES, default=[], metavar="RECIPE",
                        help="which are scored (default: all): " + "; ".join(RECIPES))  # fmt: skip
    parser.add_argument("--keep", type=Path, help="folder for the teacher and the scores: the same command, given "
                        "again, goes on with what is left (default: nothing is kept)")  # fmt: skip
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
