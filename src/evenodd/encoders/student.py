"""Students: a copy of the teacher with fewer layers."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

from torch import nn
from transformers import PreTrainedModel

from evenodd.encoders.encoder import encoder_layers, layers_path, tensor_digests
from evenodd.encoders.layer_map import LayerMap, check_layer_map


@dataclass(frozen=True)
class Student:
    """A half-depth model and the origin of its weights.

    Attributes:
        model: embeddings, kept layers and head are copies that share no memory with the teacher.
        teacher_layers: for each student layer, the teacher layer (from 1) that it was copied from.
        digests: SHA-256 of every copied tensor by its name in the student.
    """

    model: PreTrainedModel
    teacher_layers: LayerMap
    digests: dict[str, str]


def init_student(teacher: PreTrainedModel, teacher_layers: LayerMap) -> Student:
    """Creates a student with exact copies of the teacher's embeddings, head and mapped layers.

    Saving the student and loading it with `from_pretrained` gives the same model: per-layer settings of the config
    (such as `layer_types`) are reduced together with the layers, and a module that the family omits in its first layer
    (ModernBERT: the norm before attention) is omitted in the student's first layer too.

    Args:
        teacher: any encoder family with one list of layers; unchanged.
        teacher_layers: ascending teacher layers, from 1.

    Raises:
        ValueError: the map does not fit the teacher.
    """
    depth = teacher.config.num_hidden_layers
    check_layer_map(teacher_layers, depth)
    model = copy.deepcopy(teacher)
    path = layers_path(model)
    layers = encoder_layers(model)
    kept = nn.ModuleList(layers[number - 1] for number in teacher_layers)
    _leave_out(kept[0], layers[0])
    parent, _, name = path.rpartition(".")
    setattr(model.get_submodule(parent), name, kept)
    _cut_config(model.config, teacher_layers, depth)
    for index, layer in enumerate(kept):
        _renumber(layer, index)
    return Student(model, teacher_layers, tensor_digests(model.state_dict()))


def _cut_config(config: Any, teacher_layers: LayerMap, depth: int) -> None:
    config.num_hidden_layers = len(teacher_layers)
    for key, value in list(vars(config).items()):
        if isinstance(value, list) and len(value) == depth and key.startswith("layer"):
            setattr(config, key, [value[number - 1] for number in teacher_layers])


def _leave_out(layer: nn.Module, first: nn.Module) -> None:
    """Replaces modules of the student's first layer that are an Identity in the teacher's first layer."""
    for name, module in first.named_modules():
        if isinstance(module, nn.Identity) and not isinstance(layer.get_submodule(name), nn.Identity):
            layer.set_submodule(name, nn.Identity())


def _renumber(layer: nn.Module, index: int) -> None:
    for module in layer.modules():
        for key in ("layer_idx", "layer_id"):
            if isinstance(getattr(module, key, None), int):
                setattr(module, key, index)
