"""Metrics of a running fit: Trainer's log entries under their names in the tracking store."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from transformers import TrainerCallback

from evenodd import interruption

log = logging.getLogger(__name__)

Report = Callable[[dict[str, float], int], None]


class Reporter(TrainerCallback):
    """Passes on metrics under their names in the tracking store."""

    def __init__(self, report: Report) -> None:
        self.report = report

    def on_train_begin(self, args, state, control, **kwargs):
        """Logs the history of an interrupted fit again, because this run does not have it."""
        for entry in state.log_history if state.is_world_process_zero else ():
            named = _named(entry)
            if named:
                self.report(named, entry["step"])

    def on_log(self, args, state, control, logs=None, **kwargs):
        named = _named(logs or {})
        if named and state.is_world_process_zero:
            self.report(named, state.global_step)
        if logs and "eval_f1_macro" in logs:
            log.info("epoch %d | validation macro-F1 %.4f", round(state.epoch), logs["eval_f1_macro"])


class AfterEachStep(TrainerCallback):
    """Calls a function after every training step; an error in it ends the fit and keeps its checkpoints.

    A signal that a library has swallowed also ends the fit here.
    """

    def __init__(self, check: Callable[[], None]) -> None:
        self.check = check

    def on_step_end(self, args, state, control, **kwargs):
        interruption.check()
        self.check()


def tidy(history: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Trainer's log as rows of `step`, `epoch`, `metric` and `value`."""
    rows = []
    for entry in history:
        for key, value in entry.items():
            name = _metric_name(key)
            if name:
                rows.append({"step": entry["step"], "epoch": entry.get("epoch", 0.0), "metric": name, "value": value})
    return rows


def _named(entry: dict[str, Any]) -> dict[str, float]:
    found = ((_metric_name(key), value) for key, value in entry.items())
    return {name: value for name, value in found if name}


def _metric_name(key: str) -> str | None:
    if key.startswith("eval_"):
        return "validation/" + key.removeprefix("eval_")
    return {"loss": "train/loss", "learning_rate": "train/learning_rate", "grad_norm": "train/grad_norm"}.get(key)
