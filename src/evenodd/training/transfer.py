"""Models and what belongs to them on their way to another process: a copy, whole, through a file.

Two things are lost or go wrong when torch's own way of sending arguments to processes is taken:

- It puts tensors into shared memory. Processes that each step an optimizer over the same memory step it several times.
- transformers notes in the process that makes a model which outputs its class can record. Where a model only arrives,
  nothing is noted, and hidden states and attention maps come back as None. It hangs its recording hooks on the layers
  when they are first asked for; those cannot be pickled at all.
"""

from __future__ import annotations

import pickle
from collections import OrderedDict
from pathlib import Path
from typing import Any

from torch import nn
from transformers import PreTrainedModel
from transformers.utils import output_capturing

HOOKED = "_output_capturing_hooks_installed"


def save_copy(value: Any, path: Path) -> None:
    """Writes any value that can be pickled, models among it with their weights; memory-mapped rows stay where they are.

    Args:
        value: unchanged.
        path: appears whole or not at all.
    """
    partial = path.with_suffix(".partial")
    with partial.open("wb") as file:
        _Pickler(file, pickle.HIGHEST_PROTOCOL).dump(value)
    partial.replace(path)


def load_copy(path: Path) -> Any:
    """What `save_copy` wrote, in memory of its own. Only for our own files: pickle runs what it reads."""
    with path.open("rb") as file:
        return pickle.load(file)


class _Pickler(pickle.Pickler):
    """Leaves transformers' recording hooks behind, and has models noted again where they arrive."""

    def reducer_override(self, value: Any) -> Any:
        if not isinstance(value, nn.Module):
            return NotImplemented
        reduced: Any = value.__reduce_ex__(pickle.HIGHEST_PROTOCOL)
        make, arguments, state, *rest = reduced
        hooks = value._forward_hooks
        kept = OrderedDict((key, hook) for key, hook in hooks.items() if not _records(hook))
        state = {key: part for key, part in state.items() if key != HOOKED} | {"_forward_hooks": kept}
        if isinstance(value, PreTrainedModel):
            make, arguments = _announce, (type(value), value.config)
        return make, arguments, state, *rest


def _records(hook: Any) -> bool:
    return getattr(hook, "__module__", None) == output_capturing.__name__


def _announce(kind: type[PreTrainedModel], config: Any) -> PreTrainedModel:
    """An empty model of the class, through the initialiser that notes what the class can record."""
    model = kind.__new__(kind)
    PreTrainedModel.__init__(model, config)
    return model
