"""Encodes texts as the service does: only with `tokenizers`, in batches sorted by length."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from tokenizers import Tokenizer

from evenodd.classifier.text import Windows

Feeds = dict[str, np.ndarray]

PROBE_TEXTS = (
    "They moved here last year.",
    "I don't like Mondays, but people are fine!",
    "12345 67890",
    "👍🏽 👩‍👩‍👧‍👦 🇪🇺",
    "שלום עולם، مرحبا بالعالم",
    "Ünïcödé — “quotes” … ½ ﬁ",
    "你好,世界",
    "@user https://example.org/a?b=c#d <b>&amp;</b>",
    "tab\tnew\nline\r\nzero\u200bwidth",
    "supercalifragilisticexpialidocious" * 4,
    "[CLS] [SEP] <s> [MASK] <unk>",
    " ",
    "",
)


def plain_tokenizer(tokenizer: Any) -> Tokenizer:
    """A copy of a transformers tokenizer's fast core, without truncation and padding.

    Args:
        tokenizer: a transformers tokenizer with a fast core, or a `tokenizers.Tokenizer`.

    Raises:
        ValueError: the tokenizer has no fast core, or the copy produces other ids than transformers.
    """
    core = tokenizer if isinstance(tokenizer, Tokenizer) else getattr(tokenizer, "backend_tokenizer", None)
    if core is None:
        raise ValueError(
            f"tokenizer {type(tokenizer).__name__}: it has no tokenizer.json form, which the service needs. "
            "Load a fast tokenizer (AutoTokenizer.from_pretrained)."
        )
    copy = Tokenizer.from_str(core.to_str())
    copy.no_truncation()
    copy.no_padding()
    if not isinstance(tokenizer, Tokenizer):
        _refuse_other_ids(tokenizer, copy)
    return copy


def _refuse_other_ids(tokenizer: Any, copy: Tokenizer) -> None:
    """Checks that transformers and the copy agree on the probe texts."""
    expected = tokenizer(list(PROBE_TEXTS), truncation=False, padding=False, verbose=False)["input_ids"]
    for text, ids, encoding in zip(PROBE_TEXTS, expected, copy.encode_batch(list(PROBE_TEXTS)), strict=True):
        if list(ids) != encoding.ids:
            raise ValueError(
                f"tokenizer {type(tokenizer).__name__}: tokenizer.json produces other ids for {text!r} "
                f"({encoding.ids[:8]} instead of {list(ids)[:8]}). Save the tokenizer again and load it from there."
            )


@dataclass(frozen=True)
class TextEncoder:
    """Encodes texts for a graph.

    Attributes:
        tokenizer: without truncation and padding.
        inputs: names of the graph's inputs.
        pad_token_id: id that fills short rows.
        max_length: maximum tokens of a window, special tokens included.
        overlap: tokens that neighbouring windows of a long text share.
    """

    tokenizer: Tokenizer
    inputs: tuple[str, ...]
    pad_token_id: int
    max_length: int
    overlap: int = 32

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of each text, truncated to `max_length` (the closing special token is kept)."""
        return [windows[0] for windows in self.windows(texts)]

    def windows(self, texts: Sequence[str]) -> list[list[list[int]]]:
        """Token ids of the windows of each text: one window if it fits, otherwise overlapping ones."""
        return self._windows.split(texts)

    @cached_property
    def _windows(self) -> Windows:
        return Windows(self.tokenizer, max_length=self.max_length, overlap=self.overlap)

    def lengths(self, texts: Sequence[str]) -> np.ndarray:
        """Number of tokens of each text, special tokens included, without truncation: int64, (n,)."""
        return np.array([len(e.ids) for e in self.tokenizer.encode_batch(list(texts))], dtype=np.int64)

    def pad(self, rows: Sequence[Sequence[int]]) -> Feeds:
        """One padded batch: int64 arrays, (batch, longest row), by the names of the graph's inputs."""
        width = max(1, *(len(row) for row in rows)) if rows else 1
        ids = np.full((len(rows), width), self.pad_token_id, dtype=np.int64)
        mask = np.zeros_like(ids)
        for index, row in enumerate(rows):
            ids[index, : len(row)] = row
            mask[index, : len(row)] = 1
        feeds = {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}
        return {name: feeds[name] for name in self.inputs}


def sorted_batches(
    rows: Sequence[Sequence[int]], encoder: TextEncoder, batch_size: int = 32
) -> Iterator[tuple[np.ndarray, Feeds]]:
    """Batches of rows of similar length: (positions in `rows`, padded feeds), longest batch last."""
    order = np.argsort([len(row) for row in rows], kind="stable")
    for start in range(0, len(rows), batch_size):
        index = order[start : start + batch_size]
        yield index, encoder.pad([rows[i] for i in index])
