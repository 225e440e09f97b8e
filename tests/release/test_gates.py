"""Gates and the audit entry: what may become champion, and what is written down about it."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone

import pytest

from evenodd.release.gates import Move, audit_entry, check_gates, failed, gates_of_fit
from evenodd.settings import GateSettings

GOOD = {
    "validation/f1_macro": 0.78,
    "floor/validation_majority_f1_macro": 0.47,
    "floor/validation_tfidf_f1_macro": 0.70,
    "behaviour/balanced_accuracy": 0.85,
    "behaviour/group_gap": 0.05,
    "validation/ece": 0.02,
    "parity/passed": 1.0,
    "parity/max_abs_diff": 1e-6,
    "cost/latency_p50_ms": 4.0,
    "cost/onnx_mb": 20.0,
    "validation_digest": "abc",
}
STRICT = GateSettings(
    min_behaviour=0.8, max_group_gap=0.1, max_ece=0.05, max_latency_ms=10, max_onnx_mb=50, require_parity=True
)
NAMES = ("above_floor", "champion", "behaviour", "group_gap", "calibration", "latency", "size", "parity")


def test_every_gate_passes_on_good_figures() -> None:
    """A gate that cannot pass would stop every promotion."""
    gates = check_gates(GOOD, STRICT, {"validation/f1_macro": 0.77, "validation_digest": "abc"})
    assert tuple(gate.name for gate in gates) == NAMES
    assert failed(gates) == ()


@pytest.mark.parametrize(
    ("key", "value", "gate"),
    [
        ("validation/f1_macro", 0.69, "above_floor"),
        ("validation/f1_macro", float("nan"), "above_floor"),
        ("behaviour/balanced_accuracy", 0.79, "behaviour"),
        ("behaviour/group_gap", 0.11, "group_gap"),
        ("validation/ece", 0.06, "calibration"),
        ("parity/passed", 0.0, "parity"),
        ("cost/latency_p50_ms", 10.1, "latency"),
        ("cost/onnx_mb", 50.5, "size"),
        ("champion/difference_high", -0.001, "champion"),
    ],
)
def test_each_gate_stops_what_it_is_for(key: str, value: float, gate: str) -> None:
    """A gate whose comparison points the wrong way lets the worst through."""
    gates = check_gates(GOOD | {key: value}, STRICT, {"validation/f1_macro": 0.1, "validation_digest": "abc"})
    assert gate in failed(gates)
    found = next(g for g in gates if g.name == gate)
    assert str(found).startswith("FAILED")


@pytest.mark.parametrize(
    ("key", "gate"),
    [
        ("validation/f1_macro", "above_floor"),
        ("behaviour/balanced_accuracy", "behaviour"),
        ("behaviour/group_gap", "group_gap"),
        ("validation/ece", "calibration"),
        ("parity/passed", "parity"),
        ("cost/latency_p50_ms", "latency"),
        ("cost/onnx_mb", "size"),
    ],
)
def test_missing_figure_is_a_failure_with_its_reason(key: str, gate: str) -> None:
    """A gate without a figure that counts as passed is no gate."""
    gates = check_gates({k: v for k, v in GOOD.items() if k != key}, STRICT, None)
    found = next(g for g in gates if g.name == gate)
    assert not found.passed
    assert f"no figure {key}" in found.text


def test_missing_floors_are_a_failure() -> None:
    """A run that logged no floor has not been shown to beat one."""
    bare = {key: value for key, value in GOOD.items() if not key.startswith("floor/")}
    assert failed(check_gates(bare, GateSettings(), None)) == ("above_floor",)


def test_a_fit_waits_for_its_export_but_not_with_figures_that_are_known() -> None:
    """Size and parity come with the export, which only the winner gets: missing they bar nobody, known they count."""
    fitted = {key: value for key, value in GOOD.items() if key not in ("parity/passed", "cost/onnx_mb")}
    assert [gate.name for gate in gates_of_fit(fitted, STRICT)] == [
        name for name in NAMES if name not in ("champion", "size", "parity")
    ]
    assert failed(gates_of_fit(fitted | {"cost/onnx_mb": 51.0, "parity/passed": 0.0}, STRICT)) == ("size", "parity")


def test_gates_that_are_not_asked_are_not_checked() -> None:
    """A default that asks for a figure nobody measures would stop every promotion."""
    asked = GateSettings(above_floor=False, max_ece=None)
    assert check_gates({}, asked, None) == []


def test_champion_interval_decides_before_the_plain_difference() -> None:
    """A slightly lower score whose interval reaches above 0 is not significantly worse."""
    champion = {"validation/f1_macro": 0.79, "validation_digest": "abc"}
    assert "champion" in failed(check_gates(GOOD, GateSettings(), champion))
    close = GOOD | {"champion/difference_high": 0.004, "validation_digest": "other"}
    assert "champion" not in failed(check_gates(close, GateSettings(), champion))
    allowed = GateSettings(max_worse_than_champion=0.02)
    assert "champion" not in failed(check_gates(GOOD, allowed, champion))


def test_scores_on_other_data_are_not_compared() -> None:
    """A champion measured on easier rows would look better than it is."""
    gates = check_gates(GOOD, GateSettings(), {"validation/f1_macro": 0.5, "validation_digest": "xyz"})
    champion = next(gate for gate in gates if gate.name == "champion")
    assert not champion.passed
    assert "different data" in champion.text


def test_always_no_model_is_stopped() -> None:
    """It has the majority's macro-F1 exactly, and the best accuracy for its cost."""
    figures = GOOD | {"validation/f1_macro": 0.47, "floor/validation_tfidf_f1_macro": 0.4}
    assert failed(check_gates(figures, GateSettings(), None)) == ("above_floor",)


def test_audit_entry_is_json_with_who_when_from_to_and_why() -> None:
    """An entry that cannot be read back, or loses the figures, is no trail."""
    gates = check_gates(GOOD | {"validation/ece": 0.5}, STRICT, None)
    when = datetime(2026, 11, 23, 12, 0, tzinfo=timezone(timedelta(hours=2)))
    move = Move("champion", "3", "4", "ana", "winner of the comparison")
    entry = audit_entry(move, gates, GOOD | {"train/loss": float("nan"), "table": [1]}, when)
    again = json.loads(json.dumps(entry, allow_nan=False))
    assert again["when"] == "2026-11-23T10:00:00+00:00"
    assert (again["who"], again["from"], again["to"], again["why"]) == ("ana", "3", "4", "winner of the comparison")
    assert again["gates_passed"] is False
    assert [g["name"] for g in again["gates"] if not g["passed"]] == ["calibration"]
    assert again["figures"]["validation/f1_macro"] == 0.78
    assert again["figures"]["train/loss"] is None
    assert "table" not in again["figures"]
    assert audit_entry(move, [], {}, datetime.now(UTC))["gates_passed"] is True


def test_time_without_zone_is_refused() -> None:
    """A local time in a log that several machines write orders events wrongly."""
    with pytest.raises(ValueError, match="needs a time zone"):
        audit_entry(Move("champion", None, "1", "ana", ""), [], {}, datetime(2026, 1, 1))
