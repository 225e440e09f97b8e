"""The description of a task. All code that depends on labels or kind of task asks it.

It needs only NumPy, because it is part of the service and of the registered model.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

Kind = Literal["binary", "multiclass", "multilabel"]
REVIEW = "review"
"""The decision that a person should review the text. No label may have this name."""


@dataclass(frozen=True)
class Task:
    """Labels, kind and metric of a classification task.

    Attributes:
        kind: `binary` (two labels), `multiclass` (one of more than two) or `multilabel` (any number of them).
        labels: names in the order of their indices, free text.
        positive: the label that threshold and average precision refer to; None unless the task is binary.
        metric: the metric by which variants are chosen.

    Raises:
        ValueError: the labels are invalid (see `label_faults`), do not fit the kind, or do not include the positive
            label; one message lists every fault.
    """

    kind: Kind
    labels: tuple[str, ...]
    positive: str | None = None
    metric: str = "f1_macro"

    def __post_init__(self) -> None:
        faults = label_faults(self.labels)
        if self.kind not in get_args(Kind):
            faults.append(f"kind={self.kind!r}: allowed are {', '.join(get_args(Kind))}")
        elif self.kind != "multilabel" and (self.kind == "binary") != (len(self.labels) == 2):
            faults.append(f"kind={self.kind!r} does not fit {len(self.labels)} labels")
        if self.positive is not None and self.kind != "binary":
            faults.append(f"positive={self.positive!r}: only a binary task has a positive label")
        elif self.positive is not None and self.positive not in self.labels:
            faults.append(f"positive={self.positive!r}: the labels are {', '.join(self.labels)}")
        if faults:
            raise ValueError("; ".join(faults) + ".")

    @classmethod
    def single_label(cls, labels: Sequence[str], positive: str | None = None) -> Task:
        """A task in which each text has exactly one label: binary for two labels, else multiclass."""
        names = tuple(labels)
        binary = len(names) == 2
        return cls("binary" if binary else "multiclass", names, positive if binary else None)

    @property
    def positive_index(self) -> int | None:
        """Index of the positive label, or None."""
        return None if self.positive is None else self.labels.index(self.positive)

    @property
    def problem_type(self) -> str:
        """The `problem_type` in the configuration of a transformers classifier."""
        return "multi_label_classification" if self.kind == "multilabel" else "single_label_classification"

    @property
    def label_keys(self) -> tuple[str, ...]:
        """A unique key for each label that is valid in metric, column and file names.

        Letters, digits, `_`, `.`, `-` and inner blanks are kept; everything else becomes `_`. The label's index is
        added if two labels would share a key, regardless of case, or if nothing readable is left.
        """
        plain = [_readable(name) for name in self.labels]
        folded = [key.casefold() for key in plain]
        keys: list[str] = []
        for number, key in enumerate(plain):
            if not key or folded.count(folded[number]) > 1:
                key = f"{key}_{number}".lstrip("_")
                while key.casefold() in folded or key in keys:
                    key += "_"
            keys.append(key)
        return tuple(keys)

    def probabilities(self, logits: NDArray[np.floating]) -> NDArray[np.float64]:
        """Uncalibrated probabilities, float64, same shape (rows, labels): softmax, or a sigmoid for each label."""
        values = np.asarray(logits, dtype=np.float64)
        if self.kind == "multilabel":
            return np.asarray(1 / (1 + np.exp(-values)))
        exponentials = np.exp(values - values.max(axis=-1, keepdims=True))
        return np.asarray(exponentials / exponentials.sum(axis=-1, keepdims=True))

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {"kind": self.kind, "labels": list(self.labels), "positive": self.positive, "metric": self.metric}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Task:
        """Reads the result of `to_dict`.

        Raises:
            ValueError: a key is missing or unknown, or the values do not describe a task.
        """
        unknown = set(values) - {"kind", "labels", "positive", "metric"}
        lacking = {"kind", "labels"} - set(values)
        if unknown or lacking:
            raise ValueError(f"task: unknown {sorted(unknown)}, missing {sorted(lacking)}.")
        labels = values["labels"]
        if isinstance(labels, str) or not isinstance(labels, Sequence):
            raise ValueError(f"task: labels={labels!r}: a list of names is needed.")
        return cls(values["kind"], tuple(labels), values.get("positive"), values.get("metric", "f1_macro"))


def label_faults(labels: Sequence[str]) -> list[str]:
    """Faults of label names: fewer than two, empty, not text, repeated, or reserved."""
    names = list(labels)
    faults = [f"labels={names}: at least two are needed"] if len(names) < 2 else []
    faults += [f"label {name!r}: a name is needed" for name in names if not isinstance(name, str) or not name.strip()]
    faults += [f"label {name!r} occurs twice" for name in dict.fromkeys(names) if names.count(name) > 1]
    if any(isinstance(name, str) and name.strip().casefold() == REVIEW for name in names):
        faults.append(
            f"label {REVIEW!r}: this name is reserved for the decision that a person should review. Rename the label"
            " in the data"
        )
    return faults


def _readable(name: str) -> str:
    """Letters, digits and the characters that MLflow allows in names; accents are removed from letters."""
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    return re.sub(r"_+", "_", re.sub(r"[^A-Za-z0-9_. -]", "_", plain)).strip("_. ")
