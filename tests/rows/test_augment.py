"""Counterexamples: labels, variety, and that no wording is shared with the suites that they are judged by."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from evenodd.evidence.suites.behaviour import load_suite
from evenodd.evidence.suites.build import suite_groups
from evenodd.evidence.suites.own import near_sentences
from evenodd.rows.augment import WEIGHTS, counterexamples, group_terms, kind_counts, wording
from evenodd.rows.sample import sample_rows, sample_words
from evenodd.rows.templates import delexicalise, normalise

TERMS = (*group_terms(), *(term for pair in suite_groups() for term in pair), *sample_words()["slots"]["G"])


@pytest.fixture(scope="module")
def many() -> list[dict]:
    return [row for seed in range(3) for row in counterexamples(8000, seed=seed)]


def test_rows_are_unique_balanced_and_of_every_kind() -> None:
    """A kind that is missing leaves a failure unfixed in silence; much more of one label moves the threshold."""
    rows = counterexamples(2000)
    assert len({normalise(row["text"]) for row in rows}) == len(rows) == 2000
    assert dict(Counter(row["kind"] for row in rows)) == kind_counts(2000)
    assert set(kind_counts(2000)) == set(WEIGHTS)
    assert 800 < sum(row["label_text"] == "hate" for row in rows) < 1200


def test_label_follows_the_kind() -> None:
    """One kind with the wrong label teaches the opposite of what it is for."""
    hateful = {*wording().hate, "misspelt_hate"}
    for row in counterexamples(3000, seed=5):
        assert (row["label_text"] == "hate") == (row["kind"] in hateful)
        assert "{" not in row["text"]


def test_no_counterexample_is_a_case_of_the_suite(many: list[dict]) -> None:
    """A suite that was trained on measures memory."""
    suite = load_suite()
    cases = {normalise(text) for text in (*suite.texts, *near_sentences()["text"])}
    assert not cases & {normalise(row["text"]) for row in many}
    shapes = {delexicalise(text, TERMS) for text in suite.texts}
    assert not shapes & {delexicalise(row["text"], TERMS) for row in many}


def test_no_row_of_the_sample_is_a_case_of_the_suite() -> None:
    """The sample is trained on by default, so the same holds for it."""
    suite = load_suite()
    rows = [row["text"] for seed in range(3) for row in sample_rows(seed=seed)]
    assert not {normalise(text) for text in (*suite.texts, *near_sentences()["text"])} & {
        normalise(text) for text in rows
    }
    assert not {delexicalise(text, TERMS) for text in suite.texts} & {delexicalise(text, TERMS) for text in rows}


@pytest.mark.skipif("EVENODD_HATECHECK" not in os.environ, reason="EVENODD_HATECHECK names no file of HateCheck cases")
def test_no_wording_is_shared_with_hatecheck(many: list[dict]) -> None:
    """Acceptance on HateCheck is worth nothing if its sentences were trained on."""
    with Path(os.environ["EVENODD_HATECHECK"]).open(encoding="utf-8", newline="") as file:
        cases = [row["test_case"] for row in csv.DictReader(file)]
    own = [row["text"] for row in (*many, *sample_rows())] + load_suite().texts
    assert not {normalise(text) for text in cases} & {normalise(text) for text in own}
    assert not {delexicalise(text, TERMS) for text in cases} & {delexicalise(text, TERMS) for text in own}


def test_every_group_stands_in_hate_and_in_what_is_not() -> None:
    """A group that is only ever hated in training becomes hateful by name."""
    rows = counterexamples(6000)
    for name, group in wording().groups.items():
        terms = tuple(dict.fromkeys((*group.plural, *group.singular)))
        named = [row["label_text"] for row in rows if "<group>" in delexicalise(row["text"], terms)]
        assert named.count("hate") >= 5, name
        assert named.count("noHate") >= 5, name


def test_major_kinds_have_many_wordings() -> None:
    """A few templates repeated are learnt by heart and teach nothing."""
    for kind in (
        "direct_hate",
        "derogation",
        "threat",
        "negated_hate",
        "referred_hate",
        "positive_mention",
        "person_abuse",
    ):
        rows = counterexamples(400, seed=3, kinds=(kind,))
        assert len({delexicalise(row["text"], TERMS) for row in rows}) >= 250, kind


def test_templates_are_not_repeated() -> None:
    """A template that occurs twice, or as hate and as no hate, weighs double or contradicts itself."""
    frames = [normalise(frame) for of_kind in wording().hate.values() for frame in of_kind]
    others = [normalise(frame) for of_kind in wording().other.values() for frame in of_kind]
    assert not set(frames) & set(others)


def test_chosen_kinds_only_and_in_proportion() -> None:
    """Kinds are a setting: an unknown kind that is ignored would have no effect, silently."""
    rows = counterexamples(100, kinds=("threat", "negated_hate"))
    assert Counter(row["kind"] for row in rows) == kind_counts(100, ("threat", "negated_hate"))
    assert sum(kind_counts(1777).values()) == 1777


def test_misspelt_rows_are_no_words_of_the_plain_ones() -> None:
    """Misspelling that changes nothing would only repeat the plain rows."""
    rows = counterexamples(300, kinds=("misspelt_hate",))
    plain = " ".join(normalise(row["text"]) for row in counterexamples(4000, kinds=tuple(wording().hate)))
    words = set(plain.split())
    assert sum(not set(normalise(row["text"]).split()) <= words for row in rows) > 240


def test_faulty_requests_are_refused() -> None:
    """A misspelt kind must not quietly mean no rows of it."""
    with pytest.raises(ValueError, match=r"augment_kinds=threats: not known; there are .*threat"):
        counterexamples(10, kinds=("threats",))
    with pytest.raises(ValueError, match="rows=0"):
        counterexamples(0)
    with pytest.raises(ValueError, match="request fewer"):
        counterexamples(50_000, kinds=("implicit_hate",))


def test_rows_are_the_same_in_another_process() -> None:
    """Rows that differ between machines make runs with the same fingerprint differ."""
    code = "import json; from evenodd.rows.augment import counterexamples; print(json.dumps(counterexamples(500)))"
    environment = {**os.environ, "PYTHONHASHSEED": "7"}
    output = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, check=True, text=True)
    assert json.loads(output.stdout) == counterexamples(500)
    assert counterexamples(500, seed=1) != counterexamples(500)
