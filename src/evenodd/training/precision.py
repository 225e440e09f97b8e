"""Chooses the fastest precision of this machine by timing a short product, not by the processor's name."""

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
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}
SMALLEST, LARGEST = 128, 8192
REPEATS = 3
PROBE_SECONDS = 0.3


def measure_product(dtype: torch.dtype, device: torch.device, *, size: int) -> float:
    """Fastest of a few square matrix products, in GFLOP/s. The global random state is not changed."""
    generator = torch.Generator(device).manual_seed(0)
    a = torch.randn(size, size, device=device, generator=generator).to(dtype)
    best = float("inf")
    for _ in range(REPEATS + 1):
        _wait(device)
        start = time.perf_counter()
        a @ a
        _wait(device)
        best = min(best, time.perf_counter() - start)
    return 2 * size**3 / best / 1e9


_given_rates: dict[str, dict[str, float]] = {}


def know_rates(device: str, rates: dict[str, float]) -> None:
    """Sets the rates: a process beside others cannot measure them, and all processes must choose the same precision."""
    _given_rates[device] = rates
    product_rates.cache_clear()


@functools.cache
def product_rates(device: str = "cpu") -> dict[str, float]:
    """GFLOP/s of a matrix product in each precision, measured once per process unless they were set."""
    return _given_rates.get(device) or measure_rates(device)


def measure_rates(device: str = "cpu") -> dict[str, float]:
    """Measures the GFLOP/s of a matrix product in each precision, in at most about a second.

    The size starts small and is doubled as long as the next product will be quick: a processor without bf16
    instructions runs bf16 products at 1 GFLOP/s or less, while a GPU needs large products to be busy.
    """
    rates = {name: _best_rate(dtype, torch.device(device)) for name, dtype in DTYPES.items()}
    # Another process may have used the core while float32 ran, which would make bf16 look fast.
    rates["fp32"] = max(rates["fp32"], _best_rate(DTYPES["fp32"], torch.device(device)))
    return rates


def choose_precision(asked: Literal["auto", "fp32", "bf16"], device: str = "cpu") -> Precision:
    """The given precision; for `auto`, bf16 if its products run at least 1.3 times as fast as float32's."""
    if asked != "auto":
        log.info("precision %s | %s | as set", asked, device)
        return asked
    rates = product_rates(device)
    gain = rates["bf16"] / rates["fp32"]
    chosen: Precision = "bf16" if gain >= WORTH_IT else "fp32"
    log.info(
        "precision %s | %s | products at %.0f GFLOP/s in fp32, %.0f in bf16: %.1f times, %.1f are required",
        chosen,
        device,
        rates["fp32"],
        rates["bf16"],
        gain,
        WORTH_IT,
    )
    return chosen


def autocast(precision: Precision, device: str = "cpu") -> AbstractContextManager:
    """The autocast context of a forward pass."""
    return torch.autocast(device, dtype=torch.bfloat16) if precision == "bf16" else nullcontext()


def best_device() -> str:
    """`cuda` if available, otherwise `cpu`."""
    return "cuda" if torch.cuda.is_available() else "cpu"


def _best_rate(dtype: torch.dtype, device: torch.device) -> float:
    best, size = measure_product(dtype, device, size=SMALLEST), 2 * SMALLEST
    while size <= LARGEST and (REPEATS + 1) * 2 * size**3 / best / 1e9 < PROBE_SECONDS:
        best = max(best, measure_product(dtype, device, size=size))
        size *= 2
    return best


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
