"""The word lists that ship with the package: what is made of them does not change unless somebody means it to."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from evenodd.evidence.suites.build import suite_text
from evenodd.rows.augment import counterexamples
from evenodd.rows.sample import sample_rows
from evenodd.rows.words import read_words

SAMPLE = {
    0: "7aa056857d6b05fc",
    1: "409badf49db0ca8e",
}
COUNTEREXAMPLES = {
    0: "670446cf8680701a",
    1: "b3749b35a44dedba",
    7: "298f267451414018",
}
SUITE = "4b1cb1db65c123c8"


def digest(made: object) -> str:
    return hashlib.sha256(json.dumps(made).encode()).hexdigest()[:16]


@pytest.mark.parametrize("seed", SAMPLE)
def test_rows_of_the_sample_do_not_change(seed: int) -> None:
    """One word moved in a file changes every figure that was measured on the sample, and every cache's key."""
    assert digest(sample_rows(seed=seed)) == SAMPLE[seed]


@pytest.mark.parametrize("seed", COUNTEREXAMPLES)
def test_counterexamples_do_not_change(seed: int) -> None:
    """A phrase dropped or put in another order gives other training rows for the same seed."""
    assert digest(counterexamples(4000, seed=seed)) == COUNTEREXAMPLES[seed]


def test_cases_of_the_suite_do_not_change() -> None:
    """Scores of the behaviour suite are comparable between runs only while its cases are the same."""
    assert digest(suite_text()) == SUITE


def test_a_file_is_split_into_phrases(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A bar inside a word, or one left at a line's end, would cut a phrase in two or add an empty one."""
    (tmp_path / "wordy").mkdir()
    (tmp_path / "wordy" / "__init__.py").touch()
    text = 'slots:\n  a: |\n    one | two |\n    | two\n    *cats|cat*\n  b: "yes, indeed"\nshare: 3\n'
    (tmp_path / "wordy" / "some.yaml").write_text(text, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    assert read_words("wordy", "some") == {
        "slots": {"a": ("one", "two", "two", "*cats|cat*"), "b": ("yes, indeed",)},
        "share": 3,
    }
