"""Training objectives: with labels only, or with labels and a teacher."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from evenodd.settings import DistillSettings
from evenodd.training.losses import attention_loss, hidden_loss, label_loss, soft_target_loss
from evenodd.training.targets import JoinedTargets, TeacherTargets

Batch = dict[str, Any]
"""Tensors of one batch by name; `ready_mask` may be None."""


class Objective(Protocol):
    """The terms of a loss, with one value per row each."""

    @property
    def reads_all_tokens(self) -> bool:
        """Whether a term needs more of the last layer than its first token."""
        ...

    def fields(self, rows: np.ndarray) -> Batch:
        """Tensors that a batch of these rows needs in addition to token ids and labels."""
        ...

    def terms(self, model: nn.Module, batch: Batch) -> tuple[dict[str, Tensor], Tensor]:
        """Weighted terms by name, (batch,) each, and the logits, (batch, labels)."""
        ...


class LabelObjective:
    """Cross-entropy on the labels.

    Args:
        weight: float, (labels,), see `label_weights`.
    """

    reads_all_tokens = False

    def __init__(self, weight: Tensor | None = None) -> None:
        self.weight = weight

    def fields(self, rows: np.ndarray) -> Batch:
        return {}

    def terms(self, model: nn.Module, batch: Batch) -> tuple[dict[str, Tensor], Tensor]:
        logits = model(**encoder_inputs(batch)).logits
        self.weight = _like(self.weight, logits)
        return {"label": label_loss(logits, batch["labels"], self.weight)}, logits


class DistillObjective:
    """Loss on the labels, the teacher's softened logits and its hidden states (and attention maps).

    Args:
        settings: weights of the terms.
        teacher_layers: for each student layer, its teacher layer, from 1.
        weight: float, (labels,), see `label_weights`.
        targets: cached teacher outputs; None: the teacher runs live.
        teacher: needed without targets, or for the states of all tokens or attention maps.

    Raises:
        ValueError: there are neither targets nor a teacher, or a term needs a live teacher.
    """

    def __init__(
        self,
        settings: DistillSettings,
        teacher_layers: tuple[int, ...],
        *,
        weight: Tensor | None = None,
        targets: TeacherTargets | JoinedTargets | None = None,
        teacher: PreTrainedModel | None = None,
    ) -> None:
        self.settings, self.weight = settings, weight
        self.teacher_layers = teacher_layers
        self.reads_all_tokens = needs_live_teacher(settings)
        self.targets = None if self.reads_all_tokens else targets
        self.teacher = teacher.eval().requires_grad_(False) if teacher is not None and self.targets is None else None
        if self.targets is None and self.teacher is None:
            raise ValueError(
                "distillation: there are neither cached targets nor a live teacher that these terms can use."
            )

    def fields(self, rows: np.ndarray) -> Batch:
        return self.targets.fields(rows, self._compared) if self.targets is not None else {}

    def terms(self, model: nn.Module, batch: Batch) -> tuple[dict[str, Tensor], Tensor]:
        s = self.settings
        inputs = encoder_inputs(batch)
        output = model(**inputs, output_hidden_states=s.hidden_weight > 0, output_attentions=s.attention_weight > 0)
        teacher = batch if self.targets is not None else self._live(inputs)
        terms = {}
        if s.soft_weight:
            terms["soft"] = s.soft_weight * soft_target_loss(output.logits, teacher["teacher_logits"], s.temperature)
        if s.label_weight:
            self.weight = _like(self.weight, output.logits)
            terms["label"] = s.label_weight * label_loss(output.logits, batch["labels"], self.weight)
        if s.hidden_weight:
            layers = tuple(range(1, len(self.teacher_layers) + 1))
            states = self._states(output.hidden_states, layers)
            mask = batch["attention_mask"] if s.hidden_tokens == "all" else None
            terms["hidden"] = s.hidden_weight * hidden_loss(states, teacher["teacher_hidden"], s.hidden_loss, mask)
        if s.attention_weight:
            maps = torch.stack(output.attentions, 1)
            mask = batch["attention_mask"]
            terms["attention"] = s.attention_weight * attention_loss(maps, teacher["teacher_attentions"], mask)
        return terms, output.logits

    @property
    def _compared(self) -> tuple[int, ...]:
        return self.teacher_layers[-1:] if self.settings.hidden_layers == "last" else self.teacher_layers

    def _states(self, hidden_states: tuple[Tensor, ...], layers: tuple[int, ...]) -> Tensor:
        if self.settings.hidden_layers == "last":
            layers = layers[-1:]
        chosen = [hidden_states[layer] for layer in layers]
        if self.settings.hidden_tokens == "first":
            chosen = [state[:, 0] for state in chosen]
        return torch.stack(chosen, 1)

    def _live(self, inputs: Mapping[str, Any]) -> Batch:
        teacher: Any = self.teacher
        if teacher.device != inputs["input_ids"].device:  # of several processes on GPUs, all but the first
            teacher.to(inputs["input_ids"].device)
        s = self.settings
        with torch.no_grad():
            output = teacher(**inputs, output_hidden_states=True, output_attentions=s.attention_weight > 0)
            found = {
                "teacher_logits": output.logits,
                "teacher_hidden": self._states(output.hidden_states, self.teacher_layers),
            }
            if s.attention_weight:
                chosen = [output.attentions[layer - 1] for layer in self.teacher_layers]
                found["teacher_attentions"] = torch.stack(chosen, 1)
        return found


def encoder_inputs(batch: Mapping[str, Any]) -> dict[str, Any]:
    """The model's inputs in a batch: token ids, and the attention mask in the prepared form."""
    mask = batch["ready_mask"] if "ready_mask" in batch else batch["attention_mask"]
    return {"input_ids": batch["input_ids"], "attention_mask": mask}


def needs_live_teacher(settings: DistillSettings) -> bool:
    """Whether a term compares more than the cache holds: states of all tokens, or attention maps."""
    all_tokens = settings.hidden_weight > 0 and settings.hidden_tokens == "all"
    return all_tokens or settings.attention_weight > 0


def _like(weight: Tensor | None, logits: Tensor) -> Tensor | None:
    return None if weight is None else weight.to(logits.device)
