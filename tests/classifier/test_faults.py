"""Messages of libraries' errors in one line."""

from __future__ import annotations

from pathlib import Path

import pytest

from evenodd.classifier.faults import MOST_CHARACTERS, first_line
from evenodd.classifier.session import _load_failure


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (ValueError("\n first\nsecond"), "first"),
        (MemoryError(), "MemoryError"),
        (OSError("x" * 1000), "x" * MOST_CHARACTERS),
    ],
    ids=["lines", "empty", "long"],
)
def test_the_first_line_of_an_error_is_never_missing(error: Exception, line: str) -> None:
    """Reporting an error without a message raised an IndexError, which hid the error."""
    assert first_line(error) == line
    assert line in str(_load_failure(Path("model.onnx"), "cpu", error))
