"""Which process a run or a lock belongs to, and whether it is still there."""

from __future__ import annotations

import socket

import psutil

PROCESS_TAG = "evenodd.process"
# A process's time of creation is told from the clock, which may have been set since.
CLOCK_SHIFT_SECONDS = 2.0


def process_name() -> str:
    """Host, number and time of creation of this process: no other process ever has the same."""
    process = psutil.Process()
    return f"{socket.gethostname()}:{process.pid}:{process.create_time():.2f}"


def process_is_gone(tag: str) -> bool:
    """Whether the process of that name has ended; one on another host is taken to be there."""
    host, pid, created = tag.rsplit(":", 2)
    if host != socket.gethostname():
        return False
    try:
        return abs(psutil.Process(int(pid)).create_time() - float(created)) > CLOCK_SHIFT_SECONDS
    except psutil.NoSuchProcess:
        return True
