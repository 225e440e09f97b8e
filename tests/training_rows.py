"""Token ids, labels and tiny models for the tests of `training/`, at random and without a tokenizer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from release_models import tiny_model
from torch import nn
from transformers import PreTrainedModel

from evenodd.rows import TokenStore
from evenodd.training import FitContext, FitData

PLANTED = 7


def random_store(rows: int, *, seed: int = 0, longest: int = 14) -> TokenStore:
    """Rows of 4 to `longest` ids from 5 to 59, the first always 2 ([CLS])."""
    random = np.random.default_rng(seed)
    lengths = random.integers(4, longest + 1, rows)
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    flat = random.integers(5, 60, offsets[-1]).astype(np.int32)
    flat[offsets[:-1]] = 2
    return TokenStore(flat, offsets, 0, 64, 0, f"{rows} rows of seed {seed}")


def planted_labels(store: TokenStore) -> np.ndarray:
    """1 where a row holds an id that is a multiple of seven, else 0: int64, (rows,)."""
    return np.array([int((store.ids(row) % PLANTED == 0).any()) for row in range(len(store))], dtype=np.int64)


def fit_data(rows: int = 64, *, seed: int = 0) -> FitData:
    """Random rows for training and half as many for validation."""
    train, validation = random_store(rows, seed=seed), random_store(rows // 2, seed=seed + 1)
    return FitData(train, planted_labels(train), validation, planted_labels(validation))


def accuracy(logits: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """Share of right labels under the name that chooses the best epoch: finer than F1 on so few rows."""
    return {"f1_macro": float((logits.argmax(1) == labels).mean())}


def context(folder: Path, **about: Any) -> FitContext:
    """A context with seed 3 and accuracy as the score by default."""
    return FitContext(**({"folder": folder, "seed": 3, "score": accuracy} | about))


def still_model(family: str = "bert", **about: Any) -> PreTrainedModel:
    """A tiny model without dropout and with eager attention."""
    model = tiny_model(family, **about)
    model.set_attn_implementation("eager")
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    return model


def random_batch(rows: int = 5, width: int = 9, *, seed: int = 0) -> dict[str, torch.Tensor]:
    """Padded ids, mask and labels of two classes."""
    generator = torch.Generator().manual_seed(seed)
    lengths = torch.randint(3, width + 1, (rows,), generator=generator)
    lengths[0] = width
    mask = (torch.arange(width) < lengths[:, None]).long()
    ids = torch.randint(5, 60, (rows, width), generator=generator) * mask
    return {"input_ids": ids, "attention_mask": mask, "labels": torch.randint(0, 2, (rows,), generator=generator)}
