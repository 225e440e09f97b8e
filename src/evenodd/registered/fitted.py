"""A fitted version: weights and tokenizer as saved by transformers, read without running any code in them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from transformers import AutoModelForSequenceClassification, AutoTokenizer, PreTrainedModel
from transformers.tokenization_utils_base import PreTrainedTokenizerBase

from evenodd.classifier import Classifier
from evenodd.classifier.scoring import Reading, Scoring
from evenodd.classifier.text import Windows
from evenodd.task import Decision, Task

DESCRIPTION = "MLmodel"
FACTS = "evenodd"
"""Key of this package's facts in a model's metadata: MLflow itself uses other keys, such as `task`."""
WEIGHTS, TOKENIZER = "model", "components/tokenizer"
"""Folders in which MLflow's transformers flavor stores them."""


class TorchSession:
    """Runs a transformers classifier in float32 and evaluation mode, on its current device."""

    depends_on_batch = False

    def __init__(self, model: torch.nn.Module) -> None:
        self._model = model
        self._device = next(model.parameters()).device

    @property
    def provider(self) -> str:
        """`cuda` on a GPU, otherwise `cpu`."""
        return "cuda" if self._device.type == "cuda" else "cpu"

    def run(self, feed: dict[str, np.ndarray]) -> np.ndarray:
        """Logits, float32, (rows, labels), of int64 inputs (rows, tokens). The model's mode is restored."""
        tensors = {name: torch.from_numpy(values).to(self._device) for name, values in feed.items()}
        was_training = self._model.training
        self._model.eval()
        with torch.inference_mode():
            logits = self._model(**tensors).logits
        self._model.train(was_training)
        return np.asarray(logits.float().cpu().numpy())


def open_fitted(folder: Path) -> Classifier:
    """The classifier of a fitted version, on the first GPU if there is one.

    Raises:
        ValueError: its description is incomplete.
        OSError: files are missing or damaged.
    """
    model: torch.nn.Module = load_weights(folder)
    if torch.cuda.is_available():
        model.to("cuda")
    facts = read_facts(folder)
    try:
        decision = Decision.from_dict(facts["decision"], Task.from_dict(facts["task"]))
        tokenizer = folder / TOKENIZER / "tokenizer.json"
        windows = Windows(tokenizer, max_length=facts["max_length"], overlap=facts["window_overlap"])
        reading = Reading(windows, tuple(facts["inputs"]), facts["pad_token_id"])
    except (KeyError, TypeError) as fault:
        raise ValueError(f"{folder}: the model's metadata is incomplete ({fault}).") from None
    return over_torch(model, reading, decision)


def over_torch(model: torch.nn.Module, reading: Reading, decision: Decision) -> Classifier:
    """The classifier of a torch model without unmerged adapters."""
    return Classifier(Scoring(reading, decision, {"torch": TorchSession(model)}))


def load_weights(folder: Path) -> PreTrainedModel:
    """The classifier in float32, in a class of the installed transformers: safetensors only, no code, no hub.

    Raises:
        OSError: a file is missing or damaged.
    """
    model: PreTrainedModel = AutoModelForSequenceClassification.from_pretrained(
        folder / WEIGHTS, dtype=torch.float32, local_files_only=True, trust_remote_code=False, use_safetensors=True
    )
    return model


def load_tokenizer(folder: Path) -> PreTrainedTokenizerBase:
    """The tokenizer of a fitted version.

    Raises:
        OSError: a file is missing or damaged.
    """
    found: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(
        folder / TOKENIZER, local_files_only=True, trust_remote_code=False
    )
    return found


def read_facts(folder: Path) -> dict[str, Any]:
    """Metadata of a version: labels, decision, data, layer map.

    Raises:
        ValueError: the description cannot be read, or has no metadata of this package.
    """
    try:
        described = yaml.safe_load((folder / DESCRIPTION).read_text(encoding="utf-8"))
        return dict(described["metadata"][FACTS])
    except (OSError, yaml.YAMLError, KeyError, TypeError, UnicodeDecodeError) as fault:
        raise ValueError(f"{folder / DESCRIPTION}: not a model that evenodd logged ({fault}).") from None
