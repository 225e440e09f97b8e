"""Messages of errors from libraries, shortened for messages of this package."""

from __future__ import annotations

MOST_CHARACTERS = 300


def first_line(error: BaseException) -> str:
    """The first line of an error's message, cut at `MOST_CHARACTERS`; the name of its class if it has no message."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0][:MOST_CHARACTERS]
