"""The registered model as MLflow's pyfunc loads it: texts in, a table of answers out. Shipped with the model."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from evenodd.classifier import Classifier

TEXT_COLUMNS = ("text", "inputs")


class RegisteredClassifier:
    """Answers a text, a list, a series, or a table that has one column or a column `text`."""

    def __init__(self, classifier: Classifier) -> None:
        self._classifier = classifier

    def predict(self, model_input: Any, params: dict[str, Any] | None = None) -> pd.DataFrame:
        """A row for each text: `label`, `decision`, `score`, and `p_LABEL` for every label.

        Raises:
            ValueError: no column of texts, or a value that is no text.
        """
        texts = texts_of(model_input)
        names = self._classifier.decision.label_names
        rows = [
            {"label": answer.label, "decision": answer.decision, "score": answer.score}
            | {f"p_{name}": answer.probabilities[name] for name in names}
            for answer in self._classifier.answer(texts)
        ]
        return pd.DataFrame(rows, columns=["label", "decision", "score", *(f"p_{name}" for name in names)])


def texts_of(model_input: Any) -> list[str]:
    """The texts of whatever a pyfunc may be given."""
    if isinstance(model_input, str):
        return [model_input]
    if isinstance(model_input, pd.DataFrame):
        model_input = model_input[_text_column(list(model_input.columns))]
    elif isinstance(model_input, dict):
        model_input = model_input[_text_column(list(model_input))]
    texts = [model_input] if isinstance(model_input, str) else list(model_input)
    for number, text in enumerate(texts):
        if not isinstance(text, str):
            raise ValueError(f"row {number}: {text!r} is no text. Leave out or fill what is missing.")
    return texts


def _text_column(columns: Sequence[Any]) -> Any:
    named = [name for name in columns if str(name).casefold() in TEXT_COLUMNS]
    if len(columns) == 1:
        return columns[0]
    if len(named) == 1:
        return named[0]
    raise ValueError(f"columns={list(map(str, columns))}: one column, or one that is called `text`, is needed.")


def _load_pyfunc(data_path: str) -> RegisteredClassifier:
    """What MLflow calls: the model of a bundle's folder."""
    return RegisteredClassifier(Classifier.open(Path(data_path)))
