"""Teacher outputs (targets) for every training row, computed once and read by row.

One forward pass writes the logits and the first token's hidden state after every layer to memory-mapped files. All
students, seeds and trials with the same teacher and data share them; if several fits start together, one runs the pass
and the others wait for it. States are stored as float16, with a relative error of at most 5e-4. Tests compare a stored
target with a live pass.
"""

from __future__ import annotations

import hashlib
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedModel

from evenodd.encoders.encoder import state_digest
from evenodd.rows import TokenStore
from evenodd.storage import FORMAT, new_folder, one_at_a_time, sound
from evenodd.training.precision import Precision, autocast
from evenodd.training.predict import TOKEN_BUDGETS, evaluating, sorted_rows, to_device
from evenodd.training.speedups.first_token import first_token_in_last_layer

log = logging.getLogger(__name__)

LOGITS, HIDDEN = "logits.npy", "hidden.npy"


@dataclass(frozen=True)
class TeacherTargets:
    """Memory-mapped teacher outputs.

    Attributes:
        logits: float32, (rows, labels).
        hidden: float16, (rows, layers, hidden): the first token's state after each teacher layer.
    """

    logits: np.ndarray
    hidden: np.ndarray

    def __reduce__(self) -> tuple[Any, ...]:
        """Makes another process open the same files instead of receiving a copy of their content."""
        if isinstance(self.logits, np.memmap) and isinstance(self.hidden, np.memmap):
            return _reopen, (str(self.logits.filename), str(self.hidden.filename))
        return TeacherTargets, (self.logits, self.hidden)

    def fields(self, rows: np.ndarray, layers: tuple[int, ...]) -> dict[str, Tensor]:
        """Targets of a batch: `teacher_logits` (batch, labels), `teacher_hidden` (batch, len(layers), hidden)."""
        states = self.hidden[np.asarray(rows)[:, None], [layer - 1 for layer in layers]]
        hidden = torch.from_numpy(states).float()
        return {"teacher_logits": torch.from_numpy(self.logits[rows]), "teacher_hidden": hidden}


@dataclass(frozen=True)
class JoinedTargets:
    """Outputs of two teachers: of the first one up to some row, and of the other one for the rows after it.

    Added rows are taught by a teacher that was trained on such rows; the original rows are taught by a teacher that was
    not.
    """

    first: TeacherTargets
    rest: TeacherTargets

    def fields(self, rows: np.ndarray, layers: tuple[int, ...]) -> dict[str, Tensor]:
        """Targets of a batch, see `TeacherTargets.fields`."""
        rows, count = np.asarray(rows), len(self.first.logits)
        late = rows >= count
        own, added = self.first.fields(rows[~late], layers), self.rest.fields(rows[late] - count, layers)
        places = torch.from_numpy(np.argsort(np.argsort(late, kind="stable"), kind="stable"))
        return {name: torch.cat([own[name], added[name]])[places] for name in own}


def _reopen(logits: str, hidden: str) -> TeacherTargets:
    return TeacherTargets(np.load(logits, mmap_mode="r"), np.load(hidden, mmap_mode="r"))


def target_megabytes(teacher: PreTrainedModel, rows: int) -> float:
    """Size of the cache on disk before it is built."""
    config: Any = teacher.config
    return rows * (4 * config.num_labels + 2 * config.num_hidden_layers * config.hidden_size) / 1e6


def teacher_targets(teacher: PreTrainedModel, store: TokenStore, folder: Path, precision: Precision) -> TeacherTargets:
    """The cached targets of a teacher for these rows; computed if they are not cached yet.

    Args:
        teacher: unchanged.
        store: token ids of the training rows.
        folder: holds all caches, each in a subfolder named by teacher, rows and precision, which is always complete.
        precision: precision of the forward pass.

    Raises:
        RuntimeError: a hidden state is NaN or too large for float16.
    """
    path = folder / _key(teacher, store, precision)
    with one_at_a_time(path):
        if sound(path):
            log.info("teacher targets | %s rows from %s", f"{len(store):,}", path)
        else:
            log.info("teacher targets | %s rows | %.0f MB", f"{len(store):,}", target_megabytes(teacher, len(store)))
            with new_folder(path) as building:
                _write(building, teacher, store, precision)
    return TeacherTargets(np.load(path / LOGITS, mmap_mode="r"), np.load(path / HIDDEN, mmap_mode="r"))


def _write(folder: Path, teacher: PreTrainedModel, store: TokenStore, precision: Precision) -> None:
    config: Any = teacher.config
    rows, device = len(store), next(teacher.parameters()).device.type
    logits = _memory_map(folder / LOGITS, np.float32, (rows, config.num_labels))
    hidden = _memory_map(folder / HIDDEN, np.float16, (rows, config.num_hidden_layers, config.hidden_size))
    with evaluating(teacher), first_token_in_last_layer(teacher), autocast(precision, device):
        for places in sorted_rows(store, TOKEN_BUDGETS[device]):
            batch = to_device(store.collate(np.asarray(places), pad_to_multiple=1), teacher)
            output = teacher(**batch, output_hidden_states=True)
            logits[places] = output.logits.float().cpu().numpy()
            hidden[places] = _halved(first_token_states(output.hidden_states))
    logits.flush()
    hidden.flush()


def first_token_states(hidden_states: tuple[Tensor, ...]) -> Tensor:
    """The first token's state after each layer, without the embeddings: float32, (batch, layers, hidden)."""
    return torch.stack([state[:, 0].float() for state in hidden_states[1:]], dim=1)


def _halved(states: Tensor) -> np.ndarray:
    if not bool((states.abs() <= torch.finfo(torch.float16).max).all()):
        raise RuntimeError(
            f"teacher targets: a hidden state of {float(states.abs().max()):.3g} does not fit float16. "
            "Run the teacher live: -P distill.cache_budget_mb=0."
        )
    return states.to(torch.float16).cpu().numpy()


def _memory_map(path: Path, dtype: type, shape: tuple[int, ...]) -> np.memmap:
    return np.lib.format.open_memmap(path, mode="w+", dtype=dtype, shape=shape)


def _key(teacher: PreTrainedModel, store: TokenStore, precision: Precision) -> str:
    names = (str(FORMAT), state_digest(teacher.state_dict()), store.digest, precision)
    return "targets-" + hashlib.sha256(" ".join(names).encode()).hexdigest()[:20]
