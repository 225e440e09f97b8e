"""Counterexamples: training rows from templates, for distinctions that a forum corpus does not teach.

The label depends on the target and on whether the speaker asserts the sentence: "I hate GROUP" in many wordings is
hate; the same words about a person, a thing or football fans, or denied, or quoted in order to reply, are not.
"""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from typing import Any

from evenodd.rows.augment.wording import Phrases, wording
from evenodd.rows.templates import fill, normalise, sentence

LABELS = ("noHate", "hate")
WEIGHTS = {
    "direct_hate": 12,
    "derogation": 9,
    "dehumanising": 6,
    "threat": 7,
    "exclusion": 6,
    "denied_good": 5,
    "pronoun_hate": 11,
    "question_hate": 5,
    "opinion_hate": 5,
    "profanity_hate": 5,
    "implicit_hate": 8,
    "contrast_hate": 5,
    "member_hate": 5,
    "conditional_hate": 5,
    "slur_hate": 6,
    "misspelt_hate": 14,
    "negated_hate": 18,
    "quoted_hate": 8,
    "referred_hate": 14,
    "neutral_mention": 15,
    "positive_mention": 22,
    "person_abuse": 4,
    "thing_abuse": 5,
    "other_group_abuse": 8,
    "conditional_other": 8,
    "reported": 5,
    "asked": 5,
    "self_mention": 6,
    "across_other": 9,
    "slur_other": 3,
    "profanity": 3,
    "misspelt_other": 12,
}
"""Relative share of each kind."""
MAX_TRIES = 200
_LEET = str.maketrans({"a": "4", "e": "3", "i": "1", "o": "0", "s": "5"})
_COMMON = frozenset(
    normalise("""
        a about all am an and are as at be but by for from has have he i if in is it me my no not of on one or she
        so than that the their them these they this to was we what when who will with would you your
    """).split()
)
_PARTICLE = re.compile(r"\b(beat|drive|finish|hunt|kick|lock|put|round|wipe) (down|off|out|up) (them|you)\b")
_ENDS = (".", ".", ".", "!", "")


def counterexamples(rows: int = 2000, seed: int = 0, kinds: tuple[str, ...] | None = None) -> list[dict[str, Any]]:
    """Unique training rows from templates, about half of them hate.

    Args:
        rows: number of rows.
        seed: the same seed gives the same rows on every machine.
        kinds: only these kinds, in the proportions of `WEIGHTS`; None: all of them.

    Returns:
        One dict per row, in random order: `text`, `label_text` (`hate` or `noHate`), `kind`.

    Raises:
        ValueError: `rows` is below 1, a kind is unknown, or the templates of a kind produce too few different texts.
    """
    counts = kind_counts(rows, kinds)
    rng = random.Random(f"evenodd counterexamples {seed}")
    seen: set[str] = set()
    made = [row for kind, count in counts.items() for row in _make_kind(kind, count, rng, seen)]
    rng.shuffle(made)
    return made


def kind_counts(rows: int = 2000, kinds: Sequence[str] | None = None) -> dict[str, int]:
    """Number of rows of each kind, in proportion to `WEIGHTS`; remainders go to the largest fractions.

    Raises:
        ValueError: `rows` is below 1, or a kind is unknown.
    """
    if rows < 1:
        raise ValueError(f"rows={rows}: at least 1 is needed.")
    chosen = tuple(WEIGHTS) if kinds is None else tuple(dict.fromkeys(kinds))
    unknown = [kind for kind in chosen if kind not in WEIGHTS]
    if unknown or not chosen:
        raise ValueError(f"data.augment_kinds={', '.join(unknown) or '()'}: not known; there are {', '.join(WEIGHTS)}.")
    total = sum(WEIGHTS[kind] for kind in chosen)
    counts = {kind: rows * WEIGHTS[kind] // total for kind in chosen}
    by_fraction = sorted(chosen, key=lambda kind: -(rows * WEIGHTS[kind] % total))
    for kind in by_fraction[: rows - sum(counts.values())]:
        counts[kind] += 1
    return counts


def group_terms() -> tuple[str, ...]:
    """All surface forms of each group in these rows, plural and singular."""
    groups = wording().groups.values()
    return tuple(dict.fromkeys(term for group in groups for term in (*group.plural, *group.singular)))


def _make_kind(kind: str, count: int, rng: random.Random, seen: set[str]) -> list[dict[str, Any]]:
    label = LABELS[kind in wording().hate or kind == "misspelt_hate"]
    made: list[dict[str, Any]] = []
    tries = 0
    while len(made) < count:
        text = _write(kind, rng)
        tries += 1
        if normalise(text) not in seen:
            seen.add(normalise(text))
            made.append({"text": text, "label_text": label, "kind": kind})
            tries = 0
        elif tries > MAX_TRIES:
            raise ValueError(
                f"kind {kind!r}: its templates produce {len(made)} different texts, not {count}; request fewer."
            )
    return made


def _write(kind: str, rng: random.Random) -> str:
    """One text of a kind; misspelt texts are changed texts of the other kinds."""
    words = wording()
    if kind == "misspelt_hate":
        return _misspell(_write(_draw(words.hate, rng), rng), rng)
    if kind == "misspelt_other":
        return _misspell(_write(_draw(words.other, rng), rng), rng)
    fixed = _draw_group(kind, rng)
    frame = rng.choice(words.hate.get(kind) or words.other[kind])
    if "{claim}" in frame:
        fixed["claim"] = fill(rng.choice(words.claims[_draw(words.claims, rng)]), words.slots, rng, fixed)
    return _finish(fill(frame, words.slots, rng, fixed), rng)


def _draw_group(kind: str, rng: random.Random) -> dict[str, str]:
    """Fills the slots that name a group, with one of its forms each; kinds with slurs draw a group that has slurs."""
    slurs = wording().slurs if kind.startswith("slur_") else {}
    groups = {name: group for name, group in wording().groups.items() if name in slurs or not slurs}
    name = rng.choices(list(groups), weights=[group.weight for group in groups.values()])[0]
    fixed = {"G": rng.choice(groups[name].plural), "S": rng.choice(groups[name].singular)}
    fixed["s"] = fixed["S"].partition(" ")[2]
    if slurs:
        fixed["slurs"], fixed["slur"] = map(rng.choice, slurs[name])
    return fixed


def _draw(frames: Phrases, rng: random.Random) -> str:
    kinds = list(frames)
    return rng.choices(kinds, weights=[WEIGHTS[kind] for kind in kinds])[0]


def _finish(text: str, rng: random.Random) -> str:
    """Capitalises and punctuates as people do: mostly correctly, sometimes all lower case or all capitals."""
    text = sentence(_PARTICLE.sub(r"\1 \3 \2", text))
    if text[-1] not in ".!?":
        text += rng.choice(_ENDS)
    style = rng.random()
    if style < 0.08:
        return text.lower()
    return text.upper() if style > 0.98 else text


def _misspell(text: str, rng: random.Random) -> str:
    """One to three changes of one kind: letters swapped, dropped or written as digits, spaces dropped or added."""
    change = rng.choice((_swap_letters, _drop_letter, _leet, _add_space, _spell_out, None))
    words = text.split(" ")
    if change is None:
        return _join_words(words, rng)
    telling = [number for number, word in enumerate(words) if normalise(word) not in _COMMON] or list(range(len(words)))
    for number in rng.sample(telling, min(len(telling), rng.choice((1, 2, 2, 3)))):
        words[number] = change(words[number], rng)
    return " ".join(words)


def _swap_letters(word: str, rng: random.Random) -> str:
    at = rng.randrange(max(1, len(word) - 1))
    return word[:at] + word[at + 1 : at + 2] + word[at : at + 1] + word[at + 2 :]


def _drop_letter(word: str, rng: random.Random) -> str:
    at = rng.randrange(len(word))
    return word[:at] + word[at + 1 :] if len(word) > 1 else word


def _leet(word: str, rng: random.Random) -> str:
    if rng.random() < 0.5:
        return word.translate(_LEET)
    letter = rng.choice("aeios")
    return word.replace(letter, letter.translate(_LEET)) if letter in word else word.translate(_LEET)


def _add_space(word: str, rng: random.Random) -> str:
    at = rng.randrange(1, max(2, len(word)))
    return f"{word[:at]} {word[at:]}".strip()


def _spell_out(word: str, rng: random.Random) -> str:
    return rng.choice((" ", " ", "-", ".")).join(word)


def _join_words(words: list[str], rng: random.Random) -> str:
    """Drops one or two spaces, sometimes all of them."""
    if rng.random() < 0.2:
        return "".join(words)
    for _ in range(min(len(words) - 1, rng.choice((1, 2)))):
        at = rng.randrange(len(words) - 1)
        words[at : at + 2] = [words[at] + words[at + 1]]
    return " ".join(words)
