"""Gates that a version must pass before it becomes `champion`, and the audit-log entry of a promotion.

A configured gate whose figure is missing fails.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from evenodd.settings import GateSettings

SCORE = "validation/f1_macro"
FLOOR_PREFIX, FLOOR_SUFFIX = "floor/validation_", "_f1_macro"
CHAMPION_HIGH = "champion/difference_high"
PARITY = "parity/passed"
PARITY_DIFF = "parity/max_abs_diff"
OF_EXPORT = ("size", "parity")


@dataclass(frozen=True)
class Gate:
    """One condition and its result.

    Attributes:
        name: short, stable: above_floor, champion, behaviour, group_gap, slice_gap, calibration, parity, latency, size.
        passed: whether it holds.
        figure: the measured value; None if it is missing.
        bound: the required value; None if there is nothing to compare with.
        text: one line with the figure, the bound and, if it failed, how to fix it.
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
        lambda gates: gates.min_behaviour, True, "-P suite=own or a CSV",
    ),
    Limit(
        "group_gap", "behaviour/group_gap", "gap between groups on the behaviour suite",
        lambda gates: gates.max_group_gap, False, "-P suite=own or a CSV",
    ),
    Limit(
        "slice_gap", "slices/max_gap", "largest gap between slices on validation",
        lambda gates: gates.max_slice_gap, False, "-P slices=column,column",
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
    """Checks a version's figures against every configured gate.

    Args:
        figures: by metric name. Read: `validation/f1_macro`; `floor/validation_majority_f1_macro` and
            `floor/validation_tfidf_f1_macro`; `champion/difference_high`, the upper bound of the interval of macro-F1
                minus the champion's on paired validation rows, if it was computed; `behaviour/balanced_accuracy`,
            `behaviour/group_gap`, `slices/max_gap`, `validation/ece`, `parity/passed` (0 or 1) and
            `parity/max_abs_diff`, `cost/latency_p50_ms`, `cost/onnx_mb`; `validation_digest`, to tell whether the
            champion saw the same rows.
        settings: bounds; None: the gate is not checked.
        champion: figures of the present champion; None if there is none.

    Returns:
        Gates in a fixed order, passed and failed.
    """
    gates = []
    if settings.above_floor:
        gates.append(_above_floor(figures))
    if champion is not None:
        gates.append(_against_champion(figures, settings, champion))
    gates += [_limit(figures, limit, bound) for limit in LIMITS if (bound := limit.bound(settings)) is not None]
    if settings.require_parity or PARITY in figures:
        gates.append(_parity(figures))
    return gates


def gates_of_fit(figures: Mapping[str, Any], settings: GateSettings) -> list[Gate]:
    """Checks the gates that need neither an export nor a champion.

    Gates that need the exported graph (size, parity) are checked at promotion, unless their figures are known already.

    Args:
        figures: see `check_gates`.
        settings: bounds.
    """
    return [gate for gate in check_gates(figures, settings) if gate.name not in OF_EXPORT or gate.figure is not None]


def failed(gates: Sequence[Gate]) -> tuple[str, ...]:
    """Names of the failed gates."""
    return tuple(gate.name for gate in gates if not gate.passed)


def _number(figures: Mapping[str, Any], key: str) -> float | None:
    """A finite figure, or None."""
    value = figures.get(key)
    return float(value) if value is not None and math.isfinite(float(value)) else None


def _above_floor(figures: Mapping[str, Any]) -> Gate:
    score = _number(figures, SCORE)
    floors = {
        key.removeprefix(FLOOR_PREFIX).removesuffix(FLOOR_SUFFIX): _number(figures, key)
        for key in figures
        if key.startswith(FLOOR_PREFIX) and key.endswith(FLOOR_SUFFIX)
    }
    known = {name: value for name, value in floors.items() if value is not None}
    if score is None or not known:
        missing = SCORE if score is None else f"{FLOOR_PREFIX}*{FLOOR_SUFFIX}"
        return Gate("above_floor", False, score, None, f"no figure {missing}: train or evaluate this version first.")
    name, floor = max(known.items(), key=lambda item: item[1])
    passed = score > floor
    words = "is above" if passed else "does not exceed"
    text = f"validation macro-F1 {score:.3f} {words} the highest floor, {floor:.3f} ({name.replace('_', ' ')})."
    return Gate("above_floor", passed, score, floor, text)


def _against_champion(figures: Mapping[str, Any], settings: GateSettings, champion: Mapping[str, Any]) -> Gate:
    """Compares with the champion: by the interval if there is one, otherwise by the difference on the same data."""
    margin, high = settings.max_worse_than_champion, _number(figures, CHAMPION_HIGH)
    allowed = f"; {margin:.3f} may be lost" if margin else ""
    if high is not None:
        passed = high >= -margin
        words = "not significantly worse" if passed else "significantly worse"
        text = f"{words} than the champion: the interval of the difference in macro-F1 ends at {high:+.3f}{allowed}."
        return Gate("champion", passed, high, -margin, text)
    new, old = _number(figures, SCORE), _number(champion, SCORE)
    if new is None or old is None:
        who = "this version" if new is None else "the champion"
        return Gate("champion", False, None, -margin, f"{who} has no {SCORE}: evaluate both on the same rows.")
    if figures.get("validation_digest") != champion.get("validation_digest"):
        text = "this version and the champion were measured on different data: evaluate both on the same rows."
        return Gate("champion", False, None, -margin, text)
    passed = new - old >= -margin
    text = f"validation macro-F1 {new:.3f} against the champion's {old:.3f} ({new - old:+.3f}){allowed}."
    return Gate("champion", passed, new - old, -margin, text)


def _limit(figures: Mapping[str, Any], limit: Limit, bound: float) -> Gate:
    figure = _number(figures, limit.key)
    if figure is None:
        text = f"no figure {limit.key}, but {bound:g} is required: it comes from {limit.source}."
        return Gate(limit.name, False, None, bound, text)
    passed = figure >= bound if limit.at_least else figure <= bound
    side = "at least" if limit.at_least else "at most"
    return Gate(limit.name, passed, figure, bound, f"{limit.words} {figure:.4g}, {side} {bound:g} is required.")


def _parity(figures: Mapping[str, Any]) -> Gate:
    verdict, diff = _number(figures, PARITY), _number(figures, PARITY_DIFF)
    if verdict is None:
        return Gate("parity", False, None, 1.0, f"no figure {PARITY}: run `export` on this version first.")
    size = f" (max |Δp| {diff:.2g})" if diff is not None else ""
    words = "agrees" if verdict else "does not agree"
    return Gate("parity", bool(verdict), verdict, 1.0, f"the exported graph {words} with the model{size}.")


@dataclass(frozen=True)
class Move:
    """A change of an alias: from which version (None: it was not set) to which, by whom, and why."""

    alias: str
    old_version: str | None
    new_version: str
    who: str
    why: str


def audit_entry(move: Move, gates: Sequence[Gate], figures: Mapping[str, Any], when: datetime) -> dict[str, Any]:
    """One line of the audit log, ready for JSON.

    Args:
        move: the change, made or refused.
        gates: checked gates; empty for a roll-back, which checks none.
        figures: figures of the new version; only numbers, texts and booleans are kept, NaN becomes None.
        when: a time with time zone.

    Returns:
        when (ISO 8601, UTC), who, alias, from, to, why, gates_passed (a roll-back moves the alias without it), gates,
        figures.

    Raises:
        ValueError: `when` has no time zone.
    """
    if when.tzinfo is None:
        raise ValueError(f"when={when.isoformat()}: it needs a time zone, such as datetime.now(UTC).")
    return {
        "when": when.astimezone(UTC).isoformat(timespec="seconds"),
        "who": move.who,
        "alias": move.alias,
        "from": move.old_version,
        "to": move.new_version,
        "why": move.why,
        "gates_passed": not failed(gates),
        "gates": [vars(gate) for gate in gates],
        "figures": {key: _plain(value) for key, value in figures.items() if isinstance(value, int | float | str)},
    }


def _plain(value: float | str) -> float | str | None:
    return None if isinstance(value, float) and not math.isfinite(value) else value
