"""Load that does not wait for answers: requests are sent when they are due, on as many connections as needed.

    python benchmarks/open_load.py --port 3000 --bodies FILE --rate 500 --seconds 60 [--sources 4]

A client that waits for each answer slows down with the service, and so cannot overload it. Here each request has its
due time, and its latency counts from then, even if the client was late. Requests come from several addresses of this
machine (127.0.0.2 onwards), because limits are per address. It prints a JSON report.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import itertools
import json
import resource
import sys
import time
from collections import Counter, deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.load import build_request, percentile_ms

TICK_SECONDS = 0.002
PATIENCE_SECONDS = 90.0
REFUSED = (429, 503)


class Connection(asyncio.Protocol):
    """A connection with one request at a time."""

    def __init__(self, load: OpenLoad, source: str) -> None:
        self._load, self._source = load, source
        self._buffer = b""
        self._due = 0.0
        self._waits = False
        self._transport: Any = None

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def ask(self, request: bytes, due: float) -> None:
        """Sends a request with its due time."""
        self._due, self._waits = due, True
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            return
        head = self._buffer[:end].lower()
        at = head.find(b"content-length:")
        length = int(head[at + 15 :].split(b"\r\n", 1)[0]) if at >= 0 else 0
        if len(self._buffer) < end + 4 + length:
            return
        self._waits = False
        self._load.answered(int(self._buffer[9:12]), time.perf_counter() - self._due)
        self._buffer = self._buffer[end + 4 + length :]
        if b"connection: close" in head:
            self._transport.close()
        else:
            self._load.idle[self._source].append(self)

    def connection_lost(self, exc: Exception | None) -> None:
        with contextlib.suppress(ValueError):
            self._load.idle[self._source].remove(self)
        self._load.open -= 1
        if self._waits:
            self._load.lost += 1
            self._load.waiting -= 1


class OpenLoad:
    """Requests at a rate.

    Args:
        address: host and port.
        requests: endless, as bytes of HTTP/1.1.
        sources: source addresses, used in turn.
        most: maximum number of connections; if none is free a request waits, which counts as latency.
    """

    def __init__(self, address: tuple[str, int], requests: Iterator[bytes], sources: list[str], most: int) -> None:
        self._address, self._requests, self._most = address, requests, most
        self._sources = itertools.cycle(sources)
        self.idle: dict[str, deque[Connection]] = {source: deque() for source in sources}
        self.seconds: dict[str, list[float]] = {"accepted": [], "refused": []}
        self.statuses: Counter[int] = Counter()
        self.open = self.lost = self.failed = self.waiting = 0
        self._tasks: set[asyncio.Task[None]] = set()

    def answered(self, status: int, seconds: float) -> None:
        """Counts an answer."""
        self.waiting -= 1
        self.statuses[status] += 1
        if status == 200 or status in REFUSED:
            self.seconds["accepted" if status == 200 else "refused"].append(seconds)

    async def go(self, rate: float, seconds: float) -> dict[str, Any]:
        """Sends requests, waits for the last answers, and returns the report."""
        started = time.perf_counter()
        due = started
        while due < started + seconds:
            while due <= time.perf_counter():
                self._send(due)
                due += 1 / rate
            await asyncio.sleep(TICK_SECONDS)
        until = time.perf_counter() + PATIENCE_SECONDS
        while self.waiting and time.perf_counter() < until:
            await asyncio.sleep(TICK_SECONDS)
        return self._report(seconds)

    def _send(self, due: float) -> None:
        source = next(self._sources)
        request = next(self._requests)
        self.waiting += 1
        if self.idle[source]:
            self.idle[source].pop().ask(request, due)
        elif self.open < self._most:
            self.open += 1
            task = asyncio.ensure_future(self._connect(source, request, due))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        else:
            self.waiting -= 1
            self.failed += 1

    async def _connect(self, source: str, request: bytes, due: float) -> None:
        loop = asyncio.get_running_loop()
        try:
            _, made = await loop.create_connection(
                lambda: Connection(self, source), *self._address, local_addr=(source, 0)
            )
        except OSError:
            self.open -= 1
            self.waiting -= 1
            self.failed += 1
            return
        made.ask(request, due)

    def _report(self, seconds: float) -> dict[str, Any]:
        used = resource.getrusage(resource.RUSAGE_SELF)
        times = {
            f"{name}_{label}_ms": percentile_ms(found, share)
            for name, found in self.seconds.items()
            for label, share in (("p50", 0.5), ("p99", 0.99))
        }
        return {
            **times,
            "statuses": {str(status): count for status, count in sorted(self.statuses.items())},
            "accepted_per_second": round(len(self.seconds["accepted"]) / seconds, 1),
            "unanswered": self.waiting,
            "lost": self.lost,
            "not_sent": self.failed,
            "client_cpu_seconds": round(used.ru_utime + used.ru_stime, 2),
        }


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description="HTTP load at a rate; prints a JSON report.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--path", default="/classify")
    parser.add_argument("--bodies", type=Path, required=True, help="file with one JSON body per line")
    parser.add_argument("--rate", type=float, required=True, help="requests per second")
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--sources", type=int, default=4, help="number of source addresses")
    parser.add_argument("--most", type=int, default=2000, help="connections")
    given = parser.parse_args()
    lines = [line for line in given.bodies.read_bytes().splitlines() if line]
    requests = itertools.cycle([build_request(given.host, given.port, given.path, line) for line in lines])
    sources = [f"127.0.0.{number + 2}" for number in range(given.sources)]
    load = OpenLoad((given.host, given.port), requests, sources, given.most)
    print(json.dumps(asyncio.run(load.go(given.rate, given.seconds))))


if __name__ == "__main__":
    main()
