"""Progress, speed and remaining time of `score`."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from pathlib import Path

from evenodd.rows.inputs import Input, estimate_rows

log = logging.getLogger(__name__)

SECONDS_BETWEEN_LINES = 5.0


class Progress:
    """Counts finished rows and estimates their total; files that were not opened yet count by their size."""

    def __init__(self, files: Sequence[Input]) -> None:
        self.files = files
        self.started = self.told = time.monotonic()
        self.scored = self.found = 0
        self.rows: dict[int, int] = {}

    def opened(self, number: int, path: Path) -> None:
        """Records that a file is being read."""
        self.rows[number] = estimate_rows(path)

    def passed_over(self, rows: int) -> None:
        """Counts rows that an earlier command has scored."""
        self.found += rows

    def advance(self, rows: int) -> None:
        """Counts rows that were scored now, and logs a line from time to time."""
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
        """Estimated total number of rows."""
        known = sum(self.rows.values())
        size = sum(self.files[number].size for number in self.rows)
        rest = sum(file.size for number, file in enumerate(self.files) if number not in self.rows)
        return known + (round(known * rest / size) if size else 0)

    def figures(self) -> dict[str, float]:
        """Seconds of this command and its rows per second, for the manifest."""
        seconds = time.monotonic() - self.started
        return {"seconds": round(seconds, 3), "rows": float(self.scored), "rows_per_second": self.scored / seconds}


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
