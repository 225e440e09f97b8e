"""Importance of layers: three scores, and layers that are skipped and come back."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from release_models import BUILDERS, tiny_model
from torch.nn import functional as F  # noqa: N812 - the field's name
from training_rows import random_store

from evenodd.encoders.encoder import encoder_layers, state_digest
from evenodd.encoders.importance import choose_important, highest, score_layers, skipping
from evenodd.encoders.student import init_student
from evenodd.report.importance import importance_figure, importance_table
from evenodd.rows import TokenStore

SCORERS = ("influence", "drop", "greedy")
USELESS = 3


@pytest.fixture(scope="module")
def rows() -> TokenStore:
    return random_store(48, seed=1)


def with_useless_layer() -> torch.nn.Module:
    """Four BERT layers of which the third hardly changes what passes through; the others do a lot.

    Layers end in a normalisation that leaves an already normalised state as it is.
    """
    model = tiny_model("bert", depth=4, seed=2)
    with torch.no_grad():
        for number, layer in enumerate(encoder_layers(model), start=1):
            for dense in (layer.attention.output.dense, layer.output.dense):
                dense.weight.mul_(0 if number == USELESS else 20)
                dense.bias.zero_()
        model.classifier.weight.mul_(30)
        model.bert.pooler.dense.weight.mul_(10)
    return model


@pytest.mark.parametrize("scorer", SCORERS)
def test_a_planted_useless_layer_is_found(scorer, rows):
    """A score that points at the wrong layers would keep the useless one."""
    model = with_useless_layer()
    labels = torch.cat([model(**rows.collate(np.array([row]))).logits.argmax(-1) for row in range(48)]).numpy()
    found = score_layers(model, rows, labels, 3, scorer)
    assert found.kept == (1, 2, 4)
    assert int(np.argmin(found.scores)) + 1 == USELESS
    assert choose_important(model, rows, labels, 3, scorer) == found.kept


def test_influence_is_the_mean_over_real_tokens(rows):
    """Padding would count as tokens, and batches of short texts as much as those of long ones."""
    model = tiny_model("bert", depth=4, seed=3)
    labels = np.arange(48) % 2
    total, tokens = np.zeros(4), 0
    for row in range(48):
        with torch.no_grad():
            batch = rows.collate(np.array([row]), pad_to_multiple=1)
            states = model(**batch, output_hidden_states=True).hidden_states
        for layer in range(4):
            total[layer] += float((1 - F.cosine_similarity(states[layer][0], states[layer + 1][0], dim=-1)).sum())
        tokens += states[0].shape[1]
    assert np.allclose(score_layers(model, rows, labels, 2, "influence").scores, total / tokens, atol=1e-6)


def test_drop_is_the_rise_of_the_balanced_loss_of_the_student_without_the_layer(rows):
    """Skipping in place would not be what removing the layer is."""
    model = with_useless_layer()
    labels = np.arange(48) % 3 // 2

    def loss(of: torch.nn.Module) -> float:
        with torch.no_grad():
            logits = torch.cat([of(**rows.collate(np.array([row]))).logits for row in range(48)]).double()
        losses = F.cross_entropy(logits, torch.from_numpy(labels), reduction="none").numpy()
        return float(np.mean([losses[labels == label].mean() for label in (0, 1)]))

    expected = [loss(init_student(model, tuple({1, 2, 3, 4} - {left})).model) - loss(model) for left in (1, 2, 3, 4)]
    assert np.allclose(score_layers(model, rows, labels, 2, "drop").scores, expected, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("family", BUILDERS)
def test_a_model_that_skips_layers_answers_like_the_student_without_them(family, rows):
    """A family whose layers return tuples or bring their own masks would break, or score something else."""
    model = tiny_model(family, depth=4, seed=4)
    before, batch = state_digest(model.state_dict()), rows.collate(np.arange(8))
    with torch.no_grad():
        whole = model(**batch).logits
        with skipping(model, (2, 3)):
            skipped = model(**batch).logits
        assert torch.equal(model(**batch).logits, whole)
        student = init_student(model, (1, 4)).model
        assert torch.allclose(student(**batch).logits, skipped, atol=1e-6)
    assert state_digest(model.state_dict()) == before
    assert all(np.isfinite(score_layers(model, rows, np.arange(48) % 2, 2, "influence").scores))


def test_layers_come_back_after_an_error(rows):
    """An interrupted scoring would leave a crippled teacher behind."""
    model = tiny_model("bert", depth=4, seed=5)
    layers = list(encoder_layers(model))
    with pytest.raises(KeyError), skipping(model, (2,)):
        raise KeyError("stop")
    assert all(a is b for a, b in zip(layers, encoder_layers(model), strict=True))


@pytest.mark.parametrize("scorer", SCORERS)
def test_scoring_leaves_the_model_as_it_was(scorer, rows):
    """A teacher left in evaluation mode, or with hooks, would be another one afterwards."""
    model = tiny_model("bert", depth=4, seed=6).train()
    before = copy.deepcopy(model.state_dict())
    score_layers(model, rows, np.arange(48) % 2, 2, scorer, rows=16)
    assert model.training
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert not any(layer._forward_hooks for layer in encoder_layers(model))


@pytest.mark.parametrize(("keep", "scorer"), [(0, "drop"), (5, "drop"), (2, "size")])
def test_what_cannot_be_scored_is_refused(keep, scorer, rows):
    """A map of no layers, or of chance, would be distilled."""
    with pytest.raises(ValueError, match=r"depth=|importance="):
        score_layers(tiny_model("bert", depth=4, seed=7), rows, np.arange(48) % 2, keep, scorer)


def test_table_and_figure_say_which_layers_are_kept(rows):
    """Rank 1 on the least important layer would mislead the reader."""
    found = score_layers(tiny_model("bert", depth=4, seed=8), rows, np.arange(48) % 2, 2, "influence")
    table = importance_table(found)
    assert tuple(table.loc[table["kept"], "layer"]) == found.kept == highest(found.scores, (1, 2, 3, 4), 2)
    assert set(table.loc[table["kept"], "rank"]) == {1, 2}
    assert isinstance(importance_figure(found), Figure)
