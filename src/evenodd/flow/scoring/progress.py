"""How far `score` is, how fast, and how long it takes."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from pathlib import Path

from evenodd.rows.inputs import Input, estimate_rows

log = logging.getLogger(__name__)

SECONDS_BETWEEN_LINES = 5.0


class Progress:
    """Rows that are done, out of about how many: files that were not opened yet count by their size."""

    def __init__(self, files: Sequence[Input]) -> None:
        self.files = files
        self.started = self.told = time.monotonic()
        self.scored = self.found = 0
        self.rows: dict[int, int] = {}

    def opened(self, number: int, path: Path) -> None:
        """A file is read from now."""
        self.rows[number] = estimate_rows(path)

    def passed_over(self, rows: int) -> None:
        """Rows that were scored by an earlier command."""
        self.found += rows

    def advance(self, rows: int) -> None:
        """Rows that were scored now; a line of log now and then."""
        self.scored += rows
        now = time.monotonic()
        if now - self.told > SECONDS_BETWEEN_LINES:
            self.told = now
            log.info("score | %s", self.line())

    def line(self) -> str:
        """`120,000 of about 1,000,000 rows | 1,350 rows/s | about 11 min left`."""
        done, total = self.scored + self.found, self.total
        rate = self.scored / max(time.monotonic() - self.started, 1e-9)
        left = max(total - done, 0) / max(rate, 1e-9)
        return f"{done:,} of about {max(total, done):,} rows | {rate:,.0f} rows/s | about {_duration(left)} left"

    @property
    def total(self) -> int:
        """About how many rows there are."""
        known = sum(self.rows.values())
        size = sum(self.files[number].size for number in self.rows)
        rest = sum(file.size for number, file in enumerate(self.files) if number not in self.rows)
        return known + (round(known * rest / size) if size else 0)

    def figures(self) -> dict[str, float]:
        """For the manifest: seconds of this command, and rows that it scored in a second."""
        seconds = time.monotonic() - self.started
        return {"seconds": round(seconds, 3), "rows": float(self.scored), "rows_per_second": self.scored / seconds}


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
