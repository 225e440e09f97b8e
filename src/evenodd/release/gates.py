"""What a version must show before `champion` points to it, and the entry that the audit log keeps of the move.

A gate that is asked for and whose figure is missing has not been passed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from evenodd.config import GateSettings

SCORE = "validation/f1_macro"
FLOORS = ("floor/validation_majority_f1_macro", "floor/validation_tfidf_f1_macro")
CHAMPION_LOW = "champion/difference_low"
PARITY = "parity/passed"
PARITY_DIFF = "parity/max_abs_diff"


@dataclass(frozen=True)
class Gate:
    """One condition and how it came out.

    Attributes:
        name: short, stable: above_floor, champion, behaviour, group_gap, calibration, parity, latency, size.
        passed: whether it holds.
        figure: what was measured; None when it is missing.
        bound: what was asked; None when there is nothing to compare with.
        text: one line with the figure, the bound and, when it failed, the way out.
    """

    name: str
    passed: bool
    figure: float | None
    bound: float | None
    text: str

    def __str__(self) -> str:
        return f"{'passed' if self.passed else 'FAILED'}  {self.name}: {self.text}"


@dataclass(frozen=True)
class Limit:
    """A gate that compares one figure with one bound."""

    name: str
    key: str
    words: str
    bound: Callable[[GateSettings], float | None]
    at_least: bool
    source: str


LIMITS = (
    Limit(
        "behaviour", "behaviour/balanced_accuracy", "balanced accuracy on the behaviour suite",
        lambda gates: gates.min_behaviour, True, "-P evidence.behaviour_suite=true",
    ),
    Limit(
        "group_gap", "behaviour/group_gap", "gap between groups on the behaviour suite",
        lambda gates: gates.max_group_gap, False, "-P evidence.behaviour_suite=true",
    ),
    Limit(
        "calibration", "validation/ece", "expected calibration error on validation",
        lambda gates: gates.max_ece, False, "an evaluation of this version",
    ),
    Limit(
        "latency", "cost/latency_p50_ms", "median latency in ms",
        lambda gates: gates.max_latency_ms, False, "an evaluation of this version",
    ),
    Limit(
        "size", "cost/onnx_mb", "size of the graph in MB",
        lambda gates: gates.max_onnx_mb, False, "`export` of this version",
    ),
)  # fmt: skip


def check_gates(
    figures: Mapping[str, Any], settings: GateSettings, champion: Mapping[str, Any] | None = None
) -> list[Gate]:
    """Hold a version's figures against every gate that is asked for.

    Args:
        figures: by metric name. Read: `validation/f1_macro`; `floor/validation_majority_f1_macro` and
            `floor/validation_tfidf_f1_macro`; `champion/difference_low`, the lower bound of the interval of macro-F1 minus the
            champion's on paired validation rows, when it was computed; `behaviour/balanced_accuracy`,
            `behaviour/group_gap`, `validation/ece`, `parity/passed` (0 or 1) and `parity/max_abs_diff`,
            `cost/latency_p50_ms`, `cost/onnx_mb`.
        settings: bounds; None is not asked.
        champion: figures of the version that holds the alias now; None when nobody does.

    Returns:
        Gates in a fixed order, passed and failed.
    """
    gates = []
    if settings.above_floor:
        gates.append(_above_floor(figures))
    if champion is not None:
        gates.append(_against_champion(figures, settings, champion))
    gates += [_limit(figures, limit, bound) for limit in LIMITS if (bound := limit.bound(settings)) is not None]
    if PARITY in figures:
        gates.append(_parity(figures))
    return gates
