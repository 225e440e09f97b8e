"""Progress of a fit: a bar with sentences per second and the remaining time on a terminal or in a notebook, otherwise
a log line from time to time.

With tqdm's switch `TQDM_DISABLE=1`, a terminal gets log lines too.
"""

from __future__ import annotations

import logging
import os
import sys
import time
from typing import Any

from tqdm.auto import tqdm
from transformers import TrainerCallback

log = logging.getLogger(__name__)

SECONDS_BETWEEN_LINES = 15.0


class Progress(TrainerCallback):
    """Shows the progress of a fit.

    Args:
        rows_per_step: rows of an average batch, to convert steps to sentences.
    """

    def __init__(self, rows_per_step: float) -> None:
        self.rows_per_step = rows_per_step
        self.bar: tqdm | None = None
        self.first_step, self.started, self.told = 0, 0.0, 0.0

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Starts the clock."""
        self.first_step, self.started = state.global_step, time.monotonic()
        self.told = self.started
        watched = sys.stderr.isatty() or "ipykernel" in sys.modules
        if state.is_world_process_zero and watched and not os.environ.get("TQDM_DISABLE"):
            self.bar = tqdm(total=state.max_steps, initial=state.global_step, unit="step", leave=False, file=sys.stderr)

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Moves the bar, or logs a line if the last one is old enough."""
        if self.bar is not None:
            self.bar.update(1)
            self.bar.set_postfix_str(f"{self._rate(state):.0f} sentences/s", refresh=False)
        elif state.is_world_process_zero and time.monotonic() - self.told > SECONDS_BETWEEN_LINES:
            self.told = time.monotonic()
            rate, left = self._rate(state), state.max_steps - state.global_step
            log.info(
                "epoch %.1f of %d | %.0f sentences/s | at most %.0f s left",
                state.epoch,
                state.num_train_epochs,
                rate,
                left * self.rows_per_step / rate,
            )

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Closes the bar."""
        if self.bar is not None:
            self.bar.close()

    def _rate(self, state: Any) -> float:
        return (state.global_step - self.first_step) * self.rows_per_step / max(time.monotonic() - self.started, 1e-6)
