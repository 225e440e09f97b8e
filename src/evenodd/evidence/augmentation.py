"""Effect of counterexamples: the same variants and seeds, fitted with and without them, on the same test rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from evenodd.evidence.metrics import Scored
from evenodd.evidence.resampling import Metric, align, average_precision_draws, f1_macro_draws, resample
from evenodd.evidence.significance import Difference, difference
from evenodd.evidence.suites.behaviour import DIRECT, NEUTRAL_MENTION, BehaviourReport
from evenodd.settings import EvidenceSettings

NONE = "none"
BEHAVIOUR = ("balanced accuracy", "direct attacks caught", "neutral mentions left alone")
MEASURED = ("macro-F1", "average precision", *BEHAVIOUR)


@dataclass(frozen=True)
class Arm:
    """One run, fitted with or without counterexamples.

    Attributes:
        variant: its name.
        seed: of the fit.
        added: `none`, or a description of what was added to the training rows.
        test: scored test rows, the same in all arms.
        behaviour: answers to the project's own suite; None if it was not scored.
    """

    variant: str
    seed: int
    added: str
    test: Scored
    behaviour: BehaviourReport | None = None


@dataclass(frozen=True)
class Augmentation:
    """The comparison of runs with and without counterexamples.

    Attributes:
        means: one row per variant and `added`: seeds, macro-F1 and average precision on test, and on the behaviour
            suite balanced accuracy and the accuracy on direct attacks and on neutral mentions.
        changes: one row per variant and set of counterexamples: the paired differences from `none` with intervals.
    """

    means: pd.DataFrame
    changes: pd.DataFrame

    def sentences(self) -> list[str]:
        """One sentence for each change."""
        return [_sentence(row) for row in self.changes.to_dict("records")]


def compare_augmentation(
    arms: Sequence[Arm], settings: EvidenceSettings, *, positive: int | None = None
) -> Augmentation | None:
    """Pairs runs with counterexamples with runs without, by variant and seed.

    Test rows are only reported; they decide nothing.

    Args:
        arms: runs in the order of the table; the first counts if several have the same variant, seed and `added`.
        settings: alpha and bootstrap_samples.
        positive: index of the label for average precision; None: the mean over all labels.

    Returns:
        None if no variant has both.
    """
    by_name: dict[str, dict[str, dict[int, Arm]]] = {}
    for arm in arms:
        by_name.setdefault(arm.variant, {}).setdefault(arm.added, {}).setdefault(arm.seed, arm)
    means, changes = [], []
    for variant, found in by_name.items():
        without = found.pop(NONE, {})
        shared = {added: sorted(set(by_seed) & set(without)) for added, by_seed in found.items()}
        shown = sorted(set().union(*shared.values()))
        if shown:
            means.append(_means(variant, NONE, [without[seed] for seed in shown], positive))
        for added, seeds in shared.items():
            if seeds:
                pair = [[found[added][seed] for seed in seeds], [without[seed] for seed in seeds]]
                means.append(_means(variant, added, pair[0], positive))
                changes.append(_changes(variant, added, pair, settings, positive))
    return Augmentation(pd.DataFrame(means), pd.DataFrame(changes)) if changes else None


def _means(variant: str, added: str, arms: Sequence[Arm], positive: int | None) -> dict[str, object]:
    runs = align({variant: {arm.seed: arm.test for arm in arms}})
    whole = np.ones((len(runs.labels), 1), dtype=np.float32)
    figures = [f1_macro_draws(runs, variant, whole), average_precision_draws(positive)(runs, variant, whole)]
    behaviour = np.mean([_behaviour(arm) for arm in arms], axis=0)
    values = [*(float(figure.mean()) for figure in figures), *map(float, behaviour)]
    return {
        "variant": variant,
        "counterexamples": added,
        "seeds": len(arms),
        **dict(zip(MEASURED, values, strict=True)),
    }


def _changes(
    variant: str, added: str, pair: Sequence[Sequence[Arm]], settings: EvidenceSettings, positive: int | None
) -> dict[str, object]:
    given, without = pair
    metrics = {"macro-F1": f1_macro_draws, "average precision": average_precision_draws(positive)}
    row: dict[str, object] = {"variant": variant, "counterexamples": added, "seeds": len(given)}
    for name, metric in metrics.items():
        gap = _paired(given, without, metric, settings)
        row |= {name: gap.estimate, f"{name} low": gap.low, f"{name} high": gap.high}
    gained = np.mean([_behaviour(arm) for arm in given], axis=0) - np.mean([_behaviour(a) for a in without], axis=0)
    return row | dict(zip(BEHAVIOUR, map(float, gained), strict=True))


def _paired(given: Sequence[Arm], without: Sequence[Arm], metric: Metric, settings: EvidenceSettings) -> Difference:
    aligned = align({"with": {arm.seed: arm.test for arm in given}, "without": {arm.seed: arm.test for arm in without}})
    drawn = resample(aligned, metric, samples=settings.bootstrap_samples)
    return difference(drawn["with"], drawn["without"], rows=len(aligned.labels), alpha=settings.alpha)


def _behaviour(arm: Arm) -> list[float]:
    """Figures in the order of `BEHAVIOUR`; NaN where the suite was not scored."""
    if arm.behaviour is None:
        return [float("nan")] * len(BEHAVIOUR)
    return [
        arm.behaviour.metrics()["balanced_accuracy"],
        arm.behaviour.accuracy_on(DIRECT),
        arm.behaviour.accuracy_on(NEUTRAL_MENTION),
    ]


def _sentence(row: Mapping[Any, Any]) -> str:
    test = "; ".join(
        f"{name} {row[name]:+.3f} ({row[f'{name} low']:+.3f} to {row[f'{name} high']:+.3f})"
        for name in ("macro-F1", "average precision")
    )
    suite = ", ".join(f"{name} {row[name]:+.3f}" for name in BEHAVIOUR if not np.isnan(row[name]))
    seeds = f"{row['seeds']} seed{'s' if row['seeds'] > 1 else ''}"
    text = f"{row['variant']} with {row['counterexamples']} against none ({seeds}): on test {test}"
    return f"{text}; on the behaviour suite {suite}." if suite else f"{text}."
