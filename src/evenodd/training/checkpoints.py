"""Checkpoints that an interruption cannot fool: each is marked once all of it is written."""

from __future__ import annotations

import json
import logging
import shutil
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from transformers import TrainerCallback

log = logging.getLogger(__name__)

MARKER = "complete"


@dataclass(frozen=True)
class Mark:
    """What the mark of a complete checkpoint says.

    Attributes:
        precision, processes: of the fit; what goes on otherwise does not end where the fit would have.
        seconds: of training up to it.
        last_epoch: the epoch after which training ended, early or not; 0 while it goes on.
    """

    precision: str
    processes: int
    seconds: float = 0.0
    last_epoch: int = 0


class Clock(TrainerCallback):
    """Counts the seconds of a fit over its interruptions, and marks a checkpoint once all its files are written.

    A checkpoint without the mark was interrupted.

    Args:
        before: mark of the checkpoint that the fit goes on from; of a fit that begins, one without seconds.
    """

    def __init__(self, before: Mark) -> None:
        self.before, self.start = before, time.perf_counter()

    @property
    def seconds(self) -> float:
        return self.before.seconds + time.perf_counter() - self.start

    def on_train_begin(self, args, state, control, **kwargs):
        self.start = time.perf_counter()

    def on_save(self, args, state, control, **kwargs):
        if not state.is_world_process_zero:
            return
        last_epoch = round(state.epoch) if control.should_training_stop else 0
        mark = replace(self.before, seconds=self.seconds, last_epoch=last_epoch)
        path = Path(args.output_dir) / f"checkpoint-{state.global_step}" / MARKER
        written = path.with_suffix(".partial")
        written.write_text(json.dumps(asdict(mark)), encoding="utf-8")
        written.rename(path)


def read_mark(checkpoint: Path) -> Mark:
    """What the mark of a complete checkpoint says."""
    said = json.loads((checkpoint / MARKER).read_text(encoding="utf-8"))
    return Mark(**({"precision": "", "processes": 0} | said))


def drop_others(folder: Path, begun: Mark) -> None:
    """Removes the checkpoints of a fit in another precision or number of processes: the next fit begins anew."""
    newest = last_checkpoint(folder)
    if newest is None:
        return
    mark = read_mark(newest)
    if (mark.precision, mark.processes) == (begun.precision, begun.processes):
        return
    log.info(
        "the interrupted fit was of %d process(es) in %s, this one is of %d in %s: beginning anew",
        mark.processes,
        mark.precision,
        begun.processes,
        begun.precision,
    )
    for path in folder.glob("checkpoint-*"):
        shutil.rmtree(path)


def last_checkpoint(folder: Path) -> Path | None:
    """The newest complete checkpoint; those that an interruption cut short are removed."""
    found = sorted(folder.glob("checkpoint-*"), key=lambda path: int(path.name.rpartition("-")[2]))
    complete = [path for path in found if (path / MARKER).exists()]
    for path in set(found) - set(complete):
        shutil.rmtree(path, ignore_errors=True)
    return complete[-1] if complete else None
