"""Signals that end a command: raised wherever they come, sent again where Python loses them; no orphans."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from interruption import hear_ctrl_c

from evenodd import interruption

ROOT = Path(__file__).resolve().parents[1]

LOST = """
import signal, sys, time, weakref
from evenodd.interruption import SignalError, listen

class Thing: pass

listen()
thing = Thing()
watched = weakref.ref(thing, lambda _: signal.raise_signal(signal.SIGINT))
try:
    del thing
    print("lost", flush=True)
    time.sleep(60)
except SignalError as asked:
    sys.exit(128 + asked.number)
"""

CHILD = """
import os, signal, sys, time
from evenodd.interruption import SignalError, end_with_parent, listen
listen()
end_with_parent()
print(os.getpid(), flush=True)
try:
    time.sleep(60)
except SignalError as asked:
    print(asked, flush=True)
"""


def environ(**more: str) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'src'}", **more}


def test_ctrl_c_in_a_weak_references_callback_is_not_lost() -> None:
    """One in ten was: `main` went on, promoted and packaged, and ended with code 0."""
    done = subprocess.run(
        [sys.executable, "-c", LOST],
        env=environ(),
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
        preexec_fn=hear_ctrl_c,
    )
    assert done.stdout == "lost\n"
    assert done.returncode == 130
    assert "Traceback" not in done.stderr


def test_a_swallowed_signal_is_raised_at_the_next_step(monkeypatch: pytest.MonkeyPatch) -> None:
    """A library that catches everything would train on for hours."""
    handlers = {number: signal.getsignal(number) for number in interruption.SIGNALS}
    hook = sys.unraisablehook
    try:
        interruption.listen()
        interruption.check()
        with pytest.raises(interruption.SignalError):
            signal.raise_signal(signal.SIGTERM)
        with pytest.raises(interruption.SignalError) as caught:
            interruption.check()
        assert caught.value.number == signal.SIGTERM
        interruption.listen()
        interruption.check()
    finally:
        sys.unraisablehook = hook
        for number, handler in handlers.items():
            signal.signal(number, handler)


def test_a_command_ends_when_the_mlflow_run_that_started_it_is_gone() -> None:
    """A scheduler ends `mlflow run` alone; the fit went on as an orphan."""
    starter = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {CHILD!r}])"
    parent = subprocess.Popen(
        [sys.executable, "-c", starter], env=environ(MLFLOW_RUN_ID="a run"), stdout=subprocess.PIPE, text=True
    )
    assert parent.stdout is not None
    assert parent.stdout.readline().strip().isdecimal()
    parent.kill()
    assert parent.stdout.readline() == "SIGTERM\n"
    parent.wait()


def test_what_nohup_ignores_stays_ignored() -> None:
    """`nohup evenodd main` is to outlive the terminal."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    hook = sys.unraisablehook
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        interruption.listen()
        assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    finally:
        sys.unraisablehook = hook
        signal.signal(signal.SIGHUP, before)
        for number, handler in handlers.items():
            signal.signal(number, handler)
