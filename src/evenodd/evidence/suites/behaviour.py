"""Behaviour suites: short cases in HateCheck's columns, scored by functionality and by group.

The label means what HateCheck means by it: abuse aimed at people for being members of a protected group.

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
"""Cases of a label that a group needs before its figure counts in a gap."""
MAX_FAULTS = 20
DIRECT = ("hate_plain_h", "derog_neg_emote_h")
"""Functionalities of a plain attack on a group, here and in HateCheck."""
NEUTRAL_MENTION = ("neutral_nh", "ident_neutral_nh")
"""Functionalities of a group that is named and nothing said against it."""

Predict = Callable[[Sequence[str]], ArrayLike]
Record = dict[str, str | None]


@dataclass(frozen=True)
class Suite:
    """Cases with the label that each ought to get.

    Attributes:
        name: the file's name without its ending.
        cases: one row a case: `case_id` (str), `functionality`, `test_case`, `positive` (bool), `group` (`no group`
            where none is named).
        digest: of the file's content.
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
    """What a model did on a suite.

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
        """Share of right decisions on the cases of some functionalities; NaN when the suite has none of them."""
        return _mean(self.cases[self.cases["functionality"].isin(functionalities)]["correct"])

    def metrics(self) -> dict[str, float]:
        """The suite in six figures; NaN where the suite has no case to count.

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
    """Read a suite in HateCheck's columns; only `functionality`, `test_case` and `label_gold` are needed.

    Args:
        path: a file of any kind that is read; None: the project's own suite.

    Raises:
        ValueError: there is no such file, it cannot be read, a column is missing, or rows are faulty; all faults at
            once, with line numbers.
    """
    file = SUITE_PATH if path is None else Path(path)
    if not file.is_file():
        raise ValueError(
            f"suite={str(file)!r}: no such file. Pass a file in HateCheck's columns, or nothing for the project's own."
        )
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
    """Compare a model's decisions with what the suite asks for.

    Args:
        suite: the cases.
        predicted_positive: bool or 0/1, (cases,): which cases the model calls positive; or a function that gives
            it for texts.

    Raises:
        ValueError: not one decision per case, or values other than 0 and 1 (a probability has to be cut at the
            threshold first).
    """
    given = np.asarray(predicted_positive(suite.texts) if callable(predicted_positive) else predicted_positive)
    if given.shape != (len(suite),):
        raise ValueError(
            f"predicted_positive has shape {given.shape}: one decision per case is needed, ({len(suite)},)."
        )
    decided: NDArray[np.bool_] = given.astype(bool)
    if not np.array_equal(given, decided):
        raise ValueError(
            "predicted_positive holds values other than 0 and 1: cut probabilities at the threshold first."
        )
    cases = suite.cases.assign(predicted_positive=decided, correct=decided == suite.cases["positive"].to_numpy())
    return BehaviourReport(suite=suite.name, cases=cases)


def shared_sentences(suite: Suite, texts: Sequence[str]) -> list[str]:
    """The suite's cases that stand among `texts`, whatever the case and the punctuation: none may be trained on."""
    known = {normalise(text) for text in texts}
    return [case for case in suite.texts if normalise(case) in known]


def untrained(suite: Suite, texts: Sequence[str]) -> tuple[Suite, list[str]]:
    """The suite without the cases that stand among training texts, and these cases.

    Args:
        suite: the cases.
        texts: what a model was trained on.
    """
    shared = shared_sentences(suite, texts)
    if not shared:
        return suite, []
    return replace(suite, cases=suite.cases[~suite.cases["test_case"].isin(shared)].reset_index(drop=True)), shared


def answered(suite: Suite, case_ids: ArrayLike, predicted_positive: ArrayLike) -> BehaviourReport | None:
    """Score answers that were kept, by the cases that they were given to.

    Args:
        suite: the whole suite; what was asked may be a part of it.
        case_ids: str, (answers,).
        predicted_positive: bool, (answers,).

    Returns:
        None when a case is not in the suite: another one was asked then.
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
