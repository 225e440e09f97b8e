"""Which columns hold text, label, split and groups: named in the settings, or found by name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from evenodd.settings import DataSettings

TEXT_NAMES = ("sentence", "comment", "content", "tweet", "post", "body", "message", "document", "review", "test_case")
LABEL_NAMES = ("labels", "label_name", "label_gold", "class", "category", "target", "sentiment")
GROUP_NAMES = ("user_id", "author", "author_id", "comment_id", "thread_id", "group")
SPLIT_NAME = "split"
SPLIT_VALUES = {
    "train": 0, "training": 0,
    "validation": 1, "valid": 1, "val": 1, "dev": 1,
    "test": 2,
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


def find_columns(there: Sequence[str], settings: DataSettings) -> Columns:
    """Choose the columns among those `there`.

    A column called `text` is the text, and one called `label_text`, then `label`, the label; otherwise exactly one of
    the usual names must be there.

    Raises:
        ValueError: a named column is not there, or none or several fit. All such faults at once.
    """
    faults: list[str] = []
    text = _choose("text", settings.text_column, there, (("text",), TEXT_NAMES), faults)
    label = _choose("label", settings.label_column, there, (("label_text",), ("label",), LABEL_NAMES), faults)
    split = _named("split", settings.split_column, there, faults)
    split_found = split is None and SPLIT_NAME in there
    groups = _groups(settings, there, faults)
    if faults:
        columns = ", ".join(there) or "none"
        raise ValueError(f"data={settings.source!r}: {'; '.join(faults)}. Columns there: {columns}.")
    return Columns(text, label, SPLIT_NAME if split_found else split, groups, split_found)


def _named(role: str, name: str | None, there: Sequence[str], faults: list[str]) -> str | None:
    if name is not None and name not in there:
        faults.append(f"data.{role}_column={name!r} is not there (name it: -P data.{role}_column=...)")
    return name


def _choose(
    role: str, name: str | None, there: Sequence[str], ranks: Sequence[tuple[str, ...]], faults: list[str]
) -> str:
    """The named column, or the only fitting one of the first rank that has any."""
    if name is not None:
        return _named(role, name, there, faults) or ""
    for rank in ranks:
        fitting = [column for column in there if column.strip().lower() in rank]
        if len(fitting) == 1:
            return fitting[0]
        if fitting:
            faults.append(f"{' and '.join(fitting)} could each be the {role} (name it: -P data.{role}_column=...)")
            return ""
    faults.append(f"no {role} column is found by name (name it: -P data.{role}_column=...)")
    return ""


def _groups(settings: DataSettings, there: Sequence[str], faults: list[str]) -> tuple[str, ...]:
    if settings.group_columns is None:
        return tuple(column for column in there if column.strip().lower() in GROUP_NAMES)
    if tuple(settings.group_columns) == ("none",):
        return ()
    missing = [column for column in settings.group_columns if column not in there]
    if missing:
        faults.append(f"group column {', '.join(missing)} is not there (-P data.group_columns=a,b or none)")
    return tuple(settings.group_columns)
