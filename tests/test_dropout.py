"""Our dropout is torch's with other random numbers."""

from __future__ import annotations

import pytest
import torch
from release_models import tiny_model
from torch.nn import functional as F  # noqa: N812 - the field's name

from evenodd.training.dropout import FastDropout, dropout, random_bits


@pytest.mark.parametrize("p", [0.1, 0.5])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_share_asked_for_is_dropped_and_the_rest_scaled(p: float, dtype: torch.dtype) -> None:
    """Another share or scale would be another recipe, and no loss would show it."""
    torch.manual_seed(0)
    given = torch.full((400, 500), 2.0, dtype=dtype)
    found = dropout(given, p, True)
    kept = found[found != 0]
    assert found.dtype == dtype
    assert kept.numel() / given.numel() == pytest.approx(1 - p, abs=4 * (p * (1 - p) / given.numel()) ** 0.5)
    torch.testing.assert_close(kept, torch.full_like(kept, 2 / (1 - p)), rtol=4e-3, atol=0)


def test_gradients_pass_where_values_did() -> None:
    """A mask of its own for the gradient would train noise."""
    given = torch.randn(30, 40, requires_grad=True)
    found = dropout(given, 0.3, True)
    found.sum().backward()
    torch.testing.assert_close(given.grad * given.detach(), found.detach())


def test_bits_are_uniform_and_differ_from_call_to_call() -> None:
    """Masks that repeat, or lean to one side, would drop the same units again and again."""
    torch.manual_seed(1)
    first, second = random_bits(1 << 18), random_bits(1 << 18)
    assert first.dtype == torch.int16
    counts = torch.histc(first.float(), 16, -32768, 32767)
    assert (counts / first.numel() * 16 - 1).abs().max() < 0.05
    assert abs(torch.corrcoef(torch.stack([first.float(), second.float()]))[0, 1]) < 0.01
    assert random_bits(3).shape == (3,)


def test_the_seed_of_torch_decides_the_masks_of_a_whole_model() -> None:
    """A fit repeats, and goes on after an interruption, only if its dropout does."""
    model = tiny_model().train()
    ids = torch.arange(5, 25).view(2, 10)

    def run(seed: int) -> torch.Tensor:
        torch.manual_seed(seed)
        with FastDropout(), torch.no_grad():
            return model(input_ids=ids, attention_mask=torch.ones_like(ids)).logits

    torch.testing.assert_close(run(3), run(3), rtol=0, atol=0)
    assert not torch.equal(run(3), run(4))


def test_evaluation_and_zero_are_left_alone() -> None:
    """Scores must not be random."""
    given = torch.randn(50, 50)
    with FastDropout():
        assert torch.equal(F.dropout(given, 0.5, training=False), given)
        assert torch.equal(F.dropout(given, 0.0), given)
        assert not torch.equal(F.dropout(given, 0.5), given)
        assert torch.equal(F.dropout(given, 1.0), torch.zeros_like(given))
