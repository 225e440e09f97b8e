"""Which columns hold text, label, split and groups: named in the settings, or found by name.

Names are compared without case, blanks and punctuation: `Review Text`, `review_text` and `reviewText` are one. For text
and label there are ranks of usual names; the first rank that occurs decides, and two names of it are an error that says
how to choose.
"""

from __future__ import annotations

import logging
import unicodedata
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from evenodd.settings import DataSettings

logger = logging.getLogger(__name__)

Role = Literal["text", "label", "split"]
RANKS: dict[Role, tuple[tuple[str, ...], ...]] = {
    "text": (
        ("text",),
        ("texts", "sentence", "comment", "content", "tweet", "post", "body", "message", "document", "review",
         "utterance", "testcase", "reviewtext", "commenttext", "tweettext", "posttext", "messagetext", "reviewbody",
         "fulltext", "textcontent", "inputtext", "rawtext", "sentences", "comments", "reviews", "tweets", "messages"),
        ("input", "query", "question", "prompt", "phrase", "description", "snippet", "statement", "transcript", "title",
         "headline", "cleantext", "cleanedtext", "processedtext"),
    ),
    "label": (
        ("labeltext", "labelname"),
        ("label", "labels"),
        ("labelgold", "goldlabel", "class", "category", "target", "sentiment", "intent", "topic", "emotion", "polarity",
         "classname", "categoryname", "intentname", "y"),
        ("classes", "categories", "gold", "tag", "annotation", "output", "labelid", "classid", "classindex", "rating",
         "stars"),
    ),
    "split": (("split",), ("splits", "set", "subset", "partition", "datasplit", "datasetsplit")),
}  # fmt: skip
GROUP_NAMES = ("userid", "author", "authorid", "commentid", "threadid", "group")
SPLIT_VALUES = {
    "train": 0, "training": 0,
    "validation": 1, "valid": 1, "val": 1, "dev": 1, "development": 1,
    "test": 2, "testing": 2,
}  # fmt: skip


@dataclass(frozen=True)
class Columns:
    """Names of the columns that are read. `split_found`: by its name, so its values decide whether it is one."""

    text: str
    label: str
    split: str | None
    groups: tuple[str, ...]
    split_found: bool = False

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for a cache key."""
        return asdict(self)


def column_key(name: str) -> str:
    """The form in which names are compared: letters and digits only, case folded."""
    return "".join(sign for sign in unicodedata.normalize("NFKC", name).casefold() if sign.isalnum())


def split_place(value: str) -> int | None:
    """Position in train, validation, test of a split's name; None where it is none."""
    return SPLIT_VALUES.get(value.strip().lower())


def match_name(name: str, there: Sequence[str]) -> str | None:
    """The column that a person means by a name: the one spelled so, or the only one that is compared as equal."""
    if name in there:
        return name if there.count(name) == 1 else None
    alike = [column for column in there if column_key(column) == column_key(name)]
    return alike[0] if len(alike) == 1 and column_key(name) else None


def match_column(role: Role, there: Sequence[str]) -> tuple[str, ...]:
    """The columns whose names fit a role equally well: none, one, or several of the first rank that occurs."""
    for rank in RANKS[role]:
        fitting = tuple(column for column in there if column_key(column) in rank)
        if fitting:
            return fitting
    return ()


def find_text_column(source: str, there: Sequence[str], said: str | None, doubt: str = "") -> str:
    """The column of texts that are to be scored.

    Raises:
        ValueError: it is not there, or none or several fit.
    """
    faults: list[str] = []
    text = _choose("text", said, there, faults)
    if faults:
        raise _fault(source, there, faults, doubt)
    return text


def find_columns(there: Sequence[str], settings: DataSettings, doubt: str = "") -> Columns:
    """Choose the columns among those `there`, and log what was chosen.

    Args:
        there: names of all columns.
        settings: what was said about them.
        doubt: why they may be a row and no names.

    Raises:
        ValueError: a named column is not there, or none or several fit. All such faults at once.
    """
    faults: list[str] = []
    text = _choose("text", settings.text_column, there, faults)
    label = _choose("label", settings.label_column, there, faults)
    split, split_found = _split(settings, there, faults)
    groups = _groups(settings, there, faults)
    if text and text == label:
        faults.append(f"column {text!r} cannot be both text and label")
    if faults:
        raise _fault(settings.source, there, faults, doubt)
    columns = Columns(text, label, split, groups, split_found)
    _log(columns, there, settings.source)
    return columns


def _fault(source: str, there: Sequence[str], faults: list[str], doubt: str) -> ValueError:
    columns = ", ".join(there) or "none"
    header = f" Is there a header? {doubt}: put a first line with names there, such as text,label." if doubt else ""
    return ValueError(f"data={source!r}: {'; '.join(faults)}. Columns there: {columns}.{header}")


def _log(columns: Columns, there: Sequence[str], source: str) -> None:
    """One line: the columns that are read, and those that are passed over although their names would fit."""
    used = [columns.text, columns.label, columns.split, *columns.groups]
    other = [name for role in RANKS for rank in RANKS[role] for name in there if column_key(name) in rank]
    passed = [name for name in dict.fromkeys(other) if name not in used]
    parts = [f"text '{columns.text}'", f"label '{columns.label}'"]
    parts += [f"split '{columns.split}'"] if columns.split else []
    parts += [f"rows kept together by {', '.join(columns.groups)}"] if columns.groups else []
    parts += [f"not used: {', '.join(passed)}"] if passed else []
    logger.info("columns of %s | %s", source, " | ".join(parts))


def _choose(role: Role, said: str | None, there: Sequence[str], faults: list[str]) -> str:
    """The named column, or the only one of the first rank that has any."""
    if said is not None:
        return _named(role, said, there, faults) or ""
    fitting = match_column(role, there)
    if len(fitting) == 1:
        return fitting[0]
    if fitting:
        faults.append(f"{' and '.join(fitting)} could each be the {role} (name it: -P data.{role}_column=...)")
    else:
        faults.append(f"no {role} column is found by name (name it: -P data.{role}_column=...)")
    return ""


def _named(role: Role, said: str, there: Sequence[str], faults: list[str]) -> str | None:
    found = match_name(said, there)
    if found is None:
        what = "is not there" if there.count(said) < 2 else "is there more than once"
        faults.append(f"data.{role}_column={said!r} {what} (name it: -P data.{role}_column=...)")
    return found


def _split(settings: DataSettings, there: Sequence[str], faults: list[str]) -> tuple[str | None, bool]:
    """The column of splits, and whether it was found by its name."""
    if settings.split_column is not None:
        return _named("split", settings.split_column, there, faults), False
    fitting = match_column("split", there)
    return (fitting[0], True) if len(fitting) == 1 else (None, False)


def _groups(settings: DataSettings, there: Sequence[str], faults: list[str]) -> tuple[str, ...]:
    if settings.group_columns is None:
        return tuple(column for column in there if column_key(column) in GROUP_NAMES and there.count(column) == 1)
    if tuple(settings.group_columns) == ("none",):
        return ()
    found = {said: match_name(said, there) for said in settings.group_columns}
    missing = [said for said, column in found.items() if column is None]
    if missing:
        faults.append(f"group column {', '.join(missing)} is not there (-P data.group_columns=a,b or none)")
    return tuple(column for column in found.values() if column is not None)
