"""Output of a benchmark: figures as JSON, and progress lines."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def write_figures(path: Path | None, figures: Mapping[str, Any]) -> None:
    """Writes figures as JSON if a file is given; creates its folder."""
    if path is None:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")


def tell(line: str) -> None:
    """Prints a line with the time to standard error."""
    print(f"{time.strftime('%H:%M:%S')}  {line}", file=sys.stderr, flush=True)
