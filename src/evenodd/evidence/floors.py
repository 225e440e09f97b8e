"""Baselines (floors): the most frequent label, blind guessing, and class-weighted TF-IDF with logistic regression."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Protocol

import numpy as np
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline

from evenodd.evidence.metrics import FloatArray, IntArray, Scored, classification_metrics, confusion, rates

FLOOR_NAMES = ("majority", "tfidf")
GUESS_DRAWS = 2000
GUESS_QUANTILE = 0.95


class Rows(Protocol):
    """Texts with labels; `evenodd.rows.Split` is one."""

    @property
    def texts(self) -> Sequence[str]: ...

    @property
    def labels(self) -> IntArray: ...


@dataclass(frozen=True)
class Floors:
    """Baselines without an encoder, fitted on the same training rows and measured on the same splits.

    Attributes:
        scored: by floor (`majority`, `tfidf`), then by split: labels and probabilities.
        metrics: by floor, then by `split/metric` with the names of `classification_metrics`.
        no_skill: by split, the macro-F1 that 19 of 20 blind guessers do not reach, or the majority's if that is higher.
        fit_seconds: by floor.
    """

    scored: Mapping[str, Mapping[str, Scored]]
    metrics: Mapping[str, Mapping[str, float]]
    no_skill: Mapping[str, float]
    fit_seconds: Mapping[str, float]

    def best(self, split: str = "validation", metric: str = "f1_macro") -> float:
        """Highest floor of a metric on a split."""
        return max(self.metrics[name][f"{split}/{metric}"] for name in self.metrics)

    def to_metrics(self) -> dict[str, float]:
        """Flat metric names: `floor/tfidf_f1_macro` for test, `floor/validation_tfidf_f1_macro`, and so on.

        The teacher guard uses `floor/validation_no_skill_f1_macro`.
        """
        kept = ("accuracy", "f1_macro", "average_precision")
        values = {f"floor/{_prefix(split)}no_skill_f1_macro": floor for split, floor in self.no_skill.items()}
        for name, metrics in self.metrics.items():
            for key, value in metrics.items():
                split, _, metric = key.partition("/")
                if metric in kept:
                    values[f"floor/{_prefix(split)}{name}_{metric}"] = value
        return values


def _prefix(split: str) -> str:
    return "" if split == "test" else f"{split}_"


def tfidf_classifier(seed: int = 0) -> Pipeline:
    """Unfitted TF-IDF on words, punctuation and their pairs with class-weighted logistic regression."""
    words = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, token_pattern=r"(?u)\w+|[^\w\s]", dtype=np.float32)
    return make_pipeline(words, LogisticRegression(class_weight="balanced", max_iter=1000, random_state=seed))


def tfidf_probabilities(model: Pipeline, texts: Sequence[str], classes: int) -> FloatArray:
    """Probabilities of all labels, (rows, classes); 0 for labels that do not occur in the training rows."""
    values = np.zeros((len(texts), classes))
    values[:, model[-1].classes_] = model.predict_proba(list(texts))
    return values


def blind_guess_f1(labels: IntArray, classes: int, seed: int = 0) -> float:
    """Macro-F1 that 95 % of guessers do not reach if they know each label's frequency, but not the text.

    For two labels, guessing each label as often as it occurs is the best blind strategy for macro-F1.

    Args:
        labels: int64, (rows,).
        classes: number of labels.
        seed: seed of the 2,000 guessers.
    """
    rng = np.random.default_rng(seed)
    shuffled = rng.permuted(np.tile(np.asarray(labels, dtype=np.int64), (GUESS_DRAWS, 1)), axis=1)
    counts = np.stack([confusion(labels, guess, classes) for guess in shuffled])
    return float(np.quantile(rates(counts)[2].mean(axis=1), GUESS_QUANTILE))


def fit_floors(
    train: Rows, evaluate: Mapping[str, Rows], *, label_names: Sequence[str], positive: str | None, seed: int = 0
) -> Floors:
    """Fits both floors on the training rows and scores them on every other split.

    Args:
        train: rows to fit on.
        evaluate: by split name (`validation`, `test`), rows to score.
        label_names: in the order of the label indices.
        positive: the label for average precision.
        seed: seed of the guessers; the fits themselves are deterministic.

    Returns:
        Floors with metrics for each split in `evaluate`.

    Raises:
        ValueError: the training rows hold fewer than two labels.
    """
    labels, classes = np.asarray(train.labels, dtype=np.int64), len(label_names)
    if len(np.unique(labels)) < 2:
        raise ValueError(f"training rows hold {len(np.unique(labels))} label: floors need two or more.")
    started = time.perf_counter()
    shares = np.bincount(labels, minlength=classes) / len(labels)
    counted = time.perf_counter()
    model = tfidf_classifier(seed).fit(list(train.texts), labels)
    seconds = {"majority": counted - started, "tfidf": time.perf_counter() - counted}
    scored: dict[str, dict[str, Scored]] = {name: {} for name in FLOOR_NAMES}
    for split, rows in evaluate.items():
        truth, ids = np.asarray(rows.labels, dtype=np.int64), getattr(rows, "row_ids", None)
        scored["majority"][split] = Scored(truth, np.tile(shares, (len(truth), 1)), ids)
        scored["tfidf"][split] = Scored(truth, tfidf_probabilities(model, rows.texts, classes), ids)
    metrics = {name: _metrics(by_split, label_names, positive) for name, by_split in scored.items()}
    no_skill = {
        split: max(metrics["majority"][f"{split}/f1_macro"], blind_guess_f1(found.labels, classes, seed))
        for split, found in scored["majority"].items()
    }
    return Floors(scored, metrics, no_skill, seconds)


def _metrics(by_split: Mapping[str, Scored], label_names: Sequence[str], positive: str | None) -> dict[str, float]:
    return {
        f"{split}/{metric}": value
        for split, found in by_split.items()
        for metric, value in classification_metrics(
            found.labels, found.probabilities, label_names=label_names, positive=positive
        ).items()
    }


def mean_floors(found: Sequence[Floors]) -> Floors:
    """Floors of several splits of the same rows, averaged; the scored rows are those of the first.

    Raises:
        ValueError: the list is empty.
    """
    if not found:
        raise ValueError("no floors to average.")
    first = found[0]
    metrics = {
        name: {key: fmean(floors.metrics[name][key] for floors in found) for key in figures}
        for name, figures in first.metrics.items()
    }
    no_skill = {split: fmean(floors.no_skill[split] for floors in found) for split in first.no_skill}
    seconds = {name: fmean(floors.fit_seconds[name] for floors in found) for name in first.fit_seconds}
    return Floors(first.scored, metrics, no_skill, seconds)


def check_teacher(validation_metrics: Mapping[str, float], floors: Floors, *, longer: str) -> None:
    """Refuses to distil from a teacher that is no better than guessing.

    Args:
        validation_metrics: with `f1_macro` or `validation/f1_macro`.
        floors: fitted on the same split.
        longer: the setting that trains the teacher longer, with its value: `teacher.epochs=9`.

    Raises:
        ValueError: the metrics have no macro-F1.
        RuntimeError: the teacher does not beat the no-skill floor, or its macro-F1 is NaN.
    """
    score = validation_metrics.get("f1_macro", validation_metrics.get("validation/f1_macro"))
    if score is None:
        raise ValueError(f"validation_metrics has {sorted(validation_metrics)}: f1_macro is needed.")
    floor = floors.no_skill["validation"]
    if not score > floor:
        raise RuntimeError(
            f"the teacher cannot be distilled: its validation macro-F1 {score:.3f} does not beat the no-skill floor "
            f"{floor:.3f}. Train it longer (-P {longer}), with another "
            "learning rate (-P teacher.learning_rate=…), or on more rows."
        )
