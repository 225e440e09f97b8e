"""What a process needs to be interrupted by a test."""

from __future__ import annotations

import signal


def hear_ctrl_c() -> None:
    """A shell starts background commands with Ctrl-C ignored, which their children inherit; a terminal does not."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
