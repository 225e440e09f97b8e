"""Compiled layers: the weights of a fit without them, and a model that is as it was."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path

import pytest
import torch
from training_rows import context, fit_data, still_model

from evenodd.encoders import add_lora
from evenodd.settings import LoraSettings, TrainSettings
from evenodd.training import LabelObjective, fit
from evenodd.training.speedups import compiled
from evenodd.training.speedups.compiled import check_compilable, compiled_layers, not_compiled

SETTINGS = TrainSettings(epochs=1, token_budget=96, precision="fp32", learning_rate=1e-3, freeze_embeddings=False)


@pytest.mark.slow
@pytest.mark.parametrize("family", ["bert", "mpnet"])
def test_a_compiled_fit_ends_where_another_does(family: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Layers that are traced without the mask, the adapter or the first token's short cut would train another model."""
    monkeypatch.setattr(compiled, "BACKEND", "aot_eager")  # what inductor is given, without its kernels
    monkeypatch.setattr(compiled, "COMPILERS", ("sh",))
    plain = add_lora(still_model(family, depth=3), LoraSettings(rank=4, alpha=8, dropout=0.0))
    changed = copy.deepcopy(plain)
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    fit(plain, fit_data(), SETTINGS, LabelObjective(), context(tmp_path / "plain"))
    assert not torch._dynamo.utils.counters["stats"]
    compiling = SETTINGS.model_copy(update={"compile": True})
    fit(changed, fit_data(), compiling, LabelObjective(), context(tmp_path / "compiled"))
    assert torch._dynamo.utils.counters["stats"]["calls_captured"] > 0
    for (name, expected), value in zip(plain.state_dict().items(), changed.state_dict().values(), strict=True):
        torch.testing.assert_close(value, expected, rtol=1e-4, atol=1e-6, msg=lambda text, name=name: f"{name}: {text}")
    pickle.dumps(changed)


def test_layers_are_as_they_were_afterwards(monkeypatch: pytest.MonkeyPatch) -> None:
    """A model that stays compiled cannot be copied, and compiles again for every shape that it is scored with."""
    monkeypatch.setattr(compiled, "BACKEND", "eager")
    model = still_model(depth=2)
    layer = model.bert.encoder.layer[0]
    with compiled_layers(model):
        assert layer._compiled_call_impl is not None
        torch._dynamo.utils.counters.clear()
        with not_compiled():
            model(torch.tensor([[2, 5, 6]]))
        assert not torch._dynamo.utils.counters["frames"]
    assert layer._compiled_call_impl is None


def test_what_cannot_be_compiled_is_refused_in_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """torch's own error is of forty lines and comes after the teacher was fitted."""
    with pytest.raises(ValueError, match=r"train\.compile=true: not with packed batches"):
        check_compilable("cuda", packed=True)
    monkeypatch.setattr(compiled.shutil, "which", lambda name: None)
    with pytest.raises(ValueError, match=r"no C\+\+ compiler"):
        check_compilable("cpu", packed=False)
    check_compilable("cuda", packed=False)
