"""Servers and commands that are measured: started, watched and stopped."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import psutil

START_SECONDS = 180
SECONDS_BETWEEN = 0.5


@contextlib.contextmanager
def running(
    command: Sequence[str], *, ready: str, folder: Path, environ: Mapping[str, str], log: Path
) -> Iterator[tuple[int, psutil.Process]]:
    """Starts a server and waits until it is ready; yields its port and process. It is stopped with the block.

    Args:
        command: `{port}` in it and in values of `environ` is replaced by a free port.
        ready: path that answers with 200 once the server is ready.
        folder: working folder.
        environ: all environment variables.
        log: file for its output.

    Raises:
        RuntimeError: it ended, or does not answer within `START_SECONDS`; the message has the end of the log.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    given = {name: value.replace("{port}", str(port)) for name, value in environ.items()}
    with log.open("wb") as output:
        started = subprocess.Popen(
            [part.replace("{port}", str(port)) for part in command],
            cwd=folder,
            env=given,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        _wait_ready(started, f"http://127.0.0.1:{port}{ready}", log)
        yield port, psutil.Process(started.pid)
    finally:
        stop(started)


def _wait_ready(started: subprocess.Popen[bytes], url: str, log: Path) -> None:
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end and started.poll() is None:
        with (
            contextlib.suppress(urllib.error.URLError, ConnectionError, TimeoutError),
            urllib.request.urlopen(url, timeout=5),
        ):
            return
        time.sleep(0.3)
    raise RuntimeError(f"{url} does not answer:\n{log.read_text(errors='replace')[-2000:]}")


def stop(started: subprocess.Popen[bytes]) -> None:
    """Stops the whole process group, because some servers leave their workers behind."""
    for how in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(started.pid, how)
        with contextlib.suppress(subprocess.TimeoutExpired):
            started.wait(15)
            if how == signal.SIGKILL:
                return


def megabytes(process: psutil.Process) -> float:
    """Proportional set size of a process and its children: shared pages count once."""
    total = 0
    for member in [process, *process.children(recursive=True)]:
        with contextlib.suppress(psutil.Error):
            total += member.memory_full_info().pss
    return total / 1e6


@contextlib.contextmanager
def peak_of(process: psutil.Process) -> Iterator[list[float]]:
    """The largest memory of a process and its children, in MB, in a list of one."""
    peak, done = [0.0], threading.Event()

    def watch() -> None:
        while not done.wait(SECONDS_BETWEEN):
            with contextlib.suppress(psutil.Error):
                peak[0] = max(peak[0], megabytes(process))

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield peak
    finally:
        done.set()
        thread.join()
