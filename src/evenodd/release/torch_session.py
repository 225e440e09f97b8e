"""A model that was just fitted, behind the classifier that will answer with it once it is registered."""

from __future__ import annotations

from typing import Any

from evenodd.classifier import Classifier
from evenodd.classifier.scoring import Reading
from evenodd.classifier.text import Windows, fitting_overlap
from evenodd.registered.fitted import over_torch
from evenodd.release.encode import plain_tokenizer
from evenodd.release.graph import model_inputs
from evenodd.task import Decision


def torch_classifier(
    model: Any, tokenizer: Any, decision: Decision, *, max_length: int, window_overlap: int
) -> Classifier:
    """The classifier of a fitted model.

    Args:
        model: a transformers sequence classifier without unmerged adapters.
        tokenizer: its tokenizer, with a fast core.
        decision: fitted for it.
        max_length: tokens of a window at most, special ones included.
        window_overlap: tokens that neighbouring windows of a long text share.

    Raises:
        ValueError: the tokenizer has no fast core.
    """
    windows = Windows(plain_tokenizer(tokenizer), max_length=max_length, overlap=window_overlap)
    return over_torch(model, Reading(windows, model_inputs(model, tokenizer), tokenizer.pad_token_id), decision)


def reading_facts(model: Any, tokenizer: Any, *, max_length: int, window_overlap: int) -> dict[str, Any]:
    """The same as plain values, which are stored with a version: how texts become the model's inputs."""
    return {
        "max_length": max_length,
        "window_overlap": fitting_overlap(window_overlap, max_length),
        "inputs": list(model_inputs(model, tokenizer)),
        "pad_token_id": tokenizer.pad_token_id,
    }
