"""A fitted torch model behind the interface of the classifier's sessions, so that it answers as a bundle does."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from evenodd.classifier.classifier import Classifier
from evenodd.classifier.scoring import Reading, Scoring
from evenodd.classifier.text import Windows
from evenodd.release.encode import plain_tokenizer
from evenodd.release.graph import model_inputs
from evenodd.task import Decision


class TorchSession:
    """Runs a transformers classifier in float32 and eval mode, on the device it is on."""

    depends_on_batch = False

    def __init__(self, model: torch.nn.Module) -> None:
        self._model = model
        self._device = next(model.parameters()).device

    @property
    def provider(self) -> str:
        """`cuda` on a GPU, `cpu` anywhere else."""
        return "cuda" if self._device.type == "cuda" else "cpu"

    def run(self, feed: dict[str, np.ndarray]) -> np.ndarray:
        """Logits, float32, (rows, labels), of int64 inputs (rows, tokens). The model's mode is left as it was."""
        tensors = {name: torch.from_numpy(values).to(self._device) for name, values in feed.items()}
        was_training = self._model.training
        self._model.eval()
        with torch.inference_mode():
            logits = self._model(**tensors).logits
        self._model.train(was_training)
        return np.asarray(logits.float().cpu().numpy())


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
    reading = Reading(windows, tuple(model_inputs(model, tokenizer)), tokenizer.pad_token_id)
    return Classifier(Scoring(reading, decision, {"torch": TorchSession(model)}))
