"""Refuses requests that the queue has no room for, by path and client, before their bodies are read.

Under ten times the load nine of ten requests are refused, and the cost of a refusal reduces the throughput of the
others. So no body is read or parsed, and no task is started. The connection calls `Early.answer` as soon as the head
of the request has arrived; if keys or proxies identify the client, or another protocol is in use, the gate calls it
later.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

from starlette.responses import Response

from .admission import OverloadedError
from .metrics import Instruments
from .refusals import Refused, refusal_response
from .runtime import Runtime
from .settings import Settings

WORK = frozenset(("/classify", "/v1/moderations", "/predict", "/explain", "/corrections"))


class Early:
    """Refuses requests before they are read.

    Args:
        runtime: returns the runtime; raises RuntimeError before the service has started.
        settings: of the service.
    """

    def __init__(self, runtime: Callable[[], Runtime], settings: Settings) -> None:
        self._runtime = runtime
        self._by_address = not settings.api_keys and not settings.proxies

    def refuse(self, method: str, path: str, client: str | None) -> Refused | None:
        """The refusal of a request that no queue has room for; otherwise None.

        Args:
            method: of HTTP.
            path: of the request.
            client: None: not known yet; only a queue that is full for all clients counts.
        """
        if method != "POST" or path not in WORK:
            return None
        fault = self._runtime().overload(client)
        return None if fault is None else busy(fault)

    def answer(self, scope: Any) -> bytes | None:
        """The refusal as bytes to send, which is counted; otherwise None."""
        client = str(scope["client"][0]) if self._by_address and scope["client"] else None
        refusal = self.refuse(scope["method"], scope["path"], client)
        if refusal is None:
            return None
        Instruments.get().answered(scope["path"], refusal.status, refusal.reason)
        return _busy_bytes(int(refusal.headers["retry-after"]))


def busy(fault: OverloadedError) -> Refused:
    """The refusal of a request that would not be answered in time."""
    wait = {"retry-after": str(max(math.ceil(fault.seconds), 1))}
    return Refused(429, "the service is busy; try again in a moment", reason=fault.reason, headers=wait)


@functools.lru_cache
def _busy_bytes(seconds: int) -> bytes:
    return on_the_wire(refusal_response(busy(OverloadedError("queue", seconds))))


def on_the_wire(response: Response) -> bytes:
    """A complete HTTP/1.1 response with a content length."""
    head = b"".join(b"%s: %s\r\n" % header for header in response.raw_headers)
    return b"HTTP/1.1 %d \r\n%s\r\n%s" % (response.status_code, head, bytes(response.body))
