"""Where the figures of a benchmark go, and what it says on the way."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def write_figures(path: Path | None, figures: Mapping[str, Any]) -> None:
    """Writes figures as JSON where a file was asked for; its folder is made."""
    if path is None:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")


def tell(line: str) -> None:
    """A line with the time, on the error stream."""
    print(f"{time.strftime('%H:%M:%S')}  {line}", file=sys.stderr, flush=True)
