"""Errors as a user reads them: one line each."""

from __future__ import annotations

import errno
import re
from collections.abc import Iterator


def in_one_line(error: BaseException) -> str:
    """The message of an error in one line. A full disk is always reported as such; SQL is omitted."""
    chain = list(_causes(error))
    if any(_is_full(one) for one in chain):
        named = next((one.filename for one in chain if isinstance(one, OSError) and one.filename), None)
        where = f" ({named})" if named else ""
        return f"the disk is full{where}. Free some space and run the same command again: it reuses finished work."
    lines = [" ".join(line.split()) for line in str(error).partition("[SQL:")[0].splitlines()]
    return re.sub(r"([.:;]);", r"\1", "; ".join(filter(None, lines))) or type(error).__name__


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """An error and its causes and contexts."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _is_full(error: BaseException) -> bool:
    full = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
    return full or any(words in str(error) for words in ("database or disk is full", "No space left on device"))
