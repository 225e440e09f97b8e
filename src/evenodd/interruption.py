"""Signals that end a command: Ctrl-C, and SIGTERM and SIGHUP as Ctrl-C. None is lost, and no child outlives its parent.

Python raises what a signal's handler raises wherever the main thread happens to be. In a destructor or a weak
reference's callback it is printed and forgotten: it is sent again then. What a library swallowed is raised again at the
next step of training.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from types import FrameType
from typing import Any

import psutil

SIGNALS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))
SEND_AGAIN_SECONDS, LOOK_SECONDS, TERM_SECONDS = 0.1, 1.0, 20.0
SHELLS = {"sh", "bash", "dash", "zsh"}


class SignalError(KeyboardInterrupt):
    """A signal asked this process to end.

    Attributes:
        number: of the signal; a shell's exit code for it is 128 more.
    """

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number


class _Asked:
    """The signal that this process was asked to end by; None as long as it was not."""

    number: int | None = None


def listen() -> None:
    """Makes every signal that ends a command raise `SignalError`; those that are ignored stay so, as under nohup."""
    _Asked.number = None
    for number in SIGNALS:
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, _raise)
    sys.unraisablehook = _send_again


def check() -> None:
    """Ends a process that was asked to end and goes on all the same.

    Raises:
        SignalError: it was asked.
    """
    if _Asked.number is not None:
        raise SignalError(_Asked.number)


def _raise(number: int, frame: FrameType | None) -> None:
    _Asked.number = number
    raise SignalError(number)


def _send_again(lost: Any) -> None:
    """Called by Python with an error that it cannot raise where it came up."""
    if isinstance(lost.exc_value, SignalError):
        threading.Timer(SEND_AGAIN_SECONDS, _send, (lost.exc_value.number,)).start()
    else:
        sys.__unraisablehook__(lost)


def _send(number: int) -> None:
    """Sends a signal to the main thread, which it wakes where it waits."""
    signal.pthread_kill(threading.main_thread().ident or 0, number)


def end_with_parent() -> None:
    """Ends this process, as SIGTERM does, when `mlflow run`, which started it, is gone."""
    if "MLFLOW_RUN_ID" in os.environ:
        threading.Thread(target=_watch, args=(_starters(),), name="parent", daemon=True).start()


def _starters() -> list[psutil.Process]:
    """The parent, and its own where it is a shell that only waits for this process."""
    found = psutil.Process().parents()
    return found[:2] if found and found[0].name() in SHELLS else found[:1]


def _watch(starters: list[psutil.Process]) -> None:
    while all(one.is_running() and one.status() != psutil.STATUS_ZOMBIE for one in starters):
        time.sleep(LOOK_SECONDS)
    while True:
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(TERM_SECONDS)
