"""Peak memory of a block of code in this process."""

from __future__ import annotations

import threading
from pathlib import Path
from types import TracebackType

STATUS, CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")
RESET_PEAK = "5"
SECONDS_BETWEEN = 0.02


class PeakMemory:
    """`with PeakMemory() as memory: …`, then `memory.rss_mb` and `memory.private_mb`.

    Attributes:
        rss_mb: peak resident memory as counted by the kernel, including pages of memory-mapped files that were read.
        private_mb: peak resident memory without those pages, sampled every 20 ms. Unlike pages of files, the kernel
            cannot reclaim it when memory is short.
    """

    def __init__(self) -> None:
        self.rss_mb = self.private_mb = 0.0
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> PeakMemory:
        CLEAR.write_text(RESET_PEAK)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._done.set()
        self._thread.join()
        self.rss_mb = _status_mb("VmHWM")

    def _watch(self) -> None:
        while not self._done.wait(SECONDS_BETWEEN):
            self.private_mb = max(self.private_mb, _status_mb("RssAnon"))


def _status_mb(name: str) -> float:
    """A line of the kernel's status of this process, in MiB."""
    for line in STATUS.read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) / 1024
    raise RuntimeError(f"{STATUS}: no line {name}; Linux 4.5 or later is needed.")
