"""Labels: from the data or the settings, in a stable order, with the positive one of two."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evenodd.rows.labels import choose_task, doubtful_names, name_order


def test_labels_keep_the_order_of_the_settings() -> None:
    """Label numbers decide what `hate` means in every later stage."""
    task = choose_task(("noHate", "hate"), "noHate", {"hate": 5, "noHate": 9, "idk": 1})
    assert (task.labels, task.positive) == (("noHate", "hate"), "noHate")


def test_labels_default_to_those_that_occur_with_the_rarer_as_positive() -> None:
    """A threshold on the common label would hold back ordinary texts."""
    task = choose_task(None, None, {"ham": 5, "spam": 9})
    assert (task.labels, task.positive) == (("spam", "ham"), "ham")
    assert choose_task(("ham", "spam"), None, {"ham": 5, "spam": 9}).labels == ("ham", "spam")


@pytest.mark.parametrize(("names", "positive"), [(("0", "1"), "1"), (("no", "yes"), "yes"), (("bad", "good"), "good")])
def test_of_two_equally_frequent_labels_the_last_is_positive(names: tuple[str, str], positive: str) -> None:
    """A choice that depends on the order of rows would turn every score around when they are shuffled."""
    first = choose_task(None, None, dict.fromkeys(names, 7))
    assert first == choose_task(None, None, dict.fromkeys(reversed(names), 7))
    assert first.positive == positive


@given(st.dictionaries(st.text(st.characters(codec="ascii"), min_size=1).filter(lambda name: name.strip()), st.just(3)))
def test_the_order_of_found_labels_does_not_depend_on_rows(occurring: dict[str, int]) -> None:
    """Otherwise two readings of the same rows in another order would be two tasks."""
    occurring = {name.strip(): many for name, many in occurring.items() if name.strip().casefold() != "review"}
    if len(occurring) > 2:
        assert choose_task(None, None, occurring) == choose_task(None, None, dict(reversed(occurring.items())))


def test_classes_that_the_data_declares_keep_their_numbers() -> None:
    """A hub data set's own label numbers are used in its card, in papers and in encoders fitted on it."""
    task = choose_task(None, None, {"a": 5, "no": 9, "yes": 9}, ("yes", "no", "a", "never seen"))
    assert task.labels == ("yes", "no", "a")
    binary = choose_task(None, None, {"yes": 5, "no": 9}, ("yes", "no"))
    assert (binary.labels, binary.positive) == (("yes", "no"), "yes")


def test_all_labels_are_sorted_with_numbers_by_value() -> None:
    """`10` before `2` would number the classes of a star rating wrongly."""
    assert choose_task(None, None, {"10": 1, "2": 1, "1": 1}).labels == ("1", "2", "10")
    assert name_order(["hate", "Hate", "2b", "2a"]) == ("Hate", "hate", "2a", "2b")


@pytest.mark.parametrize(("asked", "positive", "occurring", "said"), [
    (("noHate", "hate"), None, {"spam": 3, "ham": 4},
     r"label noHate, hate does not occur; found are: ham \(4\), spam \(3\) \(pass -P labels=a,b"),
    (None, None, {"spam": 3}, r"one class only \(spam\)"),
    (None, None, {}, "no row has a label"),
    (None, None, {"review": 30, "news": 40}, "label 'review': this name is reserved for the decision"),
    (None, "spam", {"a": 3, "b": 4}, "positive='spam': the labels are a, b .*-P positive=NAME"),
    (None, "a", {"a": 3, "b": 4, "c": 5}, "only a binary task has a positive label .*leave positive out"),
])  # fmt: skip
def test_labels_that_cannot_be_used_are_refused_with_advice(
    asked: tuple[str, ...] | None, positive: str | None, occurring: dict[str, int], said: str
) -> None:
    """A setting that is passed over in silence, or a name of ours as a label, would spoil a whole comparison."""
    with pytest.raises(ValueError, match=said):
        choose_task(asked, positive, occurring)


def test_accents_in_two_encodings_are_one_label() -> None:
    """Two labels that nobody can tell apart would halve each class."""
    assert choose_task(("caf\u00e9", "bar"), None, {"caf\u00e9": 3, "bar": 4}) == choose_task(
        ("cafe\u0301", "bar"), None, {"caf\u00e9": 3, "bar": 4}
    )


def test_names_that_may_be_one_label_or_none_are_remarked_on() -> None:
    """`Yes` beside `yes`, `1` beside `1.0` and `nan` are usually an accident of an export."""
    remarks = doubtful_names({"Yes": 4, "yes": 5, "1": 2, "1.0": 3, "nan": 1, "other": 9})
    assert remarks == [
        "labels Yes (4), yes (5) differ in spelling only and count as 2",
        "labels 1 (2), 1.0 (3) differ in spelling only and count as 2",
        "label nan (1) is used as a label: if it means a missing label, remove those rows",
    ]
    assert doubtful_names({"hate": 1, "noHate": 2}) == []
