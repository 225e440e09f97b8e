"""The pyfunc: texts in any form, and a table of answers."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from evenodd.classifier import Classifier
from evenodd.classifier.manifest import MANIFEST

TABLE = "table"
OUTPUTS = (TABLE, "label", "decision", "score")
CONFIG = {"output": TABLE}
"""Options in `model_config` when a version is loaded, with their defaults."""


class RegisteredClassifier:
    """Answers a text, a list, an array, a series, or a table of one column with any name.

    Args:
        classifier: the classifier.
        output: `table`, or one column of it: `label`, `decision` or `score`.

    Raises:
        ValueError: the output is unknown.
    """

    def __init__(self, classifier: Classifier, output: str = TABLE) -> None:
        if output not in OUTPUTS:
            raise ValueError(f"model_config output={output!r}: allowed are {', '.join(OUTPUTS)}.")
        self._classifier, self._output = classifier, output
        self._one_at_a_time = threading.Lock()

    def predict(self, model_input: Any, params: Mapping[str, Any] | None = None) -> pd.DataFrame | pd.Series:
        """A row for each text: `label`, `decision`, `score`, `windows`, and `p_LABEL` for every label.

        Args:
            model_input: texts.
            params: with `exact`, scores do not depend on the other texts; see `Classifier.answer`.

        Raises:
            ValueError: there is more than one column, or a value is not a text.
        """
        texts = texts_of(model_input)
        with self._one_at_a_time:
            answers = self._classifier.answer(texts, exact=bool((params or {}).get("exact")))
        rows = [
            (a.label, a.decision, a.score, a.windows, *(a.probabilities[name] for name in self._names)) for a in answers
        ]
        table = pd.DataFrame(rows, columns=list(column_types(self._names)))
        return table if self._output == TABLE else table[self._output]

    @property
    def _names(self) -> tuple[str, ...]:
        return self._classifier.decision.label_names


def column_types(labels: tuple[str, ...]) -> dict[str, str]:
    """Names of the table's columns, and their MLflow types."""
    columns = {"label": "string", "decision": "string", "score": "double", "windows": "long"}
    return columns | {f"p_{name}": "double" for name in labels}


def texts_of(model_input: Any) -> list[str]:
    """The texts in a pyfunc's input.

    Raises:
        ValueError: there is more than one column, or a value is not a text.
    """
    texts = [model_input] if isinstance(model_input, str) else list(_column(model_input))
    for number, text in enumerate(texts):
        if not isinstance(text, str):
            raise ValueError(
                f"row {number}: {text!r} is not text. Omit or fill missing values, and send JSON instead of CSV."
            )
    return [str(text) for text in texts]


def _column(given: Any) -> Any:
    """The only column of a table, a dictionary or a two-dimensional array; a list is returned unchanged."""
    if isinstance(given, pd.DataFrame | Mapping):
        names = list(given)
        if len(names) != 1:
            raise ValueError(f"columns={[str(name) for name in names]}: pass only the column with the texts.")
        return [given[names[0]]] if isinstance(given[names[0]], str) else given[names[0]]
    if isinstance(given, np.ndarray):
        if given.size != given.shape[0] if given.ndim else False:
            raise ValueError(f"an array of shape {given.shape}: pass one text per row.")
        return given.ravel()
    return given


def open_model(folder: Path, config: Mapping[str, Any] | None = None) -> RegisteredClassifier:
    """The model in the folder of a bundle or a fitted version.

    Raises:
        ValueError: the folder or the configuration is refused.
    """
    output = (config or CONFIG)["output"]
    if (folder / MANIFEST).is_file():
        return RegisteredClassifier(Classifier.open(folder), output)
    from evenodd.registered.fitted import open_fitted

    return RegisteredClassifier(open_fitted(folder), output)
