"""Processes for fits at once, whose imports begin before this process has made its own."""

from __future__ import annotations

import multiprocessing
import os
import signal
from multiprocessing.context import BaseContext
from pathlib import Path

from evenodd.settings import Settings

IMPORTED = "evenodd.flow.schedule.pool"


def fit_context() -> BaseContext:
    """How processes are started: as copies of one that has imported all they need, where the system can do that."""
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([IMPORTED])
    return context


def import_ahead(settings: Settings) -> None:
    """Has torch, transformers and MLflow imported by the process that others will be copied from, on another core.

    Nothing happens where one fit at a time is asked for, or there is one core or one GPU.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    gpus = list(Path("/dev").glob("nvidia[0-9]*"))
    one = settings.run.jobs == 1 or settings.train.processes > 1 or min(cores, _threads(cores)) == 1 or len(gpus) == 1
    if not one and fit_context().get_start_method() == "forkserver":
        from multiprocessing import forkserver

        before = signal.signal(signal.SIGINT, signal.SIG_IGN)  # it would tell an interruption of its imports at length
        try:
            forkserver.ensure_running()
        finally:
            signal.signal(signal.SIGINT, before)


def _threads(cores: int) -> int:
    asked = os.environ.get("OMP_NUM_THREADS", "")
    return int(asked) if asked.isdecimal() else cores
