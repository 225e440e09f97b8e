"""A classifier for a model that was just fitted, the same that will answer once the model is registered."""

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
        max_length: maximum tokens of a window, including special tokens.
        window_overlap: tokens that adjacent windows of a long text share.

    Raises:
        ValueError: the tokenizer has no fast core.
    """
    windows = Windows(plain_tokenizer(tokenizer), max_length=max_length, overlap=window_overlap)
    return over_torch(model, Reading(windows, model_inputs(model, tokenizer), tokenizer.pad_token_id), decision)


def reading_facts(model: Any, tokenizer: Any, *, max_length: int, window_overlap: int) -> dict[str, Any]:
    """How texts become the model's inputs, as plain values that are stored with a version."""
    return {
        "max_length": max_length,
        "window_overlap": fitting_overlap(window_overlap, max_length),
        "inputs": list(model_inputs(model, tokenizer)),
        "pad_token_id": tokenizer.pad_token_id,
    }
