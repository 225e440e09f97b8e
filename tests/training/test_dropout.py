"""Our dropout is torch's with masks from a pool."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from release_models import tiny_model
from torch.nn import functional as F  # noqa: N812 - the field's name
from training_rows import context, fit_data
from transformers import TrainerCallback

from evenodd.settings import TrainSettings
from evenodd.training import LabelObjective, fit
from evenodd.training.speedups.dropout import LARGEST_POOL, LEAST_MASKS, MASKS, USES, DropoutPool


@pytest.mark.parametrize("p", [0.001, 0.1, 0.5, 0.99])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_share_asked_for_is_dropped_and_the_rest_scaled(p: float, dtype: torch.dtype) -> None:
    """Another share or scale would be another recipe, and no loss would show it."""
    torch.manual_seed(0)
    pool, given = DropoutPool(), torch.full((40, 500), 2.0, dtype=dtype)
    found = torch.stack([pool.dropout(given, p) for _ in range(400)]).float()
    count = min(MASKS * given.numel(), LARGEST_POOL) * 400 / (USES * MASKS)
    assert (found == 0).float().mean() == pytest.approx(p, abs=5 * (p * (1 - p) / count) ** 0.5)
    assert found.max() == pytest.approx(2 / (1 - p), rel=0.005)
    shares = (found == 0).flatten(1).float().mean(1)
    assert shares.std() == pytest.approx((p * (1 - p) / given.numel()) ** 0.5, rel=0.25)
    assert pool.dropout(given, p).dtype == dtype


def test_gradients_pass_where_values_did() -> None:
    """A different mask for the gradient would train noise."""
    given = torch.randn(30, 40, requires_grad=True)
    found = DropoutPool().dropout(given, 0.3)
    found.sum().backward()
    torch.testing.assert_close(given.grad * given.detach(), found.detach())


def test_masks_do_not_repeat_and_neighbours_are_independent() -> None:
    """Units that are always dropped together, or again and again, are not trained as with torch's masks."""
    torch.manual_seed(1)
    pool = DropoutPool()
    masks = torch.stack([pool.mask(4096, 0.5, torch.float32) for _ in range(256)])
    assert len(torch.unique(masks, dim=0)) > 230  # of 3,841 places in the pool
    kept = (masks > 0).double().numpy()
    between = np.corrcoef(kept)[np.triu_indices(len(kept), 1)]
    assert (np.abs(between) > 0.1).mean() < 0.001
    for distance in (1, 2, 16, 64):
        assert abs(np.corrcoef(kept[:, distance:].ravel(), kept[:, :-distance].ravel())[0, 1]) < 0.02


def test_a_pool_is_drawn_anew_after_its_uses_and_for_larger_masks() -> None:
    """A long fit would see the same few million numbers for ever, and a mask cannot be longer than its pool."""
    pool, kind = DropoutPool(), (0.1, torch.float32)
    pool.mask(1000, *kind)
    first = pool.pools[kind]
    assert len(first) >= MASKS * 1000
    for _ in range(len(first) * USES // 1000):
        pool.mask(1000, *kind)
    assert pool.pools[kind] is first
    for _ in range(2):
        pool.mask(1000, *kind)
    second = pool.pools[kind]
    assert second is not first
    assert len(pool.mask(len(second), *kind)) == len(second)
    assert len(pool.pools[kind]) >= LEAST_MASKS * len(second)


def test_what_is_larger_than_any_pool_is_torchs() -> None:
    """Long rows' attention maps of a large model do not fit."""
    pool = DropoutPool()
    found = pool.dropout(torch.ones(LARGEST_POOL // LEAST_MASKS + 1), 0.25)
    assert (found == 0).float().mean() == pytest.approx(0.25, abs=0.01)
    assert not pool.pools


def test_the_seed_of_torch_decides_the_masks_of_a_whole_model() -> None:
    """A fit repeats, and goes on after an interruption, only if its dropout does."""
    model = tiny_model().train()
    ids = torch.arange(5, 25).view(2, 10)

    def run(seed: int) -> torch.Tensor:
        torch.manual_seed(seed)
        with DropoutPool().in_use(), torch.no_grad():
            return model(input_ids=ids, attention_mask=torch.ones_like(ids)).logits

    torch.testing.assert_close(run(3), run(3), rtol=0, atol=0)
    assert not torch.equal(run(3), run(4))


def test_evaluation_and_zero_are_left_alone() -> None:
    """Scores must not be random."""
    given = torch.randn(50, 50)
    with DropoutPool().in_use():
        assert torch.equal(F.dropout(given, 0.5, training=False), given)
        assert torch.equal(F.dropout(given, 0.0), given)
        assert not torch.equal(F.dropout(given, 0.5), given)
        assert torch.equal(F.dropout(given, 1.0), torch.zeros_like(given))
        assert F.dropout(torch.empty(0, 4), 0.5).shape == (0, 4)


@pytest.mark.parametrize("fails", [False, True])
def test_torchs_own_dropout_is_back_afterwards(fails: bool) -> None:
    """Whoever trains something else in this process has nothing to do with ours."""
    before = F.dropout
    try:
        with DropoutPool().in_use():
            assert F.dropout is not before
            if fails:
                raise InterruptedError
    except InterruptedError:
        pass
    assert F.dropout is before


def test_each_epoch_of_a_fit_draws_a_pool_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A fit that resumes from a checkpoint has no pool of the previous epoch, so none may be carried over."""
    seen: dict[float, set[int]] = {}
    drawn = DropoutPool.mask

    class Epochs(TrainerCallback):
        epoch = 0.0

        def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            Epochs.epoch = float(int(state.epoch))

    def note(pool: DropoutPool, count: int, p: float, dtype: torch.dtype) -> torch.Tensor:
        found = drawn(pool, count, p, dtype)
        seen.setdefault(Epochs.epoch, set()).add(hash(pool.pools[p, dtype].sum().item()))
        return found

    monkeypatch.setattr(DropoutPool, "mask", note)
    settings = TrainSettings(epochs=3, token_budget=128, max_rows=16, precision="fp32")
    fit(tiny_model(), fit_data(), settings, LabelObjective(), context(tmp_path, callbacks=(Epochs(),)))
    assert len(seen) == 3
    assert not seen[0.0] & seen[1.0]
    assert not seen[1.0] & seen[2.0]
