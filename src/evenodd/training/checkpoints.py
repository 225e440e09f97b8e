"""Checkpoints: each is sealed when it is completely written, and a fit resumes only from an undamaged one."""

from __future__ import annotations

import json
import logging
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch
from transformers import TrainerCallback
from transformers.trainer import TRAINER_STATE_NAME

from evenodd.storage import discard, read_seal, seal, sound
from evenodd.training.ranks import rank_and_world

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Mark:
    """Content of a checkpoint's seal.

    Attributes:
        precision, processes: of the fit; resumed with others, it would have another result.
        seconds: training time up to the checkpoint.
        last_epoch: the epoch after which training ended, early or not; 0: it has not ended.
    """

    precision: str
    processes: int
    seconds: float = 0.0
    last_epoch: int = 0


class Clock(TrainerCallback):
    """Counts the seconds of a fit across interruptions, and seals a checkpoint once all its files are written.

    A checkpoint without a seal was interrupted.

    Args:
        before: mark of the checkpoint that the fit resumes from; for a new fit, one without seconds.
    """

    def __init__(self, before: Mark) -> None:
        self.before, self.start = before, time.perf_counter()

    @property
    def seconds(self) -> float:
        return self.before.seconds + time.perf_counter() - self.start

    def on_train_begin(self, args, state, control, **kwargs):
        self.start = time.perf_counter()

    def on_save(self, args, state, control, **kwargs):
        if rank_and_world()[1] > 1:
            torch.distributed.barrier()  # every process has written its random state
        if not state.is_world_process_zero:
            return
        last_epoch = round(state.epoch) if control.should_training_stop else 0
        mark = replace(self.before, seconds=self.seconds, last_epoch=last_epoch)
        seal(Path(args.output_dir) / f"checkpoint-{state.global_step}", asdict(mark))


def read_mark(checkpoint: Path) -> Mark:
    """The mark in the seal of an undamaged checkpoint."""
    return Mark(**read_seal(checkpoint))


def drop_others(folder: Path, begun: Mark) -> None:
    """Removes checkpoints of a fit with another precision or number of processes; the fit then starts anew."""
    newest = last_checkpoint(folder)
    if newest is None:
        return
    mark = read_mark(newest)
    if (mark.precision, mark.processes) == (begun.precision, begun.processes):
        return
    log.info(
        "the interrupted fit had %d process(es) in %s, this one has %d in %s: starting anew",
        mark.processes,
        mark.precision,
        begun.processes,
        begun.precision,
    )
    for path in folder.glob("checkpoint-*"):
        discard(path)


def last_checkpoint(folder: Path) -> Path | None:
    """The newest checkpoint that a fit can resume from; incomplete or damaged ones are removed.

    If the checkpoint of its best epoch is missing, it is removed too: the fit would end with other weights.
    """
    found = sorted(folder.glob("checkpoint-*"), key=lambda path: int(path.name.rpartition("-")[2]))
    whole = [path for path in found if sound(path)]
    while whole and _best_of(whole[-1]) not in {path.name for path in whole}:
        log.warning("%s is not used: the checkpoint of its best epoch is missing.", whole[-1])
        discard(whole.pop())
    return whole[-1] if whole else None


def _best_of(checkpoint: Path) -> str:
    """Name of the checkpoint with the best epoch's weights; its own if no epoch was scored."""
    state = json.loads((checkpoint / TRAINER_STATE_NAME).read_text(encoding="utf-8"))
    return Path(state["best_model_checkpoint"] or checkpoint).name
