"""A small HTTP/1.1 load generator: keep-alive connections, one request in flight on each; records latencies.

Run as a separate process (`python benchmarks/load.py ...`), it uses about 40 µs of a core per request, which leaves the
rest to the server under test. It reads JSON bodies from a file, one per line, and prints a JSON report.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import math
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any


class Connection(asyncio.Protocol):
    """Sends the next request as soon as the last one is answered."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._buffer = b""
        self._started = 0.0
        self._transport: asyncio.WriteTransport | None = None

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        self._send()

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            return
        head = self._buffer[:end].lower()
        length = _content_length(head)
        if length is None or len(self._buffer) < end + 4 + length:
            return
        self._run.answered(int(self._buffer[9:12]), time.perf_counter() - self._started)
        self._buffer = self._buffer[end + 4 + length :]
        if self._run.over:
            self._close()
        elif b"connection: close" in head:
            self._close()
            self._run.reconnect()
        else:
            self._send()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self._run.over and self._transport is not None:
            self._run.lost += 1
            self._run.reconnect()

    def _send(self) -> None:
        self._started = time.perf_counter()
        if self._transport is not None:
            self._transport.write(next(self._run.requests))

    def _close(self) -> None:
        transport, self._transport = self._transport, None
        if transport is not None:
            transport.close()


class Run:
    """One run at one concurrency."""

    def __init__(self, host: str, port: int, requests: Iterator[bytes], seconds: float) -> None:
        self._host, self._port, self._seconds = host, port, seconds
        self.requests = requests
        self.latencies: list[float] = []
        self.statuses: Counter[int] = Counter()
        self.lost = 0
        self._counting_from = self._end = 0.0
        self._tasks: set[asyncio.Task[Any]] = set()

    @property
    def over(self) -> bool:
        return time.perf_counter() > self._end

    def answered(self, status: int, seconds: float) -> None:
        now = time.perf_counter()
        if self._counting_from <= now <= self._end:
            self.statuses[status] += 1
            if status < 400:
                self.latencies.append(seconds)

    def reconnect(self) -> None:
        connecting = asyncio.get_running_loop().create_connection(lambda: Connection(self), self._host, self._port)
        task = asyncio.ensure_future(connecting)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def go(self, concurrency: int, warm_up: float) -> dict[str, Any]:
        """Warms up and measures. Returns req/s of answers below 400, milliseconds, errors, requests shed (429, 503)."""
        now = time.perf_counter()
        self._counting_from, self._end = now + warm_up, now + warm_up + self._seconds
        for _ in range(concurrency):
            self.reconnect()
        await asyncio.sleep(warm_up + self._seconds)
        await asyncio.sleep(0.2)
        shed = self.statuses[429] + self.statuses[503]
        failed = sum(count for status, count in self.statuses.items() if status >= 400) - shed
        return {
            "concurrency": concurrency,
            "requests_per_second": round(len(self.latencies) / self._seconds, 1),
            "p50_ms": percentile_ms(self.latencies, 0.50),
            "p99_ms": percentile_ms(self.latencies, 0.99),
            "errors": failed + self.lost,
            "shed": shed,
        }


def _content_length(head: bytes) -> int | None:
    position = head.find(b"content-length:")
    if position < 0:
        return None
    return int(head[position + 15 :].split(b"\r\n", 1)[0])


def percentile_ms(seconds: list[float], share: float) -> float | None:
    """Nearest-rank percentile."""
    if not seconds:
        return None
    ordered = sorted(seconds)
    return round(1000 * ordered[max(0, math.ceil(share * len(ordered)) - 1)], 2)


def build_request(host: str, port: int, path: str, body: bytes) -> bytes:
    """A POST of JSON as bytes of HTTP/1.1."""
    lines = (f"POST {path} HTTP/1.1", f"Host: {host}:{port}", "Content-Type: application/json")
    return "\r\n".join((*lines, f"Content-Length: {len(body)}", "", "")).encode() + body


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description="HTTP load with keep-alive; prints a JSON report.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--path", default="/classify")
    parser.add_argument("--bodies", type=Path, required=True, help="file with one JSON body per line")
    parser.add_argument("--concurrency", type=int, default=16)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--warm-up", type=float, default=1.0)
    given = parser.parse_args()
    lines = [line for line in given.bodies.read_bytes().splitlines() if line]
    requests = itertools.cycle([build_request(given.host, given.port, given.path, line) for line in lines])
    run = Run(given.host, given.port, requests, given.seconds)
    print(json.dumps(asyncio.run(run.go(given.concurrency, given.warm_up))))


if __name__ == "__main__":
    main()
