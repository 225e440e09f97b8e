"""Dropout on a CPU with random numbers that cost less than torch's."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - the field's name
from torch.overrides import TorchFunctionMode

LEVELS = 256
DTYPES = (torch.float32, torch.bfloat16)


class FastDropout(TorchFunctionMode):
    """Within it, `torch.nn.functional.dropout` of CPU tensors draws one random byte an element from NumPy's SFC64.

    torch fills dropout's masks from one Mersenne Twister in one thread, which is a fifth of a bfloat16 training step.
    Each mask here has a generator of its own, seeded by one number of torch's: `torch.manual_seed` and a checkpoint's
    random state decide it as they decide torch's masks. Modules and attention functions of every encoder family come
    through here; tensors elsewhere, other types and evaluation are left to torch.
    """

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Takes calls of dropout over; all others go on as they are."""
        if func is F.dropout:
            return dropout(*args, **(kwargs or {}))
        return func(*args, **(kwargs or {}))


def dropout(input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    """`torch.nn.functional.dropout`: the same arguments, distribution of a result's elements and mean of the result.

    A byte can drop shares of 1/256 only: each mask drops the one below `p` or the one above it, at random and so often
    that an element is dropped with probability `p`, and scales what it keeps by its own share. Where less than 1/256
    is kept, torch drops.
    """
    kept, rest = divmod((1 - p) * LEVELS, 1)
    ours = training and not inplace and input.device.type == "cpu" and input.dtype in DTYPES
    if not ours or not 1 <= kept < LEVELS:
        return F.dropout(input, p, training, inplace)
    draw, drawn = random_bytes(input.numel())
    threshold = int(kept) + (draw < rest)
    return input * _mask(drawn < threshold, LEVELS / threshold, input.dtype).view(input.shape)


def random_bytes(count: int) -> tuple[float, np.ndarray]:
    """A number from 0 to 1, and uint8, (count,), uniform over all 256 values; torch's generator gives the seed."""
    seed = int(torch.randint(0, 2**63 - 1, ()))
    words = np.random.SFC64(seed).random_raw(1 - (-count // 8))
    return float(words[0]) / 2**64, words[1:].view(np.uint8)[:count]


def _mask(kept: np.ndarray, scale: float, dtype: torch.dtype) -> Tensor:
    """`scale` where `kept`, else 0: (elements,). NumPy multiplies bytes here ten times as fast as torch casts them."""
    if dtype == torch.float32:
        return torch.from_numpy(np.multiply(kept, np.float32(scale), dtype=np.float32))
    bits = torch.tensor(scale, dtype=dtype).view(torch.int16).item()
    return torch.from_numpy(np.multiply(kept, np.int16(bits), dtype=np.int16)).view(dtype)
