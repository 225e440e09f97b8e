"""Connections are shared out among workers, and none is lost over it."""

from __future__ import annotations

import asyncio
import os
import socket
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import uvicorn

from serving import accept
from serving.accept import ALIVE_SECONDS, Acceptor, Board


async def hello(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """An application that answers everything alike."""
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"ok"})


def listening() -> socket.socket:
    found = socket.socket()
    found.bind(("127.0.0.1", 0))
    found.listen(128)
    return found


@asynccontextmanager
async def workers(
    boards: list[Board], shared: socket.socket, application: Any = hello, http: str = "auto"
) -> AsyncIterator[list[uvicorn.Server]]:
    """Servers that take connections from one socket, in one loop."""
    servers = []
    for board in boards:
        config = uvicorn.Config(application, lifespan="off", log_level="error", http=http)
        config.load()
        server = uvicorn.Server(config)
        server.lifespan = config.lifespan_class(config)
        server.servers = [Acceptor(server, shared.dup(), board)]  # type: ignore[list-item]
        servers.append(server)
    try:
        yield servers
    finally:
        for server in servers:
            server.servers[0].close()


async def connect(port: int, count: int) -> list[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """Open connections at the same moment, each with an answer."""

    async def one() -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
        assert (await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 10)).startswith(b"HTTP/1.1 200")
        return reader, writer

    return list(await asyncio.gather(*(one() for _ in range(count))))


def test_connections_opened_together_are_shared_out(tmp_path: Path) -> None:
    """One worker that takes them all leaves the other core idle for as long as they last."""

    async def scenario() -> list[int]:
        shared = listening()
        async with workers([Board(tmp_path / "board", slot) for slot in (0, 1)], shared) as servers:
            held = await connect(shared.getsockname()[1], 16)
            counts = [len(server.server_state.connections) for server in servers]
            for _, writer in held:
                writer.close()
        return counts

    counts = asyncio.run(scenario())
    assert sum(counts) == 16
    assert min(counts) >= 7


def test_a_worker_that_is_stuck_or_gone_is_not_waited_for(tmp_path: Path) -> None:
    """A connection that is left to a worker that never comes is one that is never answered."""
    stuck, gone = Board(tmp_path / "board", 1), Board(tmp_path / "board", 2)

    async def scenario() -> int:
        shared = listening()
        gone.write(0)
        await asyncio.sleep(ALIVE_SECONDS + 0.1)
        async with workers([Board(tmp_path / "board", 0)], shared) as (server,):
            stuck.write(0)
            held = await connect(shared.getsockname()[1], 4)
            taken = len(server.server_state.connections)
            for _, writer in held:
                writer.close()
        return taken

    assert asyncio.run(scenario()) == 4


def test_a_fault_pauses_and_does_not_stop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Without file descriptors a listening socket is always ready, and a loop that tries again at once does no more."""
    monkeypatch.setattr(accept, "FAULT_SECONDS", 0.05)
    faults = iter([OSError(24, "Too many open files")])

    class Full(socket.socket):
        def accept(self) -> Any:
            fault = next(faults, None)
            if fault is not None:
                raise fault
            return super().accept()

    async def scenario() -> int:
        shared = listening()
        full = Full(fileno=shared.detach())
        monkeypatch.setattr(full, "dup", lambda: full, raising=False)
        async with workers([Board(tmp_path / "board", 0)], full) as (server,):
            [(_, writer)] = await connect(full.getsockname()[1], 1)
            taken = len(server.server_state.connections)
            writer.close()
        return taken

    assert asyncio.run(scenario()) == 1
    assert "Too many open files" in caplog.text


def test_the_board_knows_who_is_alive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Counts that a former service left behind under the same name would keep connections waiting."""
    boards = [Board(tmp_path / "board", slot) for slot in range(3)]
    assert boards[0].others() == []
    boards[1].write(5)
    boards[2].write(3)
    boards[0].write(9)
    assert min(boards[0].others()) == 3
    assert min(boards[2].others()) == 5
    now = time.monotonic()
    for moved in (ALIVE_SECONDS + 0.5, -3600):
        monkeypatch.setattr(accept.time, "monotonic", lambda moved=moved: now + moved)
        assert boards[0].others() == []
    assert (tmp_path / "board").stat().st_mode & 0o777 == 0o600


def test_a_link_in_the_place_of_the_board_is_refused(tmp_path: Path) -> None:
    """Temporary folders are everybody's."""
    (tmp_path / "victim").write_text("x")
    os.symlink(tmp_path / "victim", tmp_path / "board")
    with pytest.raises(OSError, match=r"symbolic|link"):
        Board(tmp_path / "board", 0)
    assert (tmp_path / "victim").read_text() == "x"


async def until(holds: Callable[[], bool]) -> None:
    """Waits for it, ten seconds at most."""
    end = time.monotonic() + 10
    while not holds():
        assert time.monotonic() < end
        await asyncio.sleep(0.02)


async def ask_on(port: int, stop: asyncio.Event) -> int:
    """Ask again and again on one connection, and on a new one when told that it closes. Returns how many closed."""
    closed = 0
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    while not stop.is_set():
        writer.write(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
        head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 10)
        assert await reader.readexactly(2) == b"ok"
        if b"connection: close" in head.lower():
            writer.close()
            closed += 1
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.close()
    return closed


@pytest.mark.parametrize("http", ["httptools", "h11"])
def test_a_worker_that_starts_later_gets_its_part(tmp_path: Path, http: str) -> None:
    """Connections opened before it came would all stay with the first, and one core would idle while they last."""

    async def slow(scope: dict[str, Any], receive: Any, send: Any) -> None:
        await asyncio.sleep(0.01)
        await hello(scope, receive, send)

    async def scenario() -> tuple[list[int], list[int]]:
        shared = listening()
        port = shared.getsockname()[1]
        async with workers([Board(tmp_path / "board", 0)], shared, slow, http) as first:
            stop = asyncio.Event()
            clients = [asyncio.ensure_future(ask_on(port, stop)) for _ in range(16)]
            await until(lambda: len(first[0].server_state.connections) == 16)
            async with workers([Board(tmp_path / "board", 1)], shared, slow, http) as second:
                await until(lambda: len(second[0].server_state.connections) >= 6)
                await asyncio.sleep(0.5)
                counts = [len(server.server_state.connections) for server in (*first, *second)]
                stop.set()
                return counts, await asyncio.gather(*clients)

    counts, closed = asyncio.run(scenario())
    assert 14 <= sum(counts) <= 16, "one may be on its way from one to the other"
    assert min(counts) >= 6
    assert 6 <= sum(closed) <= 20


def test_a_worker_that_stops_is_neither_spared_nor_alone_in_the_file(tmp_path: Path) -> None:
    """Its last count would draw connections for another second; one started in its place would share with nobody."""
    path = tmp_path / "board"
    staying, stopping = Board(path, 0), Board(path, 1)
    staying.write(9)
    stopping.write(0)
    assert staying.others() == [0]
    stopping.leave()
    assert staying.others() == []
    again = Board(path, 1)
    again.write(2)
    assert staying.others() == [2]
    assert again.others() == [9]
    again.leave()
    staying.leave()
    assert not path.exists()
