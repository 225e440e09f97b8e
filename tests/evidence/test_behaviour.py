"""Behaviour suites: the shipped file, reading others, and the arithmetic of the report."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import balanced_accuracy_score

from evenodd.evidence.suites.behaviour import (
    NO_GROUP,
    answered,
    load_suite,
    score_suite,
    shared_sentences,
    untrained,
)
from evenodd.evidence.suites.build import SUITE_PATH, build_cases, suite_text
from evenodd.evidence.suites.own import near_in_words, near_sentences
from evenodd.report.behaviour_plot import plot_behaviour

FIGURES = (
    "balanced_accuracy", "recall", "specificity", "group_gap", "direct", "neutral_mention",
)  # fmt: skip
HATECHECK_COLUMNS = [
    "functionality", "case_id", "test_case", "label_gold", "target_ident", "direction", "focus_words", "focus_lemma",
    "ref_case_id", "ref_templ_id", "templ_id", "case_templ",
]  # fmt: skip


def write_suite(folder: Path, *rows: str, header: str = "functionality,test_case,label_gold,target_ident") -> Path:
    file = folder / "suite.csv"
    file.write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    return file


def test_shipped_suite_is_what_the_wording_builds() -> None:
    """A suite edited by hand, or wording changed without building, would be scored unnoticed."""
    assert SUITE_PATH.read_text(encoding="utf-8") == suite_text()


def test_shipped_suite_has_its_size_columns_and_balance() -> None:
    """The figure is only worth its name with many functionalities and every group equally often."""
    table = pd.read_csv(SUITE_PATH, keep_default_na=False)
    assert list(table.columns) == HATECHECK_COLUMNS
    assert len(table) >= 600
    assert table["functionality"].nunique() >= 25
    assert set(table["label_gold"]) == {"hateful", "non-hateful"}
    assert not table["test_case"].duplicated().any()
    assert table.groupby("functionality")["label_gold"].nunique().max() == 1
    named = table[table["target_ident"] != ""]
    assert named["target_ident"].nunique() >= 8
    assert named.groupby(["functionality", "target_ident"]).size().nunique() == 1
    assert not table["test_case"].str.contains(r"[*{}\[\]|]").any()


def test_misspelt_cases_differ_from_the_cases_that_they_refer_to() -> None:
    """A misspelling that did nothing would count an easy case twice."""
    cases = {str(case.case_id): case for case in build_cases()}
    misspelt = [case for case in cases.values() if case.ref_case_id]
    assert len(misspelt) >= 100
    for case in misspelt:
        source = cases[case.ref_case_id]
        assert case.test_case != source.test_case
        assert case.label_gold == source.label_gold
        assert case.target_ident == source.target_ident


def test_balanced_accuracy_agrees_with_scikit_learn() -> None:
    """The headline figure of every comparison: hateful and other cases must weigh the same."""
    suite = load_suite()
    rng = np.random.default_rng()
    for share in rng.random(5):
        predicted = rng.random(len(suite)) < share
        figures = score_suite(suite, predicted).metrics()
        expected = balanced_accuracy_score(suite.cases["positive"], predicted)
        assert figures["balanced_accuracy"] == pytest.approx(expected)
        assert set(figures) == {*FIGURES}


def test_always_no_scores_half_and_perfect_scores_one() -> None:
    """A model that answers no to everything has no skill, whatever the share of hateful cases."""
    suite = load_suite()
    assert score_suite(suite, np.zeros(len(suite), dtype=int)).metrics()["balanced_accuracy"] == 0.5
    perfect = score_suite(suite, lambda texts: suite.cases["positive"].to_numpy()).metrics()
    assert perfect == dict.fromkeys(FIGURES, 1) | {"group_gap": 0}


def test_gap_sees_a_group_that_is_missed() -> None:
    """A model blind to one group has a good average: only the gap shows it."""
    suite = load_suite()
    predicted = suite.cases["positive"].to_numpy() & (suite.cases["group"] != "trans people").to_numpy()
    report = score_suite(suite, predicted)
    assert report.gap("hateful") == 1
    assert report.gap("non-hateful") == 0
    assert report.metrics()["group_gap"] == 1
    table = report.by_group.set_index(["group", "label_gold"])["accuracy"]
    assert table["trans people", "hateful"] == 0
    assert table["women", "hateful"] == 1


def test_tables_count_every_case_once() -> None:
    """A case lost in a grouping would be missing from the report without a word."""
    suite = load_suite()
    report = score_suite(suite, np.arange(len(suite)) % 2)
    assert report.by_functionality["cases"].sum() == len(suite)
    assert report.by_functionality_and_group["cases"].sum() == len(suite)
    weighted = (report.by_functionality["accuracy"] * report.by_functionality["cases"]).sum() / len(suite)
    assert weighted == pytest.approx(report.cases["correct"].mean())
    assert report.by_group["cases"].sum() == (suite.cases["group"] != NO_GROUP).sum()
    order = report.by_functionality["label_gold"].tolist()
    assert order == sorted(order)


def test_direct_hate_and_neutral_mentions_have_figures_of_their_own() -> None:
    """An average over 36 functionalities hides that "I hate GROUP" is missed, or that every mention is called hate."""
    suite = load_suite()
    kind = suite.cases["functionality"]
    blind = suite.cases["positive"].to_numpy() & (kind != "hate_plain_h").to_numpy() | (kind == "neutral_nh").to_numpy()
    figures = score_suite(suite, blind).metrics()
    assert (figures["direct"], figures["neutral_mention"]) == (0, 0)
    assert figures["balanced_accuracy"] > 0.9


def test_suite_needs_three_columns_only(tmp_path: Path) -> None:
    """Other teams' suites seldom have all of HateCheck's columns."""
    file = write_suite(tmp_path, "a,one,hateful", "b,two,non-hateful", header="functionality,test_case,label_gold")
    suite = load_suite(file)
    assert suite.texts == ["one", "two"]
    assert suite.cases["group"].tolist() == [NO_GROUP, NO_GROUP]
    assert np.isnan(score_suite(suite, [1, 0]).metrics()["group_gap"])


def test_faults_come_together_with_their_lines(tmp_path: Path) -> None:
    """One fault per run makes ten runs of ten faults; a line counted wrong sends people to the wrong row."""
    file = write_suite(tmp_path, 'a,"two\nlines",hateful,', "a,,hateful,women", "b,text,Hateful,", ",text,non-hateful,")
    with pytest.raises(ValueError, match="suite") as caught:
        load_suite(file)
    message = str(caught.value)
    assert "line 4: test_case is empty" in message
    assert "line 5: label_gold='Hateful', allowed are hateful and non-hateful" in message
    assert "line 6: functionality is empty" in message
    assert "line 2" not in message


def test_unreadable_suites_say_why(tmp_path: Path) -> None:
    """A wrong file must not be scored as an empty suite."""
    with pytest.raises(ValueError, match="no such file"):
        load_suite(tmp_path / "none.csv")
    with pytest.raises(ValueError, match=r"columns missing: functionality, label_gold; found: test_case, gold"):
        load_suite(write_suite(tmp_path, "x,y", header="test_case,gold"))
    with pytest.raises(ValueError, match="no case in it"):
        load_suite(write_suite(tmp_path))
    broken = tmp_path / "broken.csv"
    broken.write_bytes(b"functionality,test_case,label_gold\na,caf\xe9,hateful\nb,caf\xc3\xa9,hateful\n")
    with pytest.raises(ValueError, match=r"^suite=.*\n.*not UTF-8\): line 2"):
        load_suite(broken)


def test_decisions_of_the_wrong_shape_or_kind_are_refused() -> None:
    """Probabilities used as decisions would all count as hate."""
    suite = load_suite()
    with pytest.raises(ValueError, match="one decision per case"):
        score_suite(suite, [True, False])
    with pytest.raises(ValueError, match="apply the threshold to probabilities"):
        score_suite(suite, np.full(len(suite), 0.3))


def test_suite_of_one_label_has_no_balanced_accuracy(tmp_path: Path) -> None:
    """A figure for cases that do not exist must be absent, not 0 or 1."""
    suite = load_suite(write_suite(tmp_path, "a,one,hateful,women", "a,two,hateful,women"))
    figures = score_suite(suite, [1, 0]).metrics()
    assert figures["recall"] == 0.5
    assert np.isnan(figures["specificity"])
    assert np.isnan(figures["balanced_accuracy"])


def test_shared_sentences_are_found_whatever_their_punctuation() -> None:
    """Training on a case with another full stop is training on the case."""
    suite = load_suite()
    case = suite.texts[10]
    assert shared_sentences(suite, ["nothing", case.upper().replace(".", " !")]) == [case]
    assert shared_sentences(suite, ["nothing"]) == []


def test_sentences_that_were_trained_on_are_not_scored() -> None:
    """A row of the forum that happens to be a case would be counted as understood."""
    suite = load_suite()
    left, shared = untrained(suite, ["nothing", suite.texts[10].upper(), suite.texts[20]])
    assert shared == [suite.texts[10], suite.texts[20]]
    assert left.texts == [text for text in suite.texts if text not in shared]
    assert (left.name, left.digest) == (suite.name, suite.digest)
    assert untrained(suite, ["nothing"]) == (suite, [])


def test_kept_answers_go_back_to_their_cases() -> None:
    """Runs on other splits were asked other parts of the suite: paired by position, their answers would be shuffled."""
    suite = load_suite()
    assert suite.cases["case_id"].is_unique
    part, _ = untrained(suite, [suite.texts[10], suite.texts[20]])
    called = np.random.default_rng(0).random(len(part)) < 0.3
    ids = part.cases["case_id"].to_numpy(str)
    back = answered(suite, ids[::-1], called[::-1])
    assert back is not None
    pd.testing.assert_frame_equal(back.cases, score_suite(part, called).cases)
    assert answered(suite, [*ids[:-1], "of another suite"], called) is None


def test_kin_says_what_each_label_means() -> None:
    """ "I hate you." is abuse of a person: readers of a report must be told that it is not hate here."""
    table = near_sentences(lambda texts: ["women" in text for text in texts]).set_index("text")
    assert table.loc["I hate you.", "label_gold"] == "non-hateful"
    assert table.loc["I hate women.", "label_gold"] == "hateful"
    assert table.loc["I hate women.", "predicted"] == "hateful"
    assert table.loc["I hate you.", "predicted"] == "non-hateful"
    assert "predicted" not in near_sentences().columns
    assert len(table[table["label_gold"] == "hateful"]) >= 8


def test_sentences_near_the_suite_in_words_names_the_groups_that_are_missed() -> None:
    """ "8 of 9" does not say whom the model fails."""
    words = near_in_words(
        near_sentences(lambda texts: [text == "I hate you." or "immigrants" not in text for text in texts])
    )
    assert "for 8 of 9 groups (not for immigrants)" in words
    assert '"I hate you." is called hateful' in words
    assert "for 9 of 9 groups. " in near_in_words(near_sentences(lambda texts: [True] * len(texts)))


def test_heat_map_has_a_cell_for_every_functionality_and_group(tmp_path: Path) -> None:
    """A row dropped from the picture hides the very functionality that fails."""
    suite = load_suite()
    figure = plot_behaviour(score_suite(suite, np.arange(len(suite)) % 2))
    axes = figure.axes[0]
    assert len(axes.get_yticks()) == suite.cases["functionality"].nunique()
    assert len(axes.get_xticks()) == suite.cases["group"].nunique()
    assert len(axes.texts) == len(suite.cases.groupby(["functionality", "group"]))
    figure.savefig(tmp_path / "heat.png")
    assert (tmp_path / "heat.png").stat().st_size > 10_000
