"""When two texts are the same, which rows are left out, and which labels are kept."""

from __future__ import annotations

import unicodedata

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evenodd.rows.clean import find_repeats, is_blank, normalise, text_keys, value_keys


@given(st.text(max_size=60))
def test_normalising_twice_changes_nothing(text: str) -> None:
    """Otherwise a text and its own normal form would count as two texts and could land in two splits."""
    assert normalise(normalise(text)) == normalise(text)


@given(st.text(alphabet=st.characters(codec="utf-8"), max_size=60))
def test_case_width_and_white_space_do_not_tell_texts_apart(text: str) -> None:
    """A repeat with other spacing or decomposed accents would leak from train to test."""
    spaced = "  " + text.replace(" ", " \t ") + "\n"
    assert normalise(spaced) == normalise(text)
    assert normalise(unicodedata.normalize("NFD", text)) == normalise(text)


def test_different_words_stay_different() -> None:
    """A comparison that is too coarse would remove rows that are no repeats."""
    texts = ["hate", "hates", "h ate", "Ｈate!", "hate", "HATE", "Ｈａｔｅ"]
    assert len(set(text_keys(texts).tolist())) == 4


@pytest.mark.parametrize("text", ["", "  \t\n", "\u200b\u200d", "\x00\x07", "\u00a0\ufeff"])
def test_a_text_without_a_visible_character_is_blank(text: str) -> None:
    """An invisible text would be trained on as if it had content."""
    assert is_blank(text)


@pytest.mark.parametrize("text", ["a", "😀", " . ", "\u200bx", "\U0001fae9"])
def test_a_text_with_a_visible_character_is_not_blank(text: str) -> None:
    """Emoji and punctuation are texts; calling them empty would refuse good data."""
    assert not is_blank(text)


def reference_repeats(keys: list[int], labels: list[int], rank: list[int]) -> tuple[list[int], int, int]:
    rows: dict[int, list[int]] = {}
    for place, key in enumerate(keys):
        rows.setdefault(key, []).append(place)
    kept, duplicates, conflicts = [], 0, 0
    for places in rows.values():
        if len({labels[place] for place in places}) > 1:
            conflicts += len(places)
        else:
            kept.append(max(places, key=lambda place: (rank[place], -place)))
            duplicates += len(places) - 1
    return sorted(kept), duplicates, conflicts


@given(st.lists(st.tuples(st.integers(-3, 3), st.integers(0, 2), st.integers(0, 2)), max_size=40))
def test_repeats_are_those_of_a_plain_loop(rows: list[tuple[int, int, int]]) -> None:
    """The vectorised form could keep a conflicting text or drop the copy of a published test split."""
    columns = [list(column) for column in zip(*rows, strict=True)] or [[], [], []]
    found = find_repeats(*(np.array(column, dtype=np.int64) for column in columns))
    kept, duplicates, conflicts = reference_repeats(*columns)
    assert np.flatnonzero(found.keep).tolist() == kept
    assert (len(found.duplicates), len(found.conflicts)) == (duplicates, conflicts)


def test_group_values_have_equal_keys_when_equal_and_none_when_missing() -> None:
    """A missing author must not join all rows without one into one giant group."""
    keys = value_keys(pa.array(["a", None, "b", "a", None], pa.string()))
    assert keys[0] == keys[3] != keys[2]
    assert keys[1] == keys[4] == 0
    assert 0 not in keys[[0, 2, 3]]
