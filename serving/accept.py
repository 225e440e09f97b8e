"""New connections go to the worker that holds the fewest.

All workers listen on one socket, and the first to wake up accepts every waiting connection: of 16 connections opened
together, one of two workers accepted all, and the other core stayed idle. Here each worker publishes how many
connections it holds, and a worker that holds more than another briefly leaves a new connection to it. If one worker
holds far fewer, for example because it has just started, the others close some of theirs after the next answer, and
the clients reconnect.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import logging
import mmap
import os
import resource
import signal
import socket
import struct
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from .protocol import BoundedProtocol, Refuse

logger = logging.getLogger(__name__)

SLOT = struct.Struct("dq")
SLOTS = 256
BEAT_SECONDS = 0.1
ALIVE_SECONDS = 1.0
PATIENCE = 0.0005
MOST_PATIENCE = 40
MOST_AT_ONCE, MANY = 16, 32
FAULT_SECONDS = 1.0
GONE = -ALIVE_SECONDS
UNEVEN, UNEVEN_SHARE = 4, 8
PR_SET_PDEATHSIG = 1
MOST_CONNECTIONS, SPARE_DESCRIPTORS = 8192, 128
CLOSE = (b"connection", b"close")


class Board:
    """Number of connections of each worker of a service, in shared memory.

    Args:
        path: a file of this service; created if it does not exist.
        slot: number of this worker, from 0.

    Raises:
        OSError: the file cannot be created.
    """

    def __init__(self, path: Path, slot: int) -> None:
        self.path = path
        self._slot = slot % SLOTS
        with os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600), "r+b") as file:
            file.truncate(SLOT.size * SLOTS)
            self._memory = mmap.mmap(file.fileno(), SLOT.size * SLOTS)

    def write(self, connections: int) -> None:
        """Publishes how many connections this worker holds."""
        SLOT.pack_into(self._memory, self._slot * SLOT.size, time.monotonic(), connections)

    def others(self) -> list[int]:
        """Connections of each other worker that is alive."""
        now = time.monotonic()
        slots = enumerate(SLOT.iter_unpack(self._memory))
        return [held for slot, (beat, held) in slots if slot != self._slot and 0 <= now - beat < ALIVE_SECONDS]

    def leave(self) -> None:
        """This worker accepts no more connections; the last worker removes the file."""
        SLOT.pack_into(self._memory, self._slot * SLOT.size, GONE, 0)
        if not self.others():
            self.path.unlink(missing_ok=True)


class Acceptor:
    """Accepts connections from a listening socket, one at a time and no more than the other workers; uvicorn's
    `Server` treats it as one of its servers.
    """

    def __init__(
        self,
        server: uvicorn.Server,
        listening: socket.socket,
        board: Board,
        *,
        keep_alive: float = 75.0,
        early: Refuse | None = None,
    ) -> None:
        self._server, self._board = server, board
        self._keep_alive, self._early, self._most = keep_alive, early, most_connections()
        self.sockets = [listening]
        self._loop = asyncio.get_running_loop()
        self._left = 0
        self._waiting: asyncio.TimerHandle | None = None
        self._tasks: set[asyncio.Task[Any]] = set()
        listening.setblocking(False)
        listening.listen(server.config.backlog)  # again, if the last worker before this one ended that
        self._beat()
        self._listen()

    def close(self) -> None:
        """Stops accepting. The last worker closes the listening socket, so that later clients are refused at once:
        the parent process also holds the socket, and clients would wait for an answer that never comes.
        """
        self._loop.remove_reader(self.sockets[0].fileno())
        self._heart.cancel()
        if self._waiting is not None:
            self._waiting.cancel()
        self._board.leave()
        if self._board.others():
            return
        while self._accept():
            pass
        with contextlib.suppress(OSError):
            self.sockets[0].shutdown(socket.SHUT_RDWR)

    async def wait_closed(self) -> None:
        """Returns at once: there is nothing to wait for."""

    @property
    def _held(self) -> int:
        return len(self._server.server_state.connections) + len(self._tasks)

    def _beat(self) -> None:
        self._heart = self._loop.call_later(BEAT_SECONDS, self._beat)
        self._board.write(self._held)
        self._even_out()

    def _even_out(self) -> None:
        """Hands connections over to a worker that has too few: those that are being answered now are closed after the
        answer, so that no client loses one.
        """
        others = self._board.others()
        missing = self._held - min(others, default=self._held)
        if missing < max(UNEVEN, self._held // UNEVEN_SHARE):
            return
        asked = [cycle for cycle in map(_cycle, self._server.server_state.connections) if cycle is not None]
        staying = [cycle for cycle in asked if cycle.keep_alive]
        for cycle in staying[: max(missing // (len(others) + 1) - (len(asked) - len(staying)), 0)]:
            cycle.keep_alive = False
            cycle.scope["headers"].append(CLOSE)  # uvicorn's h11 sends the header only if the client asked for it

    def _listen(self) -> None:
        self._loop.add_reader(self.sockets[0].fileno(), self._ready)

    def _ready(self) -> None:
        """Connections are waiting: accepts one, or several in a flood, or briefly leaves them to another worker."""
        for _ in range(MOST_AT_ONCE):
            if self._is_ahead() and self._left < MOST_PATIENCE:
                self._left += 1
                self._pause(PATIENCE)
                return
            self._left = 0
            try:
                taken = self._accept()
                self._board.write(self._held)
                if not taken or self._held < MANY:
                    return
            except OSError as fault:  # out of file descriptors, most likely
                logger.error("accepting no connections for one second | %s", fault)
                self._pause(FAULT_SECONDS)
                return

    def _is_ahead(self) -> bool:
        """Whether another worker holds considerably fewer."""
        self._board.write(self._held)
        fewest = min(self._board.others(), default=self._held)
        return self._held > fewest + max(fewest - MANY, 0) // UNEVEN_SHARE

    def _accept(self) -> bool:
        """Accepts a waiting connection; at the limit an idle connection is closed first."""
        try:
            connection, _ = self.sockets[0].accept()
        except (BlockingIOError, InterruptedError, ConnectionAbortedError):
            return False
        if self._held >= self._most and not self._end_an_idle_one():
            connection.close()
            return True
        connection.setblocking(False)
        task = self._loop.create_task(self._start(connection))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return True

    def _end_an_idle_one(self) -> bool:
        idle = next((one for one in self._server.server_state.connections if getattr(one, "idle", False)), None)
        if idle is None:
            return False
        idle.transport.close()
        return True

    def _pause(self, seconds: float) -> None:
        self._loop.remove_reader(self.sockets[0].fileno())
        self._waiting = self._loop.call_later(seconds, self._listen)

    async def _start(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError):
            await self._loop.connect_accepted_socket(self._protocol, connection, ssl=self._server.config.ssl)

    def _protocol(self) -> asyncio.Protocol:
        config: Any = self._server.config
        given = {
            "config": config,
            "server_state": self._server.server_state,
            "app_state": self._server.lifespan.state,
            "_loop": self._loop,
        }
        if issubclass(config.http_protocol_class, HttpToolsProtocol):
            made = BoundedProtocol(keep_alive=self._keep_alive, early=self._early, **given)
            made.draining = self._server.should_exit
            return made
        other: asyncio.Protocol = config.http_protocol_class(**given)
        return other


def _cycle(connection: Any) -> Any:
    """uvicorn's state of the connection's request if it has arrived completely, no other follows, and its answer has
    not begun.
    """
    cycle = getattr(connection, "cycle", None)
    busy = cycle is None or cycle.response_started or cycle.more_body or getattr(connection, "pipeline", ())
    return None if busy else cycle


def end_with_parent() -> None:
    """Linux stops this worker when its parent ends for any reason: an orphan would keep the port."""
    if sys.platform != "linux":
        return
    parent = os.getppid()
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:
        os.kill(os.getpid(), signal.SIGTERM)


def most_connections() -> int:
    """Number of connections that a worker can hold: limited by file descriptors, whose limit is raised first."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST_CONNECTIONS + SPARE_DESCRIPTORS
    limit = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < limit:
        resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
    return limit - SPARE_DESCRIPTORS


def share_connections(slot: int, keep_alive: float, early: Refuse | None = None) -> None:
    """Makes uvicorn's servers in this process accept only their share of the connections.

    Args:
        slot: number of this worker, from 0. Workers of one service have the same parent.
        keep_alive: seconds that a connection stays open between requests.
        early: see `BoundedProtocol`.
    """
    path = Path(tempfile.gettempdir()) / f"evenodd-{os.getuid()}-{os.getppid()}.connections"
    try:
        board = Board(path, slot)
    except OSError as fault:
        logger.warning("connections are not balanced between the workers | %s", fault)
        return
    start = uvicorn.Server.startup

    async def startup(server: uvicorn.Server, sockets: list[socket.socket] | None = None) -> None:
        await start(server, sockets=None if sockets is None else [])
        if server.started and sockets:
            server.servers = [Acceptor(server, one, board, keep_alive=keep_alive, early=early) for one in sockets]  # type: ignore[misc]

    uvicorn.Server.startup = startup  # type: ignore[method-assign, assignment]
