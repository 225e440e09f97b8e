"""The wording of the counterexamples: templates by kind, groups, and the phrases that fill the templates' slots."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

from evenodd.rows.words import Words, read_words

Phrases = Mapping[str, tuple[str, ...]]


@dataclass(frozen=True)
class Group:
    """A protected group in its surface forms.

    Attributes:
        plural: plural forms.
        singular: singular forms with their article.
        weight: relative frequency of the group.
    """

    plural: tuple[str, ...]
    singular: tuple[str, ...]
    weight: int


@dataclass(frozen=True)
class Wording:
    """Content of the YAML files in this folder.

    Attributes:
        claims: templates of plain hateful sentences by kind; others quote or deny them.
        hate: all templates of hateful rows, by kind.
        other: all templates of other rows, by kind.
        groups: protected groups by name.
        slurs: by group: plural forms (first), singular forms without article (second).
        slots: phrases by slot.
    """

    claims: Phrases
    hate: Phrases
    other: Phrases
    groups: Mapping[str, Group]
    slurs: Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]]
    slots: Phrases


@cache
def wording() -> Wording:
    """The wording of all counterexamples, read once per process."""
    hate, other, clauses, slurs, phrases = map(_read, ("hate", "other", "clauses", "slurs", "phrases"))
    return Wording(
        claims=hate["hate"],
        hate={**hate["hate"], **clauses["hate"], **slurs["hate"]},
        other={**other["other"], **clauses["other"], **slurs["other"]},
        groups={name: Group(**group) for name, group in phrases["groups"].items()},
        slurs={name: (forms["plural"], forms["singular"]) for name, forms in slurs["groups"].items()},
        slots={**phrases["slots"], **clauses["slots"]},
    )


def _read(name: str) -> Words:
    return read_words("evenodd.rows.augment", name)
