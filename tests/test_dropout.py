"""Our dropout is torch's with other random numbers."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from release_models import tiny_model
from torch.nn import functional as F  # noqa: N812 - the field's name

from evenodd.training.dropout import FastDropout, dropout, random_bytes


@pytest.mark.parametrize("p", [0.001, 0.1, 0.5, 0.99])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_share_asked_for_is_dropped_and_the_rest_scaled(p: float, dtype: torch.dtype) -> None:
    """Another share or scale would be another recipe, and no loss would show it. Bytes drop shares of 1/256."""
    torch.manual_seed(0)
    given = torch.full((40, 50), 2.0, dtype=dtype)
    found = torch.stack([dropout(given, p, True) for _ in range(2000)]).float()
    assert (found == 0).float().mean() == pytest.approx(p, rel=0.1)
    assert found.mean() == pytest.approx(2, rel=0.03)
    shares = (found == 0).flatten(1).float().mean(1)
    near = min(max(p, 2 / 256), 1 - 2 / 256)
    assert (shares - p).abs().max() < 1 / 256 + 5 * (near * (1 - near) / given.numel()) ** 0.5
    assert dropout(given, p, True).dtype == dtype


def test_what_is_kept_is_scaled_by_its_masks_share() -> None:
    given = torch.ones(400, 500)
    found = dropout(given, 0.1, True)
    assert set(found.unique().tolist()) <= {0.0, *(float(np.float32(256 / kept)) for kept in (230, 231))}
    assert torch.count_nonzero(found).item() / found.numel() == pytest.approx(1 / found.max().item(), abs=0.005)


def test_gradients_pass_where_values_did() -> None:
    """A mask of its own for the gradient would train noise."""
    given = torch.randn(30, 40, requires_grad=True)
    found = dropout(given, 0.3, True)
    found.sum().backward()
    torch.testing.assert_close(given.grad * given.detach(), found.detach())


def test_bytes_are_uniform_and_differ_from_call_to_call() -> None:
    """Masks that repeat, or lean to one side, would drop the same units again and again."""
    torch.manual_seed(1)
    (one, first), (other, second) = random_bytes(1 << 18), random_bytes(1 << 18)
    assert first.dtype == np.uint8
    counts = np.bincount(first, minlength=256) / (len(first) / 256)
    assert np.abs(counts - 1).max() < 0.2
    assert abs(np.corrcoef(first, second)[0, 1]) < 0.01
    assert 0 <= one < 1
    assert one != other
    assert random_bytes(3)[1].shape == (3,)


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
