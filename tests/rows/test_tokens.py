"""Token ids on disk equal the tokenizer's, and batches equal manual padding."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from evenodd.rows import Split, tokens
from evenodd.rows.tokens import TokenStore, plain_tokenizer, token_store

WORDS = ["the", "cat", "sat", "on", "mat", "not", "##s"]


def make_tokenizer(*more: str) -> PreTrainedTokenizerFast:
    vocabulary = {word: place for place, word in enumerate(["[PAD]", "[UNK]", "[CLS]", "[SEP]", *WORDS, *more])}
    backend = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    backend.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    return PreTrainedTokenizerFast(tokenizer_object=backend, pad_token="[PAD]", unk_token="[UNK]")


def make_split(texts: list[str], digest: str = "d") -> Split:
    return Split("train", datasets.Dataset.from_dict({"text": texts, "label": [0] * len(texts)}), digest)


def random_texts(rows: int, seed: int) -> list[str]:
    rng = np.random.default_rng(seed)
    return [" ".join(rng.choice(WORDS[:6], rng.integers(1, 30))) for _ in range(rows)]


def make_store(texts: list[str], tmp_path: Path, max_length: int = 16, **more: Any) -> TokenStore:
    return token_store(make_split(texts), make_tokenizer(), max_length=max_length, cache=tmp_path, **more)


def test_ids_are_those_of_transformers(tmp_path: Path) -> None:
    """Training on other ids than serving computes is a difference that no metric explains."""
    texts = random_texts(57, 0)
    store = make_store(texts, tmp_path, batch_rows=10)
    expected = make_tokenizer()(texts, truncation=True, max_length=16)["input_ids"]
    assert [store.ids(row).tolist() for row in range(len(store))] == expected
    assert store.lengths.dtype == np.int32
    assert store.lengths.tolist() == [len(ids) for ids in expected]
    assert store.truncated == sum(len(text.split()) > 14 for text in texts)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.lists(st.integers(0, 39), min_size=1, max_size=12), st.sampled_from([1, 4, 8, 32]))
def test_a_batch_is_what_padding_by_hand_gives(tmp_path: Path, rows: list[int], multiple: int) -> None:
    """A shifted id or a mask that covers padding trains on noise."""
    store = make_store(random_texts(40, 1), tmp_path)
    batch = store.collate(np.array(rows), multiple)
    ids = [store.ids(row).tolist() for row in rows]
    longest = max(map(len, ids))
    width = max(longest, min(-(-longest // multiple) * multiple, 16))
    assert batch["input_ids"].tolist() == [row + [0] * (width - len(row)) for row in ids]
    assert batch["attention_mask"].tolist() == [[1] * len(row) + [0] * (width - len(row)) for row in ids]
    assert batch["input_ids"].dtype == batch["attention_mask"].dtype == torch.int64


def test_the_width_of_a_batch_stops_at_the_length_limit(tmp_path: Path) -> None:
    """Positions beyond the limit may not exist in the model."""
    store = make_store(["cat " * 50], tmp_path, max_length=13)
    assert store.collate(np.array([0]))["input_ids"].shape == (1, 13)


def test_a_stored_split_is_opened_and_not_tokenised_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A million rows take minutes to tokenise and no time to open."""
    texts = random_texts(20, 2)
    first = make_store(texts, tmp_path)
    monkeypatch.setattr(tokens, "_write", None)
    second = make_store(texts, tmp_path)
    np.testing.assert_array_equal(first.flat, second.flat)
    assert isinstance(second.flat, np.memmap)
    assert second.truncated == first.truncated


def test_what_the_ids_depend_on_is_in_the_key(tmp_path: Path) -> None:
    """Ids of another tokenizer, split or length must never be opened for this one."""
    split, tokenizer = make_split(["the cat"]), make_tokenizer()
    digests = {
        token_store(split, tokenizer, max_length=16, cache=tmp_path).digest,
        token_store(split, tokenizer, max_length=17, cache=tmp_path).digest,
        token_store(split, make_tokenizer("dog"), max_length=16, cache=tmp_path).digest,
        token_store(make_split(["the cat"], "other"), tokenizer, max_length=16, cache=tmp_path).digest,
    }
    assert len(digests) == 4
    tokenizer(["the cat"], truncation=True, max_length=4, padding="max_length")
    assert token_store(split, tokenizer, max_length=16, cache=tmp_path).digest in digests


def test_an_interruption_leaves_no_half_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A store of the first rows only would be opened as if it were whole."""

    def interrupted(*_: Any) -> Any:
        yield ["the cat"]
        raise KeyboardInterrupt

    monkeypatch.setattr(tokens, "_batches", interrupted)
    with pytest.raises(KeyboardInterrupt):
        make_store(random_texts(20, 3), tmp_path)
    assert list((tmp_path / "tokens").iterdir()) == []
    monkeypatch.undo()
    assert len(make_store(random_texts(20, 3), tmp_path)) == 20


def test_the_tokenizer_is_left_as_it_was(tmp_path: Path) -> None:
    """Truncation switched on in passing would cut the texts that the service explains."""
    tokenizer = make_tokenizer()
    token_store(make_split(["cat " * 50]), tokenizer, max_length=16, cache=tmp_path)
    assert tokenizer.backend_tokenizer.truncation is None
    assert len(tokenizer("cat " * 50)["input_ids"]) == 52
    assert plain_tokenizer(tokenizer).truncation is None


def test_a_tokenizer_that_cannot_serve_is_refused(tmp_path: Path) -> None:
    """Found out at export, after training, it costs the training."""
    split = make_split(["the cat"])
    with pytest.raises(ValueError, match="not a fast tokenizer"):
        token_store(split, object(), max_length=16, cache=tmp_path)
    bare = PreTrainedTokenizerFast(tokenizer_object=make_tokenizer().backend_tokenizer)
    with pytest.raises(ValueError, match="no padding token"):
        token_store(split, bare, max_length=16, cache=tmp_path)
    with pytest.raises(ValueError, match="special tokens"):
        token_store(split, make_tokenizer(), max_length=2, cache=tmp_path)


def test_a_row_that_is_not_there_is_an_index_error(tmp_path: Path) -> None:
    """Row -1 would quietly be an empty or a wrong row."""
    store = make_store(["the cat"], tmp_path)
    for row in (-1, 1):
        with pytest.raises(IndexError):
            store.ids(row)
