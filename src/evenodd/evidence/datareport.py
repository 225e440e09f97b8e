"""Report on the rows before training: counts, lengths, repeats, leaks, conflicts, doubtful labels."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import pandas as pd
from sklearn.model_selection import StratifiedKFold, cross_val_predict

from evenodd.evidence.floors import Rows, tfidf_classifier
from evenodd.evidence.metrics import FloatArray, IntArray
from evenodd.evidence.suites.behaviour import Suite, shared_sentences

SPLITS = ("train", "validation", "test")
FOLDS = 5
MOST_ROWS = 50_000
ERROR_COLUMNS = ("row_id", "text", "label", "suggested", "probability", "own_probability")


class Source(Protocol):
    """Three splits with label names; `evenodd.rows.Corpus` is one."""

    @property
    def label_names(self) -> tuple[str, ...]: ...

    @property
    def train(self) -> Rows: ...

    @property
    def validation(self) -> Rows: ...

    @property
    def test(self) -> Rows: ...


@dataclass(frozen=True)
class DataReport:
    """Tables about the rows.

    Attributes:
        counts: rows by split (index) and label, with `all` and the share of each label in `LABEL share`.
        lengths: words per text by split: mean, median, p95, p99, longest.
        repeats: texts that occur more than once in a split or across splits: text, rows, splits, labels, kind (`exact`
            after lower-casing and joining white space; `near`: the same words, ignoring punctuation, digits and order).
        leaks: by pair of splits and kind, the number of rows in the second that have a twin in the first.
        conflicts: repeats whose rows carry different labels.
        label_errors: training rows with a doubtful label, most doubtful first (see `likely_label_errors`).
        checked_rows: number of training rows that were checked for label_errors.
        suite_cases: sentences of the project's own behaviour suite that occur in the training rows.
    """

    counts: pd.DataFrame
    lengths: pd.DataFrame
    repeats: pd.DataFrame
    leaks: pd.DataFrame
    conflicts: pd.DataFrame
    label_errors: pd.DataFrame
    checked_rows: int
    suite_cases: tuple[str, ...] = ()

    def to_metrics(self) -> dict[str, float]:
        """Totals by the names that MLflow shows."""
        return {
            "data/repeated_texts": float(len(self.repeats)),
            "data/leaking_rows": float(self.leaks["rows"].sum()),
            "data/label_conflicts": float(len(self.conflicts)),
            "data/likely_label_errors": float(len(self.label_errors)),
            "data/suite_cases_trained_on": float(len(self.suite_cases)),
        }

    def sentences(self) -> list[str]:
        """The findings in sentences."""
        total = int(self.counts["all"].sum())
        leaks, errors = int(self.leaks["rows"].sum()), len(self.label_errors)
        cases = [
            f"{len(self.suite_cases):,} training rows are sentences of the behaviour suite; it does not score them."
        ]
        return [
            f"{total:,} rows, {len(self.repeats):,} texts that repeat (exactly or nearly).",
            f"{leaks:,} rows have a twin in another split{', which inflates scores' if leaks else ''}.",
            f"{len(self.conflicts):,} repeated texts carry different labels.",
            f"{errors:,} of {self.checked_rows:,} training rows have a doubtful label: a simple model that never saw "
            "them is confident of another one. Read them before you trust either.",
            *cases[: len(self.suite_cases)],
        ]


def data_report(corpus: Source, suite: Suite | None = None, *, seed: int = 0) -> DataReport:
    """Reports on the rows of all splits; labels are checked in the training split only.

    Args:
        corpus: three splits with texts and labels.
        suite: behaviour suite whose cases are looked up in the training rows.
        seed: of the folds.
    """
    splits = {name: getattr(corpus, name) for name in SPLITS}
    names = list(corpus.label_names)
    rows = pd.concat([_frame(name, split) for name, split in splits.items()], ignore_index=True)
    repeats = _repeats(rows, names)
    errors, checked = likely_label_errors(splits["train"], names, seed=seed)
    conflicts = repeats[repeats["labels"].str.contains(", ")].reset_index(drop=True)
    tables = (_counts(rows, names), _lengths(rows), repeats, _leaks(rows), conflicts, errors)
    shared = shared_sentences(suite, list(splits["train"].texts)) if suite else []
    return DataReport(*tables, checked, tuple(shared))


def normalised(text: str) -> str:
    """Lower case, compatibility forms, single spaces."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def bag_of_words(text: str) -> str:
    """The words of a text, sorted, without punctuation and digits; empty for a text without words."""
    return " ".join(sorted(re.findall(r"[^\W\d_]+", normalised(text))))


def _frame(name: str, split: Rows) -> pd.DataFrame:
    texts = list(split.texts)
    frame = pd.DataFrame({"split": name, "text": texts, "label": np.asarray(split.labels)})
    frame["exact"] = [normalised(text) for text in texts]
    frame["near"] = [bag_of_words(text) or key for text, key in zip(texts, frame["exact"], strict=True)]
    return frame


def _counts(rows: pd.DataFrame, names: Sequence[str]) -> pd.DataFrame:
    table = pd.crosstab(rows["split"], rows["label"]).reindex(index=SPLITS, columns=range(len(names)), fill_value=0)
    table.columns = pd.Index(names)
    total = table.sum(axis=1)
    shares = table.div(total.clip(lower=1), axis=0).add_suffix(" share")
    return pd.concat([table, total.rename("all"), shares], axis=1)


def _lengths(rows: pd.DataFrame) -> pd.DataFrame:
    words = pd.Series([len(text.split()) for text in rows["text"]], index=rows.index)
    grouped = words.groupby(rows["split"])
    table = pd.DataFrame(
        {
            "mean": grouped.mean(),
            "median": grouped.median(),
            "p95": grouped.quantile(0.95),
            "p99": grouped.quantile(0.99),
            "longest": grouped.max(),
        }
    )
    return table.reindex(SPLITS)


def _repeats(rows: pd.DataFrame, names: Sequence[str]) -> pd.DataFrame:
    """One row per group of equal texts; an exact group is not listed again as near."""
    found = []
    for kind in ("exact", "near"):
        again = rows[rows.duplicated(kind, keep=False)]
        for _, group in again.groupby(kind, sort=False):
            if kind == "near" and group["exact"].nunique() == 1:
                continue
            found.append(
                {
                    "text": group["text"].iloc[0],
                    "kind": kind,
                    "rows": len(group),
                    "splits": ", ".join(dict.fromkeys(group["split"])),
                    "labels": ", ".join(names[label] for label in sorted(set(group["label"]))),
                }
            )
    return pd.DataFrame(found, columns=["text", "kind", "rows", "splits", "labels"])


def _leaks(rows: pd.DataFrame) -> pd.DataFrame:
    found = []
    for first, second in (("train", "validation"), ("train", "test"), ("validation", "test")):
        one, two = rows[rows["split"] == first], rows[rows["split"] == second]
        exact = two["exact"].isin(one["exact"])
        near = two["near"].isin(one["near"]) & ~exact
        found += [
            {"in": first, "and": second, "kind": kind, "rows": int(hits.sum())}
            for kind, hits in (("exact", exact), ("near", near))
        ]
    return pd.DataFrame(found)


def likely_label_errors(train: Rows, label_names: Sequence[str], *, seed: int = 0) -> tuple[pd.DataFrame, int]:
    """Rows whose label is confidently contradicted by a model that was not trained on them.

    A row counts if, out of fold, another label is at least as probable as that label is on average among its own
    rows; the most probable of such labels is suggested. The model is class-weighted TF-IDF with logistic
    regression; above 50,000 rows a seeded sample is checked.

    Args:
        train: texts and labels.
        label_names: in the order of the label indices.
        seed: of folds and sample.

    Returns:
        Table (row_id, text, label, suggested, probability, own_probability), largest gap first; and the checked rows.
        Both are empty if a label has fewer than two rows.

    Source: Northcutt et al. 2021, confident learning, arXiv 1911.00068.
    """
    labels, rng = np.asarray(train.labels, dtype=np.int64), np.random.default_rng(seed)
    chosen = np.sort(rng.permutation(len(labels))[:MOST_ROWS])
    labels = labels[chosen]
    texts = [train.texts[int(i)] for i in chosen]
    present, counts = np.unique(labels, return_counts=True)
    if len(present) < 2 or counts.min() < 2:
        return pd.DataFrame(columns=list(ERROR_COLUMNS)), 0
    folds = StratifiedKFold(int(min(FOLDS, counts.min())), shuffle=True, random_state=seed)
    found = cross_val_predict(tfidf_classifier(seed), texts, labels, cv=folds, method="predict_proba")
    probabilities = np.zeros((len(labels), len(label_names)))
    probabilities[:, present] = found
    rows, suggested = confident_disagreement(labels, probabilities)
    ids = np.asarray(getattr(train, "row_ids", np.arange(len(train.labels))))[chosen]
    table = pd.DataFrame(
        {
            "row_id": ids[rows],
            "text": [texts[i] for i in rows],
            "label": [label_names[k] for k in labels[rows]],
            "suggested": [label_names[k] for k in suggested],
            "probability": probabilities[rows, suggested],
            "own_probability": probabilities[rows, labels[rows]],
        }
    )
    return table, len(labels)


def confident_disagreement(labels: IntArray, probabilities: FloatArray) -> tuple[IntArray, IntArray]:
    """Positions of doubtful rows, largest gap to the own label first, and the suggested label of each.

    Args:
        labels: int64, (rows,).
        probabilities: float64, (rows, labels), out of fold.
    """
    classes = probabilities.shape[1]
    usual = np.array([probabilities[labels == k, k].mean() if (labels == k).any() else np.inf for k in range(classes)])
    confident = np.where(probabilities >= usual, probabilities, -1.0)
    suggested = confident.argmax(axis=1)
    doubtful = (confident.max(axis=1) >= 0) & (suggested != labels)
    gap = probabilities.max(axis=1) - probabilities[np.arange(len(labels)), labels]
    rows = np.flatnonzero(doubtful)
    rows = rows[np.argsort(-gap[rows], kind="stable")]
    return rows, suggested[rows]
