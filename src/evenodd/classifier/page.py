"""Texts about a task for the service's page: the question, the meaning of the labels, and examples."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

SENTENCES = ("question", "definition")
LABEL_FIELDS = ("name", "meaning")
ROW_FIELDS = ("text", "label", "kind")
MOST_TEXT = 2000


def page_faults(page: Any, labels: Sequence[str]) -> Iterator[str]:
    """All faults of the texts for a page, as sentences.

    Args:
        page: an object with any of `question` and `definition` (a sentence each), `labels` (by label: `name` and
            `meaning`) and `examples` (groups with a `title` and `rows` of `text`, `label` and `kind`).
        labels: labels of the task.
    """
    if not isinstance(page, dict):
        yield "page: an object with question, definition, labels and examples is needed."
        return
    for key, value in page.items():
        if key in SENTENCES:
            yield from () if _is_words(value) else (f"page.{key}: a sentence is needed.",)
        elif key == "labels":
            yield from _label_faults(value, labels)
        elif key == "examples":
            yield from _example_faults(value, labels)
        else:
            yield f"page.{key} is unknown: question, definition, labels and examples are known."


def _is_words(value: Any) -> bool:
    return isinstance(value, str) and bool(value.strip()) and len(value) <= MOST_TEXT


def _label_faults(found: Any, labels: Sequence[str]) -> Iterator[str]:
    if not isinstance(found, dict):
        yield "page.labels: an object by label is needed."
        return
    for label, words in found.items():
        if label not in labels:
            yield f"page.labels.{label}: the labels are {', '.join(labels)}."
        if not (isinstance(words, dict) and set(words) <= set(LABEL_FIELDS) and all(map(_is_words, words.values()))):
            yield f"page.labels.{label}: name and meaning, a text each, are needed."


def _example_faults(groups: Any, labels: Sequence[str]) -> Iterator[str]:
    if not isinstance(groups, list):
        yield "page.examples: a list of groups, each with title and rows, is needed."
        return
    for number, group in enumerate(groups):
        known = isinstance(group, dict) and set(group) == {"title", "rows"} and _is_words(group["title"])
        if not (known and isinstance(group["rows"], list)):
            yield f"page.examples[{number}]: a title and a list of rows are needed."
            continue
        for row in group["rows"]:
            known = isinstance(row, dict) and set(row) == set(ROW_FIELDS) and all(map(_is_words, row.values()))
            if not (known and row["label"] in labels):
                yield f"page.examples[{number}]: each row needs text, kind and a label out of {', '.join(labels)}."
