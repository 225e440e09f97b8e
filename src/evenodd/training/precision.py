"""Which precision pays on this machine: found by a short measured product, not by the processor's name."""

from __future__ import annotations

import functools
import logging
import time
from contextlib import AbstractContextManager, nullcontext
from typing import Literal

import torch

log = logging.getLogger(__name__)

Precision = Literal["fp32", "bf16"]
WORTH_IT = 1.3


def measure_product(dtype: torch.dtype, device: torch.device, *, size: int = 1024, repeats: int = 5) -> float:
    """Fastest of a few square matrix products, in GFLOP/s."""
    a = torch.randn(size, size, device=device).to(dtype)
    best = float("inf")
    for _ in range(repeats + 1):
        _wait(device)
        start = time.perf_counter()
        a @ a
        _wait(device)
        best = min(best, time.perf_counter() - start)
    return 2 * size**3 / best / 1e9


@functools.cache
def product_rates(device: str = "cpu") -> dict[str, float]:
    """GFLOP/s of a matrix product in each precision, measured once a process (about 50 ms on a CPU)."""
    where = torch.device(device)
    return {"fp32": measure_product(torch.float32, where), "bf16": measure_product(torch.bfloat16, where)}


def choose_precision(asked: Literal["auto", "fp32", "bf16"], device: str = "cpu") -> Precision:
    """What was asked for; for `auto`, bf16 where its products run at least 1.3 times as fast as float32's."""
    if asked != "auto":
        return asked
    rates = product_rates(device)
    chosen: Precision = "bf16" if rates["bf16"] >= WORTH_IT * rates["fp32"] else "fp32"
    log.info("precision %s | %s | %.0f GFLOP/s fp32, %.0f bf16", chosen, device, rates["fp32"], rates["bf16"])
    return chosen


def autocast(precision: Precision, device: str = "cpu") -> AbstractContextManager:
    """The context in which a forward pass runs."""
    return torch.autocast(device, dtype=torch.bfloat16) if precision == "bf16" else nullcontext()


def best_device() -> str:
    """`cuda` when there is one, else `cpu`."""
    return "cuda" if torch.cuda.is_available() else "cpu"


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
