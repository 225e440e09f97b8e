"""Token ids of a split, computed once, memory-mapped, and batched without a Python loop over tokens."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from tokenizers import Tokenizer

from evenodd.rows.rows import Split
from evenodd.storage import FORMAT, new_folder, sound

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedTokenizerBase

logger = logging.getLogger(__name__)

BATCH_ROWS = 2_000


@dataclass(frozen=True)
class TokenStore:
    """Concatenated token ids of all rows, and the offset of each row.

    Attributes:
        flat: int32, (tokens,), memory-mapped.
        offsets: int64, (rows + 1,), memory-mapped.
        pad_token_id: id that fills a batch after the end of a row.
        max_length: maximum tokens of a row, special tokens included.
        truncated: number of truncated rows.
        digest: digest of split, tokenizer and length, which determine the ids.
    """

    flat: np.ndarray
    offsets: np.ndarray
    pad_token_id: int
    max_length: int
    truncated: int
    digest: str

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __reduce__(self) -> tuple[Any, ...]:
        """Makes another process open the same files instead of receiving a copy of their content."""
        rest = (self.pad_token_id, self.max_length, self.truncated, self.digest)
        if not isinstance(self.flat, np.memmap) or not isinstance(self.offsets, np.memmap):
            return TokenStore, (self.flat, self.offsets, *rest)
        return _reopen, (str(self.flat.filename), str(self.offsets.filename), *rest)

    @property
    def lengths(self) -> np.ndarray:
        """Number of tokens of each row, special tokens included, int32, (rows,)."""
        lengths = np.empty(len(self), dtype=np.int32)
        return np.subtract(self.offsets[1:], self.offsets[:-1], out=lengths, casting="same_kind")

    def ids(self, row: int) -> np.ndarray:
        """Token ids of one row, int32, (tokens,)."""
        if not 0 <= row < len(self):
            raise IndexError(f"row {row}: the store has rows 0..{len(self) - 1}.")
        return self.flat[self.offsets[row] : self.offsets[row + 1]]

    def joined(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Concatenated token ids of rows, int32, (tokens,), and the number of tokens of each, int64, (batch,)."""
        starts = self.offsets[rows]
        lengths = self.offsets[np.asarray(rows) + 1] - starts
        before = np.cumsum(lengths) - lengths
        return self.flat[np.arange(int(lengths.sum())) + np.repeat(starts - before, lengths)], lengths

    def collate(self, rows: np.ndarray, pad_to_multiple: int = 8) -> dict[str, torch.Tensor]:
        """Pads rows to the longest of them.

        Args:
            rows: int, (batch,), positions in the split.
            pad_to_multiple: the width is rounded up to a multiple of it, but not beyond `max_length`.

        Returns:
            `input_ids` and `attention_mask`, int64, (batch, width).
        """
        import torch  # here, so that a fault in the data is reported before the seconds that torch takes to load

        flat, lengths = self.joined(rows)
        longest = int(lengths.max(initial=1))
        width = max(longest, min(-(-longest // pad_to_multiple) * pad_to_multiple, self.max_length))
        mask = np.arange(width) < lengths[:, None]
        input_ids = np.full(mask.shape, self.pad_token_id, dtype=np.int64)
        input_ids[mask] = flat
        return {"input_ids": torch.from_numpy(input_ids), "attention_mask": torch.from_numpy(mask.astype(np.int64))}


def token_store(
    split: Split, tokenizer: PreTrainedTokenizerBase, *, max_length: int, cache: Path, batch_rows: int = BATCH_ROWS
) -> TokenStore:
    """Tokenises a split, or opens the cached ids of an earlier call.

    Ids are those of `tokenizer(texts, truncation=True, max_length=max_length)`. They are written in batches, so memory
    does not grow with the number of rows, and they appear in the cache only when complete.

    Args:
        split: the texts.
        tokenizer: a fast tokenizer of transformers.
        max_length: maximum tokens of a row, special tokens included.
        cache: folder to write to.
        batch_rows: rows tokenised at a time.

    Raises:
        ValueError: the tokenizer is not a fast one, has no padding token, or `max_length` leaves no room for text.
    """
    plain = plain_tokenizer(tokenizer)
    if tokenizer.pad_token_id is None:
        raise ValueError(f"tokenizer {type(tokenizer).__name__}: it has no padding token.")
    if max_length <= plain.num_special_tokens_to_add(False):
        raise ValueError(f"max_length={max_length}: special tokens alone need that many.")
    about = f"{FORMAT}:{split.digest}:{max_length}:{plain.to_str()}"
    digest = hashlib.sha256(about.encode()).hexdigest()
    folder = cache / "tokens" / digest[:24]
    if not sound(folder):
        plain.enable_truncation(max_length)
        with new_folder(folder) as building:
            _write(split, plain, building, batch_rows)
    return _open(folder, int(tokenizer.pad_token_id), max_length, digest)


def plain_tokenizer(tokenizer: PreTrainedTokenizerBase) -> Tokenizer:
    """A copy of the underlying fast tokenizer, without truncation and padding.

    Raises:
        ValueError: the tokenizer is not a fast one.
    """
    backend: Any = getattr(tokenizer, "backend_tokenizer", None)
    if not isinstance(backend, Tokenizer):
        raise ValueError(
            f"tokenizer {type(tokenizer).__name__}: not a fast tokenizer, which training and serving need."
        )
    plain = Tokenizer.from_str(backend.to_str())
    plain.no_truncation()
    plain.no_padding()
    return plain


def _reopen(flat: str, offsets: str, *rest: Any) -> TokenStore:
    return TokenStore(np.load(flat, mmap_mode="r"), np.load(offsets, mmap_mode="r"), *rest)


def _open(folder: Path, pad_token_id: int, max_length: int, digest: str) -> TokenStore:
    about = json.loads((folder / "tokens.json").read_text())
    flat = np.load(folder / "ids.npy", mmap_mode="r")
    offsets = np.load(folder / "offsets.npy", mmap_mode="r")
    return TokenStore(flat, offsets, pad_token_id, max_length, about["truncated"], digest)


def _write(split: Split, tokenizer: Tokenizer, folder: Path, batch_rows: int) -> None:
    offsets = np.lib.format.open_memmap(folder / "offsets.npy", "w+", np.int64, (len(split) + 1,))
    row, tokens, truncated = 0, 0, 0
    with (folder / "ids.npy").open("wb") as file:
        _write_header(file, 0)
        for texts in _batches(split, batch_rows):
            encodings = tokenizer.encode_batch(texts)
            lengths = np.fromiter((len(encoding) for encoding in encodings), np.int64, len(encodings))
            offsets[row + 1 : row + 1 + len(lengths)] = tokens + np.cumsum(lengths)
            flat = np.concatenate([np.asarray(encoding.ids, dtype=np.int32) for encoding in encodings])
            file.write(flat.tobytes())
            row, tokens = row + len(lengths), tokens + len(flat)
            truncated += sum(1 for encoding in encodings if encoding.overflowing)
        file.seek(0)
        _write_header(file, tokens)
    offsets.flush()
    (folder / "tokens.json").write_text(json.dumps({"rows": row, "tokens": tokens, "truncated": truncated}))
    logger.info("tokens %s | %s rows | %s tokens | %s truncated", split.name, f"{row:,}", f"{tokens:,}", truncated)


def _write_header(file: Any, tokens: int) -> None:
    """The .npy header; numpy pads it, so its size does not depend on the number of tokens."""
    np.lib.format.write_array_header_1_0(file, {"descr": "<i4", "fortran_order": False, "shape": (tokens,)})


def _batches(split: Split, batch_rows: int) -> Iterator[list[str]]:
    for batch in split.rows.select_columns(["text"]).iter(batch_rows):
        yield batch["text"]
