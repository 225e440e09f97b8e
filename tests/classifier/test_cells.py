"""Cells of CSV files that no spreadsheet runs."""

from __future__ import annotations

import pytest
from formula_cells import ARMED, HARMLESS
from hypothesis import given
from hypothesis import strategies as st

from evenodd.classifier.cells import disarm


@pytest.mark.parametrize("text", ARMED, ids=ascii)
def test_what_a_spreadsheet_may_run_is_disarmed(text: str) -> None:
    """Signs that show nothing are skipped by spreadsheets, and were not by us."""
    assert disarm(text) == "'" + text


@pytest.mark.parametrize("text", HARMLESS, ids=ascii)
def test_what_it_cannot_run_stays(text: str) -> None:
    """A column of numbers that are texts can no longer be summed."""
    assert disarm(text) == text


@given(st.text())
def test_a_disarmed_cell_begins_with_an_apostrophe_or_with_nothing_dangerous(text: str) -> None:
    cell = disarm(text)
    assert cell == text or (cell[0] == "'" and cell[1:] == text)
    assert disarm(cell) == cell, "an apostrophe is enough"
