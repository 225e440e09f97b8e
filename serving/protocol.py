"""uvicorn's HTTP protocol with limits: the head of a request has a deadline and a size, and answers end with the
connection.

Without them a connection that never completes a head is kept for ever, an endless head fills the memory, and each
client that disconnects during an answer leaves a traceback in the log.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

HEAD_SECONDS = 10.0
HEAD_SECONDS_DRAINING = 1.0
HEAD_BYTES = 65_536
SMALL_BODY_BYTES = 65_536
TOO_LARGE = b"HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"


# From the scope of a request, the response that refuses it unread, or None.
Refuse = Callable[[Any], bytes | None]


class BoundedProtocol(HttpToolsProtocol):
    """One connection.

    Args:
        keep_alive: seconds that it stays open between requests.
        early: refuses a request once its head has arrived; None: no such check.
        given: arguments of uvicorn's protocol.
    """

    def __init__(self, *, keep_alive: float, early: Refuse | None = None, **given: Any) -> None:
        super().__init__(**given)
        self._early = early
        self.timeout_keep_alive = max(self.timeout_keep_alive, keep_alive)  # type: ignore[assignment]
        self.draining = False
        self._head_bytes = 0
        self._deadline: asyncio.TimerHandle | None = None

    @property
    def idle(self) -> bool:
        """Whether no request is being read or answered."""
        return self.cycle is None or self.cycle.response_complete

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._expect_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._head_is_here()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self._deadline is None:
            return
        self._head_bytes += len(data)
        if self._head_bytes > HEAD_BYTES and not self.transport.is_closing():
            self.transport.write(TOO_LARGE)
            self.transport.close()

    def on_message_begin(self) -> None:
        super().on_message_begin()
        if self._deadline is None:
            self._expect_head()

    def on_headers_complete(self) -> None:
        self._head_is_here()
        super().on_headers_complete()
        if self.draining and self.cycle is not None:
            self.cycle.keep_alive = False

    def on_message_complete(self) -> None:
        super().on_message_complete()
        if self.cycle is not None and self.cycle.response_complete:  # uvicorn no longer checks
            self.cycle.more_body = False
            self._head_is_here()

    def shutdown(self) -> None:
        self.draining = True
        super().shutdown()

    def _start_asgi_task(self, cycle: Any, app: Any) -> None:
        refusal = self._early(cycle.scope) if self._early is not None else None
        if refusal is not None:
            self._refuse(cycle, refusal)
            return

        async def answer(scope: Any, receive: Any, send: Any) -> None:
            async def send_while_open(message: Any) -> None:
                if not self.transport.is_closing():
                    await send(message)

            await app(scope, receive, send_while_open)
            if self.transport.is_closing():
                cycle.disconnected = True

        super()._start_asgi_task(cycle, answer)

    def _refuse(self, cycle: Any, answer: bytes) -> None:
        """Responds without a task. The rest of a small body may arrive within the time for a head; a large one is cut
        off."""
        self.transport.write(answer)
        cycle.response_started = cycle.response_complete = True
        if self.draining or not cycle.keep_alive or (cycle.more_body and _is_long(cycle.scope["headers"])):
            self.transport.close()
        else:
            self.loop.call_soon(self._after_refusal, cycle)  # direct calls would nest for every pipelined request

    def _after_refusal(self, cycle: Any) -> None:
        cycle.on_response()
        if cycle is self.cycle and cycle.more_body:
            self._expect_head()

    def _expect_head(self) -> None:
        self._head_bytes = 0
        seconds = HEAD_SECONDS_DRAINING if self.draining else HEAD_SECONDS
        self._deadline = self.loop.call_later(seconds, self._give_up)

    def _head_is_here(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _give_up(self) -> None:
        self._deadline = None
        if not self.transport.is_closing():
            self.transport.close()


def _is_long(headers: list[tuple[bytes, bytes]]) -> bool:
    """Whether the body may be too large to read and discard."""
    length = next((value for name, value in headers if name == b"content-length"), b"")
    return not length.isdigit() or int(length) > SMALL_BODY_BYTES
