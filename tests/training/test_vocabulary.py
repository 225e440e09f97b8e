"""A fit that trains word embeddings trains those of its tokens, and leaves the others as they were."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from release_models import BUILDERS, tiny_model
from torch import nn
from training_rows import context, fit_data, random_store, still_model

from evenodd.encoders.encoder import word_embeddings
from evenodd.settings import TrainSettings
from evenodd.training import LabelObjective, fit, predict_logits
from evenodd.training.speedups.vocabulary import tokens_of, used_tokens_only

SETTINGS = TrainSettings(epochs=2, learning_rate=3e-3, token_budget=128, precision="fp32", freeze_embeddings=False)


@pytest.mark.parametrize("family", sorted(BUILDERS))
def test_logits_of_every_family_stay_and_the_table_comes_back(family: str) -> None:
    """A row of the reduced table that belongs to another token changes every score."""
    model, store = tiny_model(family), random_store(20)
    table = word_embeddings(model)
    before, whole, rows = predict_logits(model, store), table.weight, len(table.weight)
    with used_tokens_only(model, (store,)) as used:
        assert len(np.unique(store.flat)) < used == len(table.weight) < rows
        assert torch.equal(torch.from_numpy(predict_logits(model, store)), torch.from_numpy(before))
    assert table.weight is whole
    assert len(whole) == rows
    assert np.array_equal(predict_logits(model, store), before)


def test_a_fit_changes_the_rows_of_its_tokens_and_no_other(tmp_path: Path) -> None:
    """Weight decay would shrink words that no text holds; training that is lost on the way back would show too."""
    model, data = still_model(), fit_data()
    before = word_embeddings(model).weight.detach().clone()
    fit(model, data, SETTINGS.model_copy(update={"weight_decay": 0.1}), LabelObjective(), context(tmp_path))
    moved = (word_embeddings(model).weight.detach() != before).any(dim=1)
    trained = tokens_of((data.train,), len(before))
    seen = tokens_of((data.train, data.validation), len(before))
    assert moved[trained[trained != data.train.pad_token_id]].all()
    untouched = torch.ones(len(before), dtype=torch.bool)
    untouched[seen] = False
    assert untouched.any()
    assert not moved[untouched].any()


def test_weights_are_those_of_a_fit_over_the_whole_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows without a gradient change neither the norm that gradients are clipped by nor the others' steps."""
    data, models = fit_data(), {name: still_model() for name in ("short", "whole")}
    for name, model in models.items():
        if name == "whole":
            everything = torch.arange(len(word_embeddings(model).weight))
            monkeypatch.setattr("evenodd.training.speedups.vocabulary.tokens_of", lambda *_, every=everything: every)
        settings = SETTINGS.model_copy(update={"weight_decay": 0.0})
        fit(model, data, settings, LabelObjective(), context(tmp_path / name))
    expected = models["whole"].state_dict()
    for name, value in models["short"].state_dict().items():
        torch.testing.assert_close(value, expected[name], msg=name)


def test_a_frozen_table_stays_whole() -> None:
    """What is not trained costs nothing to keep."""
    model = tiny_model()
    table = word_embeddings(model)
    table.requires_grad_(False)
    assert isinstance(table, nn.Embedding)
    with used_tokens_only(model, (random_store(5),)) as used:
        assert used == table.num_embeddings == len(table.weight)


def test_a_token_that_no_store_holds_is_an_error() -> None:
    """Another word's embedding in its place would be a silent fault."""
    model, store = tiny_model(), random_store(5)
    missing = next(token for token in range(5, 60) if token not in store.flat)
    ids = torch.tensor([[2, missing]])
    with used_tokens_only(model, (store,)), pytest.raises(IndexError):
        model(input_ids=ids, attention_mask=torch.ones_like(ids))
