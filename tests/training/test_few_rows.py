"""Few rows still make enough steps, unless the epochs are given."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evenodd.settings import TrainSettings, resolve_settings
from evenodd.training.batches import TokenBudgetSampler
from evenodd.training.few_rows import LEAST_ROWS, MOST_PASSES, plan_batches


def test_many_rows_keep_the_batches_of_the_settings() -> None:
    """Smaller batches are slower, and change figures that were measured with large ones."""
    settings = TrainSettings(min_steps=100)
    plan = plan_batches(np.full(7000, 23), settings)
    assert (plan.token_budget, plan.max_rows, plan.passes) == (settings.token_budget, settings.max_rows, 1)


@settings(deadline=None)
@given(
    rows=st.integers(1, 3000),
    length=st.integers(2, 128),
    epochs=st.integers(1, 6),
    least=st.sampled_from((0, 100, 400)),
)
def test_few_rows_make_the_steps_that_are_asked_for(rows: int, length: int, epochs: int, least: int) -> None:
    """413 reviews made 21 steps: the model answered with the majority, and the command ended with nothing to serve."""
    settings = TrainSettings(epochs=epochs, min_steps=least)
    plan = plan_batches(np.full(rows, length), settings)
    sampler = TokenBudgetSampler(
        np.full(rows, length), token_budget=plan.token_budget, max_rows=plan.max_rows, passes=plan.passes
    )
    assert plan.steps == len(sampler) * epochs
    assert plan.steps >= least or (plan.passes == MOST_PASSES and plan.max_rows // 2 < LEAST_ROWS)


def test_each_pass_holds_every_row_in_an_order_of_its_own() -> None:
    """Rows that stand twice in one pass, or passes that repeat each other's batches."""
    sampler = TokenBudgetSampler(np.full(40, 8), token_budget=64, max_rows=8, passes=3, seed=1)
    rows = [row for batch in sampler for row in batch]
    passes = [rows[start : start + 40] for start in range(0, 120, 40)]
    assert all(sorted(each) == list(range(40)) for each in passes)
    assert len({tuple(each) for each in passes}) == 3


def test_each_pass_takes_the_next_turn() -> None:
    """Rows that take turns over the epochs would wait for as many epochs as there are turns."""
    turns = np.array([-1, -1, 0, 1])
    sampler = TokenBudgetSampler(np.full(4, 8), token_budget=64, max_rows=8, passes=2, turns=turns)
    assert sorted(row for batch in sampler for row in batch) == [0, 0, 1, 1, 2, 3]


@pytest.mark.parametrize(
    ("said", "family", "expected"),
    [
        ({}, "teacher", 100),
        ({"epochs": 1}, "teacher", 0),
        ({"epochs": 1}, "student", 0),
        ({"teacher.epochs": 1}, "teacher", 0),
        ({"teacher.epochs": 1}, "student", 100),
        ({"epochs": 1, "train.min_steps": 50}, "student", 50),
    ],
)
def test_who_gives_epochs_gets_these(said: dict[str, int], family: str, expected: int) -> None:
    """`epochs=1` that trains for twelve passes is another setting than was given."""
    assert resolve_settings(said, family=family, name=family).train.min_steps == expected
