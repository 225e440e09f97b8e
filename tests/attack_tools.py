"""What the attacks share: connections from an address of choice, a plain client beside them, memory and logs."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import statistics
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import psutil
from serving_process import Served

FULL = os.environ.get("EVENODD_ATTACKS") == "full"
CANARY = "zebracanary"
BESIDE = "127.0.0.2"
STATED = (429, 503)


def size(short: int, full: int) -> int:
    """How many: a few in every run of the tests, all of them in `make test-attacks`."""
    return full if FULL else short


def connect(served: Served, source: str = "127.0.0.1", timeout: float = 30) -> socket.socket:
    """A connection to the service from an address of this machine."""
    return socket.create_connection(("127.0.0.1", served.port), timeout=timeout, source_address=(source, 0))


def post(path: str, body: Any, length: int | None = None) -> bytes:
    """A request as bytes; `length` may be wrong."""
    content = body if isinstance(body, bytes) else json.dumps(body, ensure_ascii=False).encode()
    declared = len(content) if length is None else length
    lines = (f"POST {path} HTTP/1.1", "Host: localhost", "Content-Type: application/json")
    return "\r\n".join((*lines, f"Content-Length: {declared}", "", "")).encode() + content


def read_status(connection: socket.socket) -> int:
    """The status of one answer, read to its end; 0: the connection ended without one."""
    data = b""
    with contextlib.suppress(OSError):
        while b"\r\n\r\n" not in data:
            chunk = connection.recv(65_536)
            if not chunk:
                break
            data += chunk
        head, _, rest = data.partition(b"\r\n\r\n")
        named = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
        missing = int(named[0].split(b":")[1]) - len(rest) if named else 0
        while missing > 0 and (chunk := connection.recv(65_536)):
            missing -= len(chunk)
    return int(data[9:12]) if data[9:12].isdigit() else 0


def ask(served: Served, request: bytes, source: str = "127.0.0.1", timeout: float = 90) -> tuple[int, float]:
    """Status and seconds of a request on a new connection; status 0: no answer."""
    started = time.perf_counter()
    try:
        with connect(served, source, timeout) as connection:
            with contextlib.suppress(OSError):  # refused before it was sent whole
                connection.sendall(request)
            return read_status(connection), time.perf_counter() - started
    except OSError:
        return 0, time.perf_counter() - started


def ask_all(served: Served, requests: list[bytes], threads: int = 16) -> list[tuple[int, float]]:
    """As `ask`, so many at a time."""
    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(lambda request: ask(served, request), requests))


@dataclass
class Beside:
    """What a plain client saw."""

    statuses: list[int] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)

    def check(self) -> None:
        """All were answered, 99 of 100 within a second."""
        assert self.statuses
        assert set(self.statuses) == {200}, self.statuses
        assert percentile(self.seconds, 0.99) <= 1.0, max(self.seconds)


@contextlib.contextmanager
def plain_client(served: Served) -> Iterator[Beside]:
    """Somebody who classifies a short text twenty times a second, from another address, while the block runs."""
    found, stop = Beside(), threading.Event()
    request = post("/classify", {"texts": ["sun and rain"]})

    def go() -> None:
        while not found.statuses or not stop.wait(0.05):  # at least once, however short the attack is
            status, seconds = ask(served, request, BESIDE)
            found.statuses.append(status)
            found.seconds.append(seconds)

    thread = threading.Thread(target=go)
    thread.start()
    try:
        yield found
    finally:
        stop.set()
        thread.join()


def percentile(values: list[float], share: float) -> float:
    """Nearest rank."""
    return sorted(values)[max(round(share * len(values)) - 1, 0)]


def median(values: list[float]) -> float:
    """Middle value."""
    return statistics.median(values)


def megabytes(served: Served) -> float:
    """What the service's processes hold in memory of their own."""
    processes = [psutil.Process(served.process.pid), *psutil.Process(served.process.pid).children(recursive=True)]
    return sum(process.memory_full_info().uss for process in processes) / 1e6


def workers(served: Served) -> set[int]:
    """Ids of the worker processes."""
    found = set()
    for child in psutil.Process(served.process.pid).children(recursive=True):
        with contextlib.suppress(psutil.Error):
            if any("_bentoml_impl.worker" in part for part in child.cmdline()):
                found.add(child.pid)
    return found
