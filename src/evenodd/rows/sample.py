"""The bundled sample: a synthetic corpus from the project's own templates, equal for equal seeds on every machine."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from evenodd.rows.templates import fill, normalise, sentence
from evenodd.rows.words import Words, read_words

ROWS_PER_AUTHOR = 8
HATE_PROPENSITY = ((0.62, 0.03), (0.28, 0.12), (0.10, 0.66))
"""Share of authors, and share of hate in their sentences: about 12 % of all sentences."""
KIND_WEIGHTS = {
    "ordinary": 30,
    "neutral_mention": 11,
    "positive_mention": 10,
    "counter_speech": 11,
    "negated_hate": 7,
    "contrast_other": 7,
    "person_abuse": 9,
    "other_abuse": 14,
    "profanity": 6,
}
OWNED_SHARE = 0.4
"""Share of the templates that only a few authors use, so that a split by author holds unseen templates."""
OWNERS = 16
MAX_REPEATS = 2000
_COMMENT_SLOTS = ("G", "place", "topic", "town")


@dataclass(frozen=True)
class _Author:
    user_id: int
    hate_share: float
    templates: Mapping[str, tuple[str, ...]]


def sample_rows(seed: int = 0, rows: int = 3000) -> list[dict[str, Any]]:
    """Short unique texts, about 12 % of them hate, by authors who write several comments of several sentences.

    Args:
        seed: the same seed gives the same rows on every machine.
        rows: number of texts.

    Returns:
        One dict per row: `text`, `label_text` (`hate` or `noHate`), `user_id`, `comment_id`, and `kind`, the kind of
        its template.

    Raises:
        ValueError: `rows` is below 1, or exceeds the number of different texts that the templates produce.
    """
    if rows < 1:
        raise ValueError(f"rows={rows}: at least 1 is needed.")
    rng = random.Random(f"evenodd sample {seed}")
    authors = _make_authors(max(4, rows // ROWS_PER_AUTHOR), rng)
    made: list[dict[str, Any]] = []
    seen: set[str] = set()
    comment_id, repeats = 10_000, 0
    while len(made) < rows:
        before = len(made)
        made.extend(_write_comment(rng.choice(authors), comment_id, rng, seen))
        comment_id += 1
        repeats = 0 if len(made) > before else repeats + 1
        if repeats > MAX_REPEATS:
            raise ValueError(f"rows={rows}: the templates produce {len(made)} different texts; request fewer.")
    return made[:rows]


def sample_words() -> Words:
    """The sample's templates by kind (`kinds`), the hateful kinds (`hate_kinds`), and phrases by slot (`slots`)."""
    return read_words("evenodd.rows", "sample")


def _write_comment(author: _Author, comment_id: int, rng: random.Random, seen: set[str]) -> list[dict[str, Any]]:
    """One to five sentences about the same group, place, topic and town, without repeats of earlier texts."""
    slots, hate_kinds = sample_words()["slots"], sample_words()["hate_kinds"]
    about = {slot: fill(rng.choice(slots[slot]), slots, rng) for slot in _COMMENT_SLOTS}
    made = []
    for _ in range(rng.choice((1, 1, 2, 2, 3, 3, 4, 5))):
        kind = _draw_kind(author, rng)
        fixed = about if rng.random() < 0.5 else {"G": about["G"]}
        text = sentence(fill(rng.choice(author.templates[kind]), slots, rng, fixed))
        text += "" if text.endswith("?") else rng.choice((".", ".", ".", "!", ""))
        if normalise(text) in seen:
            continue
        seen.add(normalise(text))
        label = "hate" if kind in hate_kinds else "noHate"
        made.append(
            {"text": text, "label_text": label, "user_id": author.user_id, "comment_id": comment_id, "kind": kind}
        )
    return made


def _draw_kind(author: _Author, rng: random.Random) -> str:
    if rng.random() < author.hate_share:
        return rng.choices(sample_words()["hate_kinds"], weights=(5, 2, 2))[0]
    return rng.choices(list(KIND_WEIGHTS), weights=list(KIND_WEIGHTS.values()))[0]


def _make_authors(count: int, rng: random.Random) -> list[_Author]:
    """Authors with their share of hate; all of them use the common templates, a few of them each of the others."""
    kinds = sample_words()["kinds"]
    templates: list[dict[str, list[str]]] = [{kind: [] for kind in kinds} for _ in range(count)]
    for kind, of_kind in kinds.items():
        owned = set(rng.sample(range(len(of_kind)), int(OWNED_SHARE * len(of_kind))))
        for number, template in enumerate(of_kind):
            for author in rng.sample(range(count), min(OWNERS, count)) if number in owned else range(count):
                templates[author][kind].append(template)
    shares, hate = zip(*HATE_PROPENSITY, strict=True)
    return [
        _Author(
            user_id=1000 + number,
            hate_share=rng.choices(hate, weights=shares)[0],
            templates={kind: tuple(of_kind) for kind, of_kind in templates[number].items()},
        )
        for number in range(count)
    ]
