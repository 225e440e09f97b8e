"""Dropout on a CPU with random numbers that cost less than torch's."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - the field's name
from torch.overrides import TorchFunctionMode

LEVELS = 1 << 16


class FastDropout(TorchFunctionMode):
    """Within it, `torch.nn.functional.dropout` of CPU tensors draws 16 random bits an element from NumPy's SFC64.

    torch fills dropout's masks from one Mersenne Twister in one thread, which is a fifth of a bfloat16 training step.
    Each mask here has a generator of its own, seeded by one number of torch's: `torch.manual_seed` and a checkpoint's
    random state decide it as they decide torch's masks. The share dropped is `p` to the nearest 1/65,536. Modules and
    attention functions of every encoder family come through here; tensors elsewhere and evaluation are left to torch.
    """

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Takes calls of dropout over; all others go on as they are."""
        if func is F.dropout:
            return dropout(*args, **(kwargs or {}))
        return func(*args, **(kwargs or {}))


def dropout(input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    """`torch.nn.functional.dropout`: the same arguments and result, other random numbers."""
    keep = round((1 - p) * LEVELS)
    if not training or input.device.type != "cpu" or inplace or not 0 < keep < LEVELS:
        return F.dropout(input, p, training, inplace)
    mask = (random_bits(input.numel()) < keep - LEVELS // 2).to(input.dtype).mul_(LEVELS / keep)
    return input * mask.view(input.shape)


def random_bits(count: int) -> Tensor:
    """int16, (count,), uniform over all 65,536 values; the seed is drawn from torch's generator."""
    seed = int(torch.randint(0, 2**63 - 1, ()))
    drawn = np.random.SFC64(seed).random_raw(-(-count // 4))
    return torch.from_numpy(drawn.view(np.int16)[:count])
