"""The task: its labels keep names of their own wherever they are written, and its JSON form gives it back."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import softmax

from evenodd.task import Task

names = st.lists(
    st.text(min_size=1).filter(lambda s: s.strip() and s.strip().casefold() != "review"),
    min_size=2,
    max_size=9,
    unique=True,
)


@given(names)
def test_every_label_has_a_key_of_its_own(labels: list[str]) -> None:
    """Two labels that shared a metric name would overwrite each other's figures."""
    keys = Task.single_label(labels).label_keys
    assert len({key.casefold() for key in keys}) == len(labels)
    assert all(key and key.isascii() for key in keys)


def test_emoji_and_signs_keep_apart() -> None:
    """`C#` and `C@` differ only in a sign that MLflow does not take."""
    assert len(set(Task.single_label(["C#", "C@", "😀", "😡"]).label_keys)) == 4


@given(names)
def test_json_gives_the_task_back(labels: list[str]) -> None:
    """A task that changed on its way into a bundle would answer with other labels."""
    task = Task.single_label(labels, labels[0])
    assert Task.from_dict(json.loads(json.dumps(task.to_dict()))) == task


def test_probabilities_are_a_softmax() -> None:
    """Held against SciPy on fresh logits."""
    logits = np.random.default_rng().normal(size=(5, 3)) * 40
    task = Task.single_label(["a", "b", "c"])
    np.testing.assert_allclose(task.probabilities(logits), softmax(logits, axis=1), atol=1e-12)


@pytest.mark.parametrize("labels", [["a"], ["a", "a"], ["a", " "], ["a", "Review"]])
def test_labels_that_cannot_be_distinguished_are_refused(labels: list[str]) -> None:
    """A label called `review` could not be distinguished from the decision to ask a person."""
    with pytest.raises(ValueError, match="label"):
        Task.single_label(labels)


def test_a_positive_label_has_to_be_one_of_two() -> None:
    """A threshold is about one label of two."""
    with pytest.raises(ValueError, match="positive='c'"):
        Task.single_label(["a", "b"], "c")
    with pytest.raises(ValueError, match="only a binary task"):
        Task("multiclass", ("a", "b", "c"), "a")
