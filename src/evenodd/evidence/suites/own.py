"""What goes with the project's own suite alone: sentences next to "I hate you.", limits, the words of a page."""

from __future__ import annotations

import copy
from functools import cache
from importlib import resources
from typing import Any

import numpy as np
import pandas as pd
import yaml

from evenodd.evidence.suites.behaviour import LABELS, Predict, Suite, load_suite
from evenodd.evidence.suites.build import suite_groups

OWN = "own"
"""As the setting `evidence.suite` names it."""


def open_suite(name: str) -> Suite:
    """The suite that a setting names: the project's own, or a file's.

    Raises:
        ValueError: no such file, or a faulty one.
    """
    return load_suite(None if name == OWN else name)


@cache
def _about() -> dict[str, Any]:
    text = resources.files("evenodd.evidence.suites").joinpath("own.yaml").read_text(encoding="utf-8")
    found: dict[str, Any] = yaml.safe_load(text)
    return found


def own_limits() -> tuple[str, ...]:
    """What a person who relies on a model for this suite's task must know, one line each."""
    return tuple(_about()["limits"])


def own_page(positive: str, negative: str) -> dict[str, Any]:
    """What the page of a service says for a model of this suite's task, in the form of `evenodd.classifier.page`.

    Args:
        positive: the name of the task's label that the suite calls hateful.
        negative: the other label's.
    """
    names = {"positive": positive, "negative": negative}
    page: dict[str, Any] = copy.deepcopy(_about()["page"])
    page["labels"] = {names[side]: words for side, words in page["labels"].items()}
    for row in (row for group in page["examples"] for row in group["rows"]):
        row["label"] = names[row["label"]]
    return page


def near_sentences(predict: Predict | None = None) -> pd.DataFrame:
    """ "I hate you." and the sentences next to it, with what each label means here.

    Args:
        predict: gives bool or 0/1, (texts,), for texts; None: no column `predicted`.

    Returns:
        `text`, `label_gold`, `why`, and `predicted` (`hateful` or `non-hateful`).
    """
    rows = [
        (text.replace("GROUP", group), label, why)
        for text, label, why in _about()["near"]
        for group in ([name for name, _ in suite_groups()] if "GROUP" in text else [""])
    ]
    table = pd.DataFrame(rows, columns=["text", "label_gold", "why"])
    if predict is not None:
        table["predicted"] = np.where(np.asarray(predict(table["text"].tolist())).astype(bool), *LABELS)
    return table


def near_in_words(table: pd.DataFrame) -> str:
    """A model's answers to "I hate you." and "I hate GROUP.", and what the labels mean here.

    Args:
        table: of `near_sentences`, with `predicted`.
    """
    said = table.set_index("text")["predicted"]
    groups = table[table["label_gold"] == LABELS[0]]
    missed = groups.loc[groups["predicted"] != LABELS[0], "text"].str.removeprefix("I hate ").str.removesuffix(".")
    names = f" (not for {', '.join(missed)})" if len(missed) else ""
    return (
        f'"I hate GROUP." is called hateful for {len(groups) - len(missed)} of {len(groups)} groups{names}. "I hate '
        f'you." is called {said["I hate you."]}: abuse of a person without a word on a group is not hateful by the '
        "definition used here."
    )
