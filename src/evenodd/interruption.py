"""Signals that end a command: Ctrl-C, SIGTERM and SIGHUP. No signal is lost, and no child outlives its parent.

Python raises the exception of a signal's handler wherever the main thread happens to be. In a destructor or a weak
reference's callback the exception is only printed, so the signal is sent again. If a library swallows the exception, it
is raised again at the next training step.
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
        number: number of the signal; the exit code is 128 more.
    """

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number


class _Asked:
    """The signal that asked this process to end; None if there was none."""

    number: int | None = None


def listen() -> None:
    """Makes the signals that end a command raise `SignalError`; ignored signals stay ignored, as under nohup."""
    _Asked.number = None
    for number in SIGNALS:
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, _raise)
    sys.unraisablehook = _send_again


def check() -> None:
    """Ends a process that still runs although it was asked to end.

    Raises:
        SignalError: a signal asked it to end.
    """
    if _Asked.number is not None:
        raise SignalError(_Asked.number)


def _raise(number: int, frame: FrameType | None) -> None:
    _Asked.number = number
    raise SignalError(number)


def _send_again(lost: Any) -> None:
    """Python calls this with an error that it cannot raise."""
    if isinstance(lost.exc_value, SignalError):
        threading.Timer(SEND_AGAIN_SECONDS, _send, (lost.exc_value.number,)).start()
    else:
        sys.__unraisablehook__(lost)


def _send(number: int) -> None:
    """Sends a signal to the main thread and wakes it."""
    signal.pthread_kill(threading.main_thread().ident or 0, number)


def end_with_parent() -> None:
    """Ends this process as SIGTERM does when `mlflow run`, which started it, has ended."""
    if "MLFLOW_RUN_ID" in os.environ:
        threading.Thread(target=_watch, args=(_starters(),), name="parent", daemon=True).start()


def _starters() -> list[psutil.Process]:
    """The parent, and the parent's parent if the parent is a shell that only waits for this process."""
    found = psutil.Process().parents()
    return found[:2] if found and found[0].name() in SHELLS else found[:1]


def _watch(starters: list[psutil.Process]) -> None:
    while all(one.is_running() and one.status() != psutil.STATUS_ZOMBIE for one in starters):
        time.sleep(LOOK_SECONDS)
    while True:
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(TERM_SECONDS)
