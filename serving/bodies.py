"""Request bodies: read within a deadline, at a minimum rate, and within a memory budget for all of them."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from starlette.datastructures import Headers

from .refusals import ClientGone, Refused
from .settings import Settings

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]

# A body may take this long, plus its bytes divided by the minimum rate.
GRACE_SECONDS = 10.0
LEAST_BYTES_PER_SECOND = 65_536
# Bodies up to this size are not counted: the limit on connections bounds them, and large bodies must not delay them.
SMALL_BYTES = 16_384
CLIENT_SHARE = 0.5


class Bodies:
    """Bytes of request bodies in one worker, in total and per client.

    Args:
        limit: total bytes.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._by_client: Counter[str] = Counter()
        self.held = 0

    def hold(self, client: str) -> Held:
        """A request's share of the budget, released when the block ends."""
        return Held(self, client)

    def add(self, client: str, size: int) -> bool:
        """Adds bytes, if they fit."""
        fits = self.held + size <= self._limit and self._by_client[client] + size <= CLIENT_SHARE * self._limit
        if fits:
            self.held += size
            self._by_client[client] += size
        return fits

    def give_back(self, client: str, size: int) -> None:
        """Removes bytes."""
        self.held -= size
        self._by_client[client] -= size
        if not self._by_client[client]:
            del self._by_client[client]


class Held:
    """One request's share of the budget."""

    def __init__(self, bodies: Bodies, client: str) -> None:
        self._bodies, self._client = bodies, client
        self._seen = self._counted = 0

    def __enter__(self) -> Held:
        return self

    def __exit__(self, *fault: object) -> None:
        if self._counted:
            self._bodies.give_back(self._client, self._counted)

    def add(self, size: int) -> None:
        """Adds bytes.

        Raises:
            Refused: 503, the budget is used up.
        """
        self._seen += size
        new = self._seen - self._counted
        if self._seen <= SMALL_BYTES:
            return
        if not self._bodies.add(self._client, new):
            raise Refused(
                503,
                "too many large bodies at once; try again in a moment",
                reason="memory",
                headers={"retry-after": "2", "connection": "close"},
            )
        self._counted += new


async def read_json(receive: Receive, headers: Headers, settings: Settings, held: Held) -> dict[str, Any]:
    """The body as a JSON object.

    Raises:
        Refused: 413 too large, 415 another content type, 400 no JSON object, 408 too slow, 503 no memory for it.
        ClientGone: the client closed the connection before the end of the body.
    """
    return parse_json(await read_body(receive, headers, settings, held))


async def read_body(receive: Receive, headers: Headers, settings: Settings, held: Held) -> bytes:
    """The body of a request with the content type JSON.

    Raises:
        Refused, ClientGone: as `read_json`.
    """
    if headers.get("content-type", "").split(";")[0].strip().lower() != "application/json":
        raise Refused(415, "the body must be JSON: send the header `Content-Type: application/json`", "content-type")
    declared = headers.get("content-length", "0")
    if declared.isdigit() and int(declared) > settings.max_body:
        raise _too_large(settings)
    return await _read(receive, settings, held)


def parse_json(body: bytes) -> dict[str, Any]:
    """A body as a JSON object.

    Raises:
        Refused: 400, it is not a JSON object.
    """
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        raise Refused(400, "the body is not JSON in UTF-8", "body") from None
    if not isinstance(value, dict):
        raise Refused(400, 'the body must be a JSON object, such as {"texts": ["..."]}', "body")
    return value


async def _read(receive: Receive, settings: Settings, held: Held) -> bytes:
    chunks, size = [], 0
    until = asyncio.get_running_loop().time() + GRACE_SECONDS
    try:
        async with asyncio.timeout_at(until) as deadline:
            while True:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise ClientGone
                chunk = message.get("body", b"")
                size += len(chunk)
                if size > settings.max_body:
                    raise _too_large(settings)
                held.add(len(chunk))
                chunks.append(chunk)
                if not message.get("more_body", False):
                    return chunks[0] if len(chunks) == 1 else b"".join(chunks)
                deadline.reschedule(until + size / LEAST_BYTES_PER_SECOND)
    except TimeoutError:
        raise Refused(
            408,
            f"the body arrived too slowly: at least {LEAST_BYTES_PER_SECOND} bytes/s after {GRACE_SECONDS:g} seconds",
            "body",
            reason="slow",
            headers={"connection": "close"},
        ) from None


def _too_large(settings: Settings) -> Refused:
    message = f"the body is larger than {settings.max_body} bytes; send fewer texts at a time"
    return Refused(413, message, "body", headers={"connection": "close"})
