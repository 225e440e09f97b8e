"""Columns are recognised by their names or given, never guessed."""

from __future__ import annotations

import pytest

from evenodd.rows.columns import find_columns
from evenodd.settings import DataSettings

FORUM = ("text", "label", "label_text", "comment_id", "sentence", "user_id", "subforum_id")


def test_the_forum_corpus_is_read_by_its_names_not_its_numbers() -> None:
    """`label` is a number whose meaning differs across copies of the corpus; `sentence` there is no text."""
    columns = find_columns(FORUM, DataSettings())
    assert (columns.text, columns.label, columns.groups) == ("text", "label_text", ("comment_id", "user_id"))


def test_two_fitting_columns_are_an_error_that_names_the_setting() -> None:
    """Taking the first would train on the wrong column in silence."""
    with pytest.raises(ValueError, match=r"tweet and comment could each be the text .*-P data.text_column") as caught:
        find_columns(("tweet", "comment", "label"), DataSettings())
    assert "Columns there: tweet, comment, label." in str(caught.value)


def test_every_column_that_is_missing_is_reported_at_once() -> None:
    """One fault at a time costs a run each."""
    settings = DataSettings(text_column="body", split_column="part", group_columns=("who",))
    with pytest.raises(ValueError, match="body") as caught:
        find_columns(("a", "b"), settings)
    message = str(caught.value)
    assert all(word in message for word in ("'body'", "no label column", "'part'", "who", "Columns there: a, b."))
    assert "\n" not in message


def test_named_columns_win_over_found_ones() -> None:
    """A named column that is passed over would be a setting without effect."""
    settings = DataSettings(text_column="sentence", label_column="label", group_columns=("subforum_id",))
    columns = find_columns(FORUM, settings)
    assert (columns.text, columns.label, columns.groups) == ("sentence", "label", ("subforum_id",))


def test_group_columns_none_turns_grouping_off() -> None:
    """Otherwise rows of another kind of data could not be split at all."""
    assert find_columns(FORUM, DataSettings(group_columns="none")).groups == ()


def test_a_split_column_found_by_name_is_marked_as_found() -> None:
    """Its values decide whether it is one; a named one must hold splits."""
    assert find_columns(("text", "label", "split"), DataSettings()).split_found
    named = find_columns(("text", "label", "split"), DataSettings(split_column="split"))
    assert (named.split, named.split_found) == ("split", False)
