"""Token windows of texts, and words with their positions for explanations."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tokenizers import Tokenizer

TokenWindows = list[list[int]]

CJK = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
_WORD = re.compile(rf"[{CJK}]|[^\s{CJK}]+")


class Windows:
    """Token windows of texts, special tokens included.

    A text that fits into `max_length` is one window. A longer one has several, each of which repeats the last `overlap`
    tokens of the previous one, so that nothing is cut.
    """

    def __init__(self, tokenizer: Tokenizer | Path, *, max_length: int, overlap: int) -> None:
        """Takes a tokenizer (not changed) or its file, the maximum tokens of a window, and the overlap in tokens."""
        opened = Tokenizer.from_file(str(tokenizer)) if isinstance(tokenizer, Path) else _copy(tokenizer)
        opened.no_padding()
        opened.enable_truncation(max_length, stride=fitting_overlap(overlap, max_length))
        self._tokenizer = opened

    def split(self, texts: Sequence[str]) -> list[TokenWindows]:
        """Token ids of every window of every text."""
        encodings = self._tokenizer.encode_batch_fast(list(texts))
        return [[item.ids, *(window.ids for window in item.overflowing)] for item in encodings]


def fitting_overlap(overlap: int, max_length: int) -> int:
    """The given overlap, but at most a quarter of a window, so that windows advance."""
    return min(overlap, max_length // 4)


def _copy(tokenizer: Tokenizer) -> Tokenizer:
    return Tokenizer.from_str(tokenizer.to_str())


@dataclass(frozen=True)
class Word:
    """A word and its position in the text, in characters, end excluded."""

    word: str
    start: int
    end: int


def find_words(text: str) -> list[Word]:
    """Runs of characters without white space; each ideograph or kana is a word of its own."""
    return [Word(match.group(), match.start(), match.end()) for match in _WORD.finditer(text)]


def leave_out(text: str, words: Sequence[Word]) -> list[str]:
    """For each word, the text without it and without the white space after it."""
    texts = []
    for word in words:
        rest = text[word.end :]
        texts.append(text[: word.start] + rest.lstrip())
    return texts
