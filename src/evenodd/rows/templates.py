"""Sentences from templates: slots are filled with a seeded generator; wordings are normalised for comparison."""

from __future__ import annotations

import random
import re
from collections.abc import Mapping, Sequence

Slots = Mapping[str, Sequence[str]]

_SLOT = re.compile(r"\{([A-Za-z_]+[0-9]?)\}")
_START = re.compile(r"^[a-z]|(?<=[.!?] )[a-z]")
_NOT_WORD = re.compile(r"[^a-z0-9]+")


def fill(template: str, slots: Slots, rng: random.Random, fixed: Mapping[str, str] | None = None) -> str:
    """Replaces each `{slot}` by one of its phrases, which may contain slots themselves.

    Args:
        template: text with slots in braces.
        slots: phrases of each slot.
        rng: generator, used once per slot that is not fixed.
        fixed: slots with a given phrase, which is used at every occurrence.

    Returns:
        The text without slots.

    Raises:
        ValueError: a slot has no phrases.
    """
    given = fixed or {}
    while match := _SLOT.search(template):
        name = match.group(1)
        if name not in given and not slots.get(name):
            raise ValueError(
                f"template {template!r}: slot {name!r} has no phrases; known are {', '.join(sorted(slots))}."
            )
        phrase = given[name] if name in given else rng.choice(slots[name])
        template = template[: match.start()] + phrase + template[match.end() :]
    return template


def sentence(text: str) -> str:
    """Puts one space between words, none before punctuation, and capitalises the start of sentences."""
    text = re.sub(r"\s+", " ", text).strip()
    text = re.sub(r"\s+([.,!?;:])", r"\1", text)
    return _START.sub(lambda match: match.group().upper(), text)


def normalise(text: str) -> str:
    """Lower-case letters and digits with single spaces: two texts that differ only in case or punctuation are equal."""
    return _NOT_WORD.sub(" ", text.lower().replace("'", "").replace("’", "")).strip()


def delexicalise(text: str, terms: Sequence[str]) -> str:
    """The normalised text with every term of a group replaced by `<group>`.

    Args:
        text: any text.
        terms: surface forms of groups; longer ones are replaced first.
    """
    known = sorted({normalise(term) for term in terms if normalise(term)}, key=lambda term: (-len(term), term))
    pattern = re.compile(r"\b(?:" + "|".join(map(re.escape, known)) + r")\b")
    return pattern.sub("<group>", normalise(text)) if known else normalise(text)
