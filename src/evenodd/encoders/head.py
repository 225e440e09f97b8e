"""Matches the classification head of an already fitted classifier to the labels of the task."""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedModel

log = logging.getLogger(__name__)

UNNAMED = re.compile(r"LABEL_[0-9]+")
"""The default label names of transformers."""


def label_names(config: Any) -> tuple[str, ...]:
    """Label names of a classifier's configuration in the order of their indices; empty if they have none."""
    names = tuple(str(config.id2label[number]) for number in sorted(config.id2label))
    return () if all(UNNAMED.fullmatch(name) for name in names) else names


def align_head(model: PreTrainedModel, own: Sequence[str], labels: Sequence[str]) -> None:
    """Makes output `k` of a loaded classifier stand for label `k` of the task.

    If the head was fitted for the same labels in another order, its rows are reordered. If it was fitted for other
    labels, it is initialised again, because it would start with another task's answers. A head without label names and
    a newly created head are kept.

    Args:
        model: loaded, with as many outputs as the task has labels.
        own: labels that the model was saved with, in the order of its outputs; see `label_names`.
        labels: of the task.
    """
    mine, wanted = [_plain(name) for name in own], [_plain(name) for name in labels]
    head = output_layer(model)
    if not own or mine == wanted or head is None:
        return
    with torch.no_grad():
        if len(set(mine)) == len(mine) and set(mine) == set(wanted):
            order = torch.tensor([mine.index(name) for name in wanted])
            for parameter in head.parameters():
                parameter.copy_(parameter[order].clone())
            log.info("teacher head | labels %s reordered to %s", ", ".join(own), ", ".join(labels))
        elif len(mine) == len(wanted):
            nn.init.normal_(head.weight, std=getattr(model.config, "initializer_range", 0.02))
            if head.bias is not None:
                nn.init.zeros_(head.bias)
            log.info("teacher head | initialised again: it was fitted for the labels %s", ", ".join(own))


def output_layer(model: PreTrainedModel) -> nn.Linear | None:
    """The last linear layer, which computes the logits."""
    inside = f"{model.base_model_prefix}."
    outputs = model.config.num_labels
    layers = [
        module
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear) and not name.startswith(inside) and module.out_features == outputs
    ]
    return layers[-1] if layers else None


def _plain(name: str) -> str:
    return name.strip().casefold()
