"""What a process needs to be interrupted by a test, and which of these tests take minutes."""

from __future__ import annotations

import os
import signal

import pytest

at_full_size = pytest.mark.skipif(
    os.environ.get("EVENODD_RELIABILITY") != "full", reason="takes minutes: make test-reliability"
)


def hear_ctrl_c() -> None:
    """Resets what a shell's background jobs and `nohup` ignore, which their children inherit."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
