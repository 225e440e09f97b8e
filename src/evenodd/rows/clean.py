"""Decides which rows are usable and which texts are equal."""

from __future__ import annotations

import hashlib
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

BLANK_CATEGORIES = ("Cc", "Cf", "Zs", "Zl", "Zp")


def normalise(text: str) -> str:
    """Normalises a text for comparison: NFKC, case folded, white space collapsed.

    It is idempotent. It is used only to find repeats: models read the original text.
    """
    if text.isascii():
        return " ".join(text.lower().split())
    for _ in range(4):
        folded = " ".join(unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold()).split())
        if folded == text:
            break
        text = folded
    return text


def is_blank(text: str) -> bool:
    """Whether a text holds only white space, control and invisible format characters."""
    if text[:1].isalnum():
        return False
    return all(unicodedata.category(char) in BLANK_CATEGORIES for char in text)


def text_keys(texts: Iterable[str]) -> np.ndarray:
    """64-bit keys of normalised texts, int64, (texts,).

    For a million different texts the probability that any two share a key is 3e-8.
    """
    digests = b"".join(hashlib.blake2b(normalise(text).encode(), digest_size=8).digest() for text in texts)
    return np.frombuffer(digests, dtype="<i8").astype(np.int64)


def value_keys(values: pa.Array) -> np.ndarray:
    """64-bit keys of group values, int64, (rows,); 0 for missing values."""
    coded = values.dictionary_encode()
    digests = [hashlib.blake2b(value.encode(), digest_size=8).digest() for value in coded.dictionary.to_pylist()]
    keys = np.frombuffer(b"".join(digests), dtype="<i8").astype(np.int64)
    codes = coded.indices.fill_null(-1).to_numpy(zero_copy_only=False)
    return np.append(keys, 0)[codes]


@dataclass
class Repeats:
    """Rows that are left out because their text occurs more than once.

    Attributes:
        keep: bool, (rows,).
        duplicates: positions of repeats with the same label as the kept row.
        conflicts: positions of all rows of texts that occur with more than one label.
    """

    keep: np.ndarray
    duplicates: np.ndarray
    conflicts: np.ndarray


def find_repeats(keys: np.ndarray, labels: np.ndarray, rank: np.ndarray) -> Repeats:
    """Keeps one row of each text (highest rank, then first), and no row of texts with conflicting labels.

    Args:
        keys: int64, (rows,), equal for equal texts.
        labels: int, (rows,).
        rank: int, (rows,): 2 for rows of a predefined test split, 1 for validation, otherwise 0, so that a published
            test split stays complete.
    """
    order, starts = _repeated(keys, rank)
    text_of = np.cumsum(starts) - 1
    ordered_labels = labels[order]
    differs = ordered_labels != ordered_labels[starts][text_of]
    conflicting = (np.bincount(text_of, weights=differs) > 0)[text_of]
    conflicts, duplicates = np.sort(order[conflicting]), np.sort(order[~starts & ~conflicting])
    keep = np.ones(len(keys), dtype=bool)
    keep[conflicts] = keep[duplicates] = False
    return Repeats(keep, duplicates, conflicts)


def _repeated(keys: np.ndarray, rank: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Positions of rows whose text repeats, grouped by text, and a mask of the first row of each text."""
    order = np.lexsort((-rank, keys))
    ordered = keys[order]
    follows = np.zeros(len(keys), dtype=bool)
    follows[1:] = ordered[1:] == ordered[:-1]
    repeated = follows.copy()
    repeated[:-1] |= follows[1:]
    return order[repeated], ~follows[repeated]
