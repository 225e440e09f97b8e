"""Complete fits of the recipes of benchmarks.training over seeds: their test scores and speeds.

Finished fits are kept, because slow ones take a quarter of an hour each.
"""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.figures import tell
from benchmarks.recipes import QUALITY, RECIPES
from benchmarks.workers import Worker

SPEED, SHARE = "sentences_per_second", "share_of_ceiling"
KEPT = (*QUALITY, SPEED, SHARE)


class Ledger:
    """Scores and speeds of finished fits, one JSON line each.

    Args:
        file: the file; it need not exist.
        about: what the fits depend on: teacher, epochs, version. Lines with other values are ignored.
    """

    def __init__(self, file: Path, **about: Any) -> None:
        self.file, self.about = file, about

    def read(self) -> dict[tuple[str, int], dict[str, float]]:
        """Recorded results by recipe and seed."""
        lines = self.file.read_text(encoding="utf-8").splitlines() if self.file.is_file() else []
        rows = [row for row in map(json.loads, lines) if self.about.items() <= row.items()]
        return {(row["recipe"], row["seed"]): {name: row[name] for name in KEPT} for row in rows}

    def add(self, recipe: str, seed: int, found: Mapping[str, float]) -> None:
        """Adds a result."""
        row = self.about | {"recipe": recipe, "seed": seed} | {name: found[name] for name in KEPT}
        before = self.file.read_text(encoding="utf-8") if self.file.is_file() else ""
        written = self.file.with_suffix(".partial")
        written.write_text(before + json.dumps(row) + "\n", encoding="utf-8")
        written.rename(self.file)


def measure_quality(
    workers: Mapping[str, Worker],
    speeds: Mapping[str, Mapping[str, float]],
    scored: Sequence[str],
    seeds: Sequence[int],
    ledger: Ledger,
) -> dict[str, dict[str, float]]:
    """Fits and scores every recipe with every seed, seed by seed, so that partial results are comparable.

    Args:
        workers: by training method.
        speeds: figures by recipe, for estimating the remaining time.
        scored: names of the recipes.
        seeds: seeds of their fits.
        ledger: finished fits; new ones are added.

    Returns:
        By recipe, the mean of each of `QUALITY`, its standard deviation under `NAME_sd`, and medians over the
        fits as `whole_fit_sentences_per_second` and `whole_fit_share_of_ceiling`, of the product measured before each.
    """
    known = ledger.read()
    left = [(name, seed) for seed in seeds for name in scored if (name, seed) not in known]
    work = [1 / speeds[name][SPEED] for name, _ in left]
    start = time.monotonic()
    for number, (name, seed) in enumerate(left, start=1):
        ceiling = max(workers["ours"].products().values())
        found = workers[RECIPES[name].how].measure(name, None, seed=seed, epochs=ledger.about["epochs"])
        found[SHARE] = found["gflops"] / ceiling
        ledger.add(name, seed, found)
        minutes = (time.monotonic() - start) / 60 * sum(work[number:]) / sum(work[:number])
        tell(f"[{number}/{len(left)}] {name}, seed {seed}: {_said(found)}; about {minutes:.0f} min left")
    known = ledger.read()
    return {name: _spread([known[name, seed] for seed in seeds]) for name in scored}


def _said(found: Mapping[str, float]) -> str:
    quality = f"macro-F1 {found['f1_macro']:.3f}, average precision {found['average_precision']:.3f}"
    return f"{quality}, {found[SPEED]:.0f} sentences per second"


def _spread(rows: list[dict[str, float]]) -> dict[str, float]:
    """Mean and standard deviation of each score, and medians of the speeds of complete fits."""
    found = {f"whole_fit_{name}": statistics.median(row[name] for row in rows) for name in (SPEED, SHARE)}
    for name in QUALITY:
        values = [row[name] for row in rows]
        found[name] = statistics.mean(values)
        found[f"{name}_sd"] = statistics.stdev(values) if len(values) > 1 else float("nan")
    return found
