"""What precision a fit runs in, what it leaves behind on the model, and how near it came to the ceiling."""

from __future__ import annotations

import copy
import logging
import time
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from release_models import tiny_model
from torch import nn
from training_rows import context, fit_data, still_model

from evenodd.encoders import init_student, state_digest
from evenodd.settings import TrainSettings
from evenodd.training import LabelObjective, ceiling, ceiling_figures, choose_precision, fit, training_flops
from evenodd.training import precision as probed
from evenodd.training.arguments import OneDevice
from evenodd.training.checkpoints import last_checkpoint
from evenodd.training.fit import _remove_autocast
from evenodd.training.precision import Precision, autocast, product_rates


def test_a_fitted_model_computes_in_float32_again() -> None:
    """Scores taken after a bfloat16 fit would be those of another precision than the registered weights give."""
    model = nn.Linear(64, 8)
    texts = torch.randn(16, 64)
    expected = model(texts)
    plain = model.forward

    def patched(rows: torch.Tensor) -> torch.Tensor:
        with autocast("bf16"):
            return plain(rows).float()

    model.forward = patched  # type: ignore[method-assign]
    assert not torch.equal(model(texts), expected)
    _remove_autocast(model)
    assert torch.equal(model(texts), expected)


def test_measuring_the_machine_leaves_random_numbers_alone() -> None:
    """Adapters begun after a probe would depend on whether this process had probed before, and on its speed."""
    product_rates.cache_clear()
    before = torch.get_rng_state()
    choose_precision("auto")
    assert product_rates.cache_info().misses == 1
    assert torch.equal(torch.get_rng_state(), before)


def test_a_fit_in_another_precision_does_not_go_on_with_the_first(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Another machine, or a busy hour, may choose another precision than the one that a fit was begun in."""
    data = fit_data()
    settings = TrainSettings(epochs=2, token_budget=128, max_rows=16, precision="fp32")
    other = settings.model_copy(update={"precision": "bf16"})

    def interrupt(metrics: dict[str, float], step: int) -> None:
        if "validation/f1_macro" in metrics and last_checkpoint(tmp_path / "cut"):
            raise InterruptedError

    with pytest.raises(InterruptedError):
        fit(tiny_model(), data, settings, LabelObjective(), context(tmp_path / "cut", report=interrupt))
    whole, gone_on = tiny_model(), tiny_model()
    fit(whole, data, other, LabelObjective(), context(tmp_path / "whole"))
    with caplog.at_level(logging.INFO, logger="evenodd"):
        fit(gone_on, data, other, LabelObjective(), context(tmp_path / "cut"))
    assert "1 process(es) in fp32, this one has 1 in bf16: starting anew" in caplog.text
    assert state_digest(gone_on.state_dict()) == state_digest(whole.state_dict())


def test_a_fit_takes_one_gpu_of_several(tmp_path: Path) -> None:
    """Trainer's DataParallel copies the model to all of them, and our patches of the last layer do not follow."""
    arguments = OneDevice(str(tmp_path), use_cpu=True)
    arguments._n_gpu = 4
    assert arguments.n_gpu == 1


def test_a_further_fit_of_a_model_or_of_its_copy_computes_in_bfloat16_too(tmp_path: Path) -> None:
    """accelerate takes a model that it has seen for one that has its mixed precision: a student copied from a teacher
    fitted in the same process trained in float32, half as fast, under a log line that said bf16.
    """
    data, model = fit_data(), tiny_model()
    settings = TrainSettings(epochs=1, token_budget=128, max_rows=16, precision="bf16")
    for number, fitted in enumerate((model, model, copy.deepcopy(model), init_student(model, (1, 3)).model)):
        seen: set[torch.dtype] = set()

        def note(module: nn.Module, inputs: Any, output: torch.Tensor, seen: set[torch.dtype] = seen) -> None:
            seen.update([output.dtype] if module.training else [])

        layer = fitted.bert.encoder.layer[0].intermediate.dense
        handle = layer.register_forward_hook(note)
        fit(fitted, data, settings, LabelObjective(), context(tmp_path / str(number)))
        handle.remove()
        assert seen == {torch.bfloat16}


@pytest.mark.parametrize("family", ["bert", "roberta", "distilbert"])
def test_operations_are_those_of_the_shapes(family: str) -> None:
    """A share of the ceiling that counts padding, or frozen weights' gradients, flatters."""
    model, lengths = still_model(family, depth=3), np.array([3, 11, 40, 64])
    hidden, inner, head = 32, 64, 2 * 32 * (32 + 2)
    products = 2 * (4 * hidden * hidden + 2 * hidden * inner) * lengths + 4 * hidden * lengths**2
    expected = 3 * 3 * products.sum() + 3 * len(lengths) * head
    assert training_flops(model, lengths) == pytest.approx(expected, rel=0.01)
    assert all(parameter.grad is None for parameter in model.parameters())
    model.requires_grad_(False)
    model.classifier.requires_grad_(True)
    assert training_flops(model, lengths) == pytest.approx(3 * products.sum() + len(lengths) * head, rel=0.02)


def test_figures_hold_the_fit_against_the_probed_product(monkeypatch: pytest.MonkeyPatch) -> None:
    """Against the wrong precision's product the share is out by a factor of two."""
    rates = {"fp32": 100.0, "bf16": 400.0}
    monkeypatch.setattr(ceiling, "product_rates", lambda device: rates)
    model, lengths = tiny_model(), np.array([8, 8])
    flops = training_flops(model, lengths)
    for precision, rate in rates.items():
        figures = ceiling_figures(model, lengths, rows_per_second=50.0, precision=cast(Precision, precision))
        assert figures["cost/train_gflops"] == pytest.approx(flops / 2 * 50 / 1e9)
        assert figures["cost/share_of_ceiling"] == pytest.approx(flops / 2 * 50 / 1e9 / rate)
        assert figures["cost/bf16"] == (precision == "bf16")


def test_the_probe_is_short_and_made_once() -> None:
    """A probe of seconds in every fit would cost more than it gains."""
    product_rates.cache_clear()
    started = time.thread_time()
    rates = product_rates("cpu")
    assert rates["fp32"] > 0
    assert rates["bf16"] > 0
    assert time.thread_time() - started < 5
    assert product_rates("cpu") is rates


@pytest.mark.parametrize(("rate", "largest"), [(0.5, 256), (50.0, 1024), (500_000.0, 8192)])
def test_the_probe_grows_only_while_products_are_quick(
    rate: float, largest: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One size for all is seconds of waiting on a slow processor, and launch overhead alone on a GPU."""
    sizes: list[int] = []

    def measure(dtype: torch.dtype, device: torch.device, *, size: int) -> float:
        sizes.append(size)
        return rate

    monkeypatch.setattr(probed, "measure_product", measure)
    assert probed.measure_rates("cpu") == {"fp32": rate, "bf16": rate}
    assert max(sizes) == largest


@pytest.mark.parametrize(("bf16", "expected"), [(120.0, "fp32"), (140.0, "bf16")])
def test_the_choice_says_why(
    bf16: float, expected: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Nobody looks into a fit at half the speed if no message says that bf16 was not faster."""
    monkeypatch.setattr(probed, "product_rates", lambda device: {"fp32": 100.0, "bf16": bf16})
    with caplog.at_level(logging.INFO, logger="evenodd"):
        assert choose_precision("auto") == expected
        assert choose_precision("fp32") == "fp32"
    assert f"{bf16:.0f} in bf16: {bf16 / 100:.1f} times" in caplog.text
    assert "as set" in caplog.text
