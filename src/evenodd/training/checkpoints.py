"""Checkpoints that an interruption cannot fool: each is marked once all of it is written."""

from __future__ import annotations

import json
import shutil
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from transformers import TrainerCallback

MARKER = "complete"


@dataclass(frozen=True)
class Mark:
    """What the mark of a complete checkpoint says.

    Attributes:
        seconds: of training up to it.
        last_epoch: the epoch after which training ended, early or not; 0 while it goes on.
    """

    seconds: float = 0.0
    last_epoch: int = 0


class Clock(TrainerCallback):
    """Counts the seconds of a fit over its interruptions, and marks a checkpoint once all its files are written.

    A checkpoint without the mark was interrupted.
    """

    def __init__(self, before: float) -> None:
        self.before, self.start = before, time.perf_counter()

    @property
    def seconds(self) -> float:
        return self.before + time.perf_counter() - self.start

    def on_train_begin(self, args, state, control, **kwargs):
        self.start = time.perf_counter()

    def on_save(self, args, state, control, **kwargs):
        if not state.is_world_process_zero:
            return
        mark = Mark(self.seconds, round(state.epoch) if control.should_training_stop else 0)
        path = Path(args.output_dir) / f"checkpoint-{state.global_step}" / MARKER
        written = path.with_suffix(".partial")
        written.write_text(json.dumps(asdict(mark)), encoding="utf-8")
        written.rename(path)


def read_mark(checkpoint: Path | None) -> Mark:
    """What the mark of a checkpoint says; of none: that nothing has happened yet."""
    return Mark(**json.loads((checkpoint / MARKER).read_text(encoding="utf-8"))) if checkpoint else Mark()


def last_checkpoint(folder: Path) -> Path | None:
    """The newest complete checkpoint; those that an interruption cut short are removed."""
    found = sorted(folder.glob("checkpoint-*"), key=lambda path: int(path.name.rpartition("-")[2]))
    complete = [path for path in found if (path / MARKER).exists()]
    for path in set(found) - set(complete):
        shutil.rmtree(path, ignore_errors=True)
    return complete[-1] if complete else None
