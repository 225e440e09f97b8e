"""The scoring benchmark's own arithmetic: a wrong figure there is believed for a long time."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks.contenders import CEILING, PIPELINE, SPARK, _rate, first_texts, write_rows
from benchmarks.scoring import BARS, CEILING_TWO, ONE, TWO, ratios, table


def row(rate: float, peak: float = 500.0, rows: int = 10) -> dict[str, Any]:
    return {"rows": rows, "texts_per_second": rate, "peak_mb": peak, "wall_seconds": 1.0}


def sizes(**more: dict[str, Any]) -> dict[int, dict[str, dict[str, Any]]]:
    """Figures of two sizes; the smaller one was measured on a machine that was five times as slow."""
    last = {
        PIPELINE: row(100, rows=5),
        ONE: row(900, 550),
        TWO: row(1800, 760),
        CEILING: {"rows": 5, "texts_per_second": 1000},
        CEILING_TWO: {"rows": 5, "texts_per_second": 2000},
    }
    first = {name: {**found, "texts_per_second": found["texts_per_second"] / 5} for name, found in last.items()}
    first[ONE] |= {"peak_mb": 500}
    first[TWO] |= {"peak_mb": 750}
    return {10: first, 100: last | more}


def test_ratios_are_those_of_the_largest_size_and_missing_peers_have_none() -> None:
    """A peer that was skipped must not look beaten, nor a size that took its start along look slow."""
    found = ratios(sizes())
    assert found["over_pipeline"] == 18
    assert found["share_of_ceiling"] == 0.9
    assert found["second_worker"] == found["second_process_of_the_ceiling"] == 2
    assert found["over_spark"] is found["over_pyfunc"] is None
    assert found["memory_growth"] == pytest.approx(1.1)
    assert ratios({10: sizes()[10]})["memory_growth"] is None


def test_the_table_says_which_bars_hold_and_what_was_skipped() -> None:
    """A bar that is not met would be found by nobody."""
    found = sizes()
    found[100][TWO]["texts_per_second"] = 1400
    told = table({"sizes": found, "ratios": ratios(found), "left_out": {SPARK: "there is no Java"}, "ray": {}})
    assert "| spark_udf | skipped: there is no Java |" in told
    assert "bar ≥ 15: DOES NOT HOLD" in told
    assert "bar ≥ 0.85: holds" in told
    assert f"{PIPELINE} (5 rows)" in told
    rows = [line for line in told.splitlines() if line.startswith("|")]
    assert len({line.count("|") for line in rows}) == 1
    assert BARS["second_worker"].holds(None) is None
    assert BARS["memory_growth"].holds(1.2) is False


def test_every_row_is_another_text(tmp_path: Path) -> None:
    """Equal texts could be answered once and copied."""
    write_rows(tmp_path / "rows.jsonl", ["a", "b"], 5)
    assert first_texts(tmp_path / "rows.jsonl") == ["a 0", "b 1", "a 2", "b 3", "a 4"]
    assert first_texts(tmp_path / "rows.jsonl", 2) == ["a 0", "b 1"]
    assert all(json.loads(line) for line in (tmp_path / "rows.jsonl").read_text().splitlines())


def test_the_ceiling_counts_whole_passes() -> None:
    """Ended in the middle of texts sorted by length, it would have scored the short ones more often."""
    seen: list[int] = []
    _rate(lambda texts: seen.append(len(texts)), ["text"] * 10, 4, 0.0001)
    passes = seen[1:]
    assert len(passes) % 3 == 0
    assert set(passes) == {4, 2}
