"""Figures by the user's own columns: rates, their intervals and gaps, against counts by hand."""

from __future__ import annotations

import numpy as np
import pytest

from evenodd.evidence.slices import LEAST, NO_VALUE, OTHERS, slice_gaps, slice_metrics, slice_names, slice_table

BINARY = {"classes": 2, "positive": 1}


def columns(**counts: tuple[int, int, int, int]) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Labels, what was called, and the slice of each row, from true and false positives, false and true negatives."""
    labels, called, names = [], [], []
    for name, (hit, wrong, missed, rest) in counts.items():
        labels += [1] * hit + [0] * wrong + [1] * missed + [0] * rest
        called += [1] * hit + [1] * wrong + [0] * missed + [0] * rest
        names += [name] * (hit + wrong + missed + rest)
    return np.array(labels), np.array(called), names


def test_rates_and_gaps_are_those_of_the_counts() -> None:
    """A gate on a wrong rate would let a version pass that treats a group worse."""
    labels, called, names = columns(web=(18, 4, 2, 36), app=(15, 20, 15, 20))
    table = slice_table(labels, called, {"client": names}, **BINARY).set_index("value")
    assert (table.loc["web", "rows"], table.loc["app", "positives"]) == (60, 30)
    assert table.loc["web", "recall"] == pytest.approx(0.9)
    assert table.loc["web", "false_positive_rate"] == pytest.approx(0.1)
    assert table.loc["app", "false_positive_rate"] == pytest.approx(0.5)
    assert table.loc["web", "false_positive_rate_low"] < 0.1 < table.loc["web", "false_positive_rate_high"]
    gaps = slice_gaps(table.reset_index()).set_index("rate")["gap"].to_dict()
    assert gaps == pytest.approx({"recall": 0.4, "false_positive_rate": 0.4})
    assert slice_metrics(table.reset_index()) == pytest.approx(
        {"slices/max_gap": 0.4, "slices/max_false_positive_rate": 0.5}
    )


def test_a_slice_of_few_rows_makes_no_gap() -> None:
    """Two rows that both went wrong would stop every version."""
    labels, called, names = columns(web=(30, 3, 0, 27), rare=(0, LEAST - 1, LEAST - 1, 0))
    table = slice_table(labels, called, {"client": names}, **BINARY)
    assert len(table) == 2
    assert slice_gaps(table).empty
    assert slice_metrics(table) == pytest.approx({"slices/max_false_positive_rate": 0.1})


def test_labels_without_a_positive_one_are_told_by_accuracy() -> None:
    """There is no false positive where no label is the positive one."""
    labels = np.array([0, 1, 2] * 20)
    called = np.where(np.arange(60) < 30, labels, 0)
    sliced = {"half": ["first"] * 30 + ["second"] * 30}
    table = slice_table(labels, called, sliced, classes=3, positive=None)
    assert "recall" not in table
    assert slice_gaps(table)["gap"].tolist() == pytest.approx([1 - 10 / 30])


def test_many_values_are_cut_into_few_slices() -> None:
    """A slice a row says nothing, and four hundred rows of table hide the one that matters."""
    ages = slice_names([str(age) for age in range(100)])
    assert len(set(ages)) == 4
    assert [int((ages == name).sum()) for name in dict.fromkeys(ages)] == [25] * 4
    cities = slice_names([f"city {number}" for number in range(30)] + ["Rome"] * 5 + [None])
    assert len(set(cities)) <= 13
    assert {"Rome", OTHERS, NO_VALUE} <= set(cities)
