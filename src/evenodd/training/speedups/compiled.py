"""An encoder's layers compiled by torch: fewer and larger kernels, for a GPU and fits of many steps."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import torch
from torch import nn

from evenodd.encoders.encoder import encoder_layers

COMPILERS = ("c++", "g++", "clang++")
BACKEND = "inductor"


@contextmanager
def compiled_layers(model: nn.Module) -> Iterator[None]:
    """Within it, each layer of the encoder is compiled for all shapes when it is first called.

    Layers of one kind share their code. The first step takes a minute or more on a CPU.
    """
    layers: list[Any] = list(encoder_layers(model))
    for layer in layers:
        layer.compile(dynamic=True, backend=BACKEND)
    try:
        yield
    finally:
        for layer in layers:
            layer._compiled_call_impl = None


def not_compiled() -> AbstractContextManager[object]:
    """Within it, compiled layers run as they were: what is run once an epoch does not pay for being compiled."""
    return torch.compiler.set_stance("force_eager")


def check_compilable(device: str, *, packed: bool) -> None:
    """Refuses what cannot be compiled.

    Args:
        device: `cpu` or `cuda`.
        packed: whether batches are.

    Raises:
        ValueError: packed batches, or there is no compiler.
    """
    if packed:
        raise ValueError("train.compile=true: not with packed batches. Leave train.packed or train.compile out.")
    if device == "cpu" and not any(map(shutil.which, COMPILERS)):
        raise ValueError("train.compile=true: no C++ compiler is installed, and torch needs one. Leave it out.")
