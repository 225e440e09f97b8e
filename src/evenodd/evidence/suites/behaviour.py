"""Behaviour suites: short cases with HateCheck's columns, scored by functionality and by group.

The label has HateCheck's meaning: abuse aimed at people for being members of a protected group.

Source: Röttger et al. 2021, arXiv 2012.15606 (columns and the idea of functionalities; the cases here are the
project's own).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from evenodd.evidence.suites.build import SUITE_PATH
from evenodd.rows.files import digest_files
from evenodd.rows.templates import normalise
from evenodd.rows.texts import read_records

LABELS = ("hateful", "non-hateful")
NEEDED = ("functionality", "test_case", "label_gold")
NO_GROUP = "no group"
MIN_GROUP_CASES = 5
"""Minimum number of a group's cases with one label for the group to count in a gap."""
MAX_FAULTS = 20
DIRECT = ("hate_plain_h", "derog_neg_emote_h")
"""Functionalities of a plain attack on a group, here and in HateCheck."""
NEUTRAL_MENTION = ("neutral_nh", "ident_neutral_nh")
"""Functionalities that name a group without saying anything against it."""

Predict = Callable[[Sequence[str]], ArrayLike]
Record = dict[str, str | None]


@dataclass(frozen=True)
class Suite:
    """Cases with their expected labels.

    Attributes:
        name: the file's name without its suffix.
        cases: one row per case: `case_id` (str), `functionality`, `test_case`, `positive` (bool), `group` (`no group`
            if none is named).
        digest: digest of the file's content.
    """

    name: str
    cases: pd.DataFrame
    digest: str

    @property
    def texts(self) -> list[str]:
        return self.cases["test_case"].tolist()

    def __len__(self) -> int:
        return len(self.cases)


@dataclass(frozen=True)
class BehaviourReport:
    """A model's results on a suite.

    Attributes:
        suite: the suite's name.
        cases: the suite's cases with `predicted_positive` and `correct` (bool).
    """

    suite: str
    cases: pd.DataFrame

    @property
    def by_functionality(self) -> pd.DataFrame:
        """`functionality`, `label_gold`, `cases`, `accuracy`; hateful ones first, in the suite's order."""
        return _accuracy(self.cases, ["functionality"])

    @property
    def by_group(self) -> pd.DataFrame:
        """`group`, `label_gold`, `cases`, `accuracy` for every group that the suite names."""
        return _accuracy(self.cases[self.cases["group"] != NO_GROUP], ["group"])

    @property
    def by_functionality_and_group(self) -> pd.DataFrame:
        """`functionality`, `group`, `label_gold`, `cases`, `accuracy`."""
        return _accuracy(self.cases, ["functionality", "group"])

    def gap(self, label_gold: str) -> float:
        """Largest minus smallest accuracy over the groups, on the cases of one label.

        For `hateful` it is the gap in recall, for `non-hateful` the gap in false-positive rate. NaN with fewer than
        two groups of `MIN_GROUP_CASES`.
        """
        table = self.by_group
        counted = table[(table["label_gold"] == label_gold) & (table["cases"] >= MIN_GROUP_CASES)]["accuracy"]
        return float(counted.max() - counted.min()) if len(counted) > 1 else float("nan")

    def accuracy_on(self, functionalities: Sequence[str]) -> float:
        """Share of correct decisions on the cases of some functionalities; NaN if the suite has none of them."""
        return _mean(self.cases[self.cases["functionality"].isin(functionalities)]["correct"])

    def metrics(self) -> dict[str, float]:
        """The six summary figures; NaN if the suite has no case for one.

        Returns:
            `balanced_accuracy` (mean of the next two), `recall` on hateful cases, `specificity` on the others,
            `group_gap`, the larger of the gaps in recall on hateful cases and in false-positive rate on the others,
            `direct` and `neutral_mention`, the accuracy on these functionalities.
        """
        recall = _mean(self.cases[self.cases["positive"]]["correct"])
        specificity = _mean(self.cases[~self.cases["positive"]]["correct"])
        gaps = [gap for gap in map(self.gap, LABELS) if not np.isnan(gap)]
        return {
            "balanced_accuracy": (recall + specificity) / 2,
            "recall": recall,
            "specificity": specificity,
            "group_gap": max(gaps, default=float("nan")),
            "direct": self.accuracy_on(DIRECT),
            "neutral_mention": self.accuracy_on(NEUTRAL_MENTION),
        }


def load_suite(path: Path | str | None = None) -> Suite:
    """Reads a suite with HateCheck's columns, of which `functionality`, `test_case` and `label_gold` are required.

    Args:
        path: a file in any supported format; None: the project's own suite.

    Raises:
        ValueError: the file does not exist or cannot be read, a column is missing, or rows are faulty; one message
            lists all faults with line numbers.
    """
    file = SUITE_PATH if path is None else Path(path)
    if not file.is_file():
        raise ValueError(f"suite={str(file)!r}: no such file. Pass a file with HateCheck's columns, or suite=own.")
    try:
        rows = list(read_records(file, NEEDED, ("case_id", "target_ident")))
    except ValueError as error:
        raise ValueError(f"suite={str(file)!r}: {str(error).removeprefix(f'data={str(file)!r}: ')}") from error
    faults = [fault for line, row in rows for fault in _row_faults(line, row)] if rows else ["no case in it"]
    if faults:
        more = f"; and {len(faults) - MAX_FAULTS} more" if len(faults) > MAX_FAULTS else ""
        raise ValueError(f"suite={str(file)!r}: {'; '.join(faults[:MAX_FAULTS])}{more}.")
    cases = pd.DataFrame([_case(number, row) for number, (_, row) in enumerate(rows, start=1)])
    return Suite(name=file.stem, cases=cases, digest=digest_files([file]))


def score_suite(suite: Suite, predicted_positive: ArrayLike | Predict) -> BehaviourReport:
    """Compares a model's decisions with the suite's expected labels.

    Args:
        suite: the cases.
        predicted_positive: bool or 0/1, (cases,): cases that the model classifies as positive; or a function that
            returns them for texts.

    Raises:
        ValueError: there is not one decision per case, or values are not 0 or 1 (apply the threshold to probabilities
            first).
    """
    given = np.asarray(predicted_positive(suite.texts) if callable(predicted_positive) else predicted_positive)
    if given.shape != (len(suite),):
        raise ValueError(
            f"predicted_positive has shape {given.shape}: one decision per case is needed, ({len(suite)},)."
        )
    decided: NDArray[np.bool_] = given.astype(bool)
    if not np.array_equal(given, decided):
        raise ValueError(
            "predicted_positive holds values other than 0 and 1: apply the threshold to probabilities first."
        )
    cases = suite.cases.assign(predicted_positive=decided, correct=decided == suite.cases["positive"].to_numpy())
    return BehaviourReport(suite=suite.name, cases=cases)


def shared_sentences(suite: Suite, texts: Sequence[str]) -> list[str]:
    """The suite's cases that occur in `texts`, ignoring case and punctuation; none may be trained on."""
    known = {normalise(text) for text in texts}
    return [case for case in suite.texts if normalise(case) in known]


def untrained(suite: Suite, texts: Sequence[str]) -> tuple[Suite, list[str]]:
    """Splits the suite into the cases that do not occur in the training texts, and those that do.

    Args:
        suite: the cases.
        texts: training texts of the model.
    """
    shared = shared_sentences(suite, texts)
    if not shared:
        return suite, []
    return replace(suite, cases=suite.cases[~suite.cases["test_case"].isin(shared)].reset_index(drop=True)), shared


def answered(suite: Suite, case_ids: ArrayLike, predicted_positive: ArrayLike) -> BehaviourReport | None:
    """Scores stored answers by their case ids.

    Args:
        suite: the whole suite; the answers may cover a part of it.
        case_ids: str, (answers,).
        predicted_positive: bool, (answers,).

    Returns:
        None if a case is not in the suite, because another suite was used then.
    """
    called = dict(zip(np.asarray(case_ids).tolist(), np.asarray(predicted_positive).tolist(), strict=True))
    asked = suite.cases[suite.cases["case_id"].isin(list(called))].reset_index(drop=True)
    if len(asked) != len(called):
        return None
    return score_suite(replace(suite, cases=asked), [called[case] for case in asked["case_id"]])


def _row_faults(line: int, row: Record) -> Iterator[str]:
    for name in ("functionality", "test_case"):
        if row[name] is None:
            yield f"line {line}: {name} is empty"
    if row["label_gold"] not in LABELS:
        yield f"line {line}: label_gold={row['label_gold']!r}, allowed are {' and '.join(LABELS)}"


def _case(number: int, row: Record) -> dict[str, Any]:
    return {
        "case_id": row["case_id"] or str(number),
        "functionality": (row["functionality"] or "").strip(),
        "test_case": row["test_case"],
        "positive": row["label_gold"] == LABELS[0],
        "group": (row["target_ident"] or "").strip() or NO_GROUP,
    }


def _accuracy(cases: pd.DataFrame, keys: list[str]) -> pd.DataFrame:
    """Cases and accuracy of each combination of keys and label, hateful ones first, in the order of the suite."""
    grouped = cases.groupby([*keys, ~cases["positive"]], sort=False)["correct"].agg(["size", "mean"]).reset_index()
    grouped = grouped.sort_values("positive", kind="stable", ignore_index=True)
    table = grouped[keys].assign(
        label_gold=np.where(grouped["positive"], LABELS[1], LABELS[0]), cases=grouped["size"], accuracy=grouped["mean"]
    )
    return table[["functionality", "group", "label_gold", "cases", "accuracy"]] if len(keys) > 1 else table


def _mean(correct: pd.Series) -> float:
    return float(correct.mean()) if len(correct) else float("nan")
