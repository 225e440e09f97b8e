"""The HTTP surface: an ASGI layer in front of BentoML's own application.

BentoML documents `/classify` (`/docs.json`), runs the workers, and answers health and metrics. The requests themselves
are answered here, because a BentoML API method rebuilds a JSON schema for each of them, logs part of the user's text
when it refuses one, has no limit on the body and no notice of a client that went away. What this layer does not know
it hands on.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import parse_qs

from .batcher import Job, OverloadedError, Scored
from .corrections import StoreFullError
from .metrics import Instruments
from .page import SECURITY_HEADERS, StaticFile, read_files
from .requests import (
    ClientGone,
    Message,
    Receive,
    Refused,
    check_correction,
    check_explainable,
    check_texts,
    check_variant,
    read_json,
)
from .runtime import Runtime, Variant

logger = logging.getLogger(__name__)

Scope = dict[str, Any]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]
Body = tuple[int, bytes, tuple[tuple[bytes, bytes], ...]]
Handler = Callable[["Front", Runtime, Scope, Receive], Awaitable[Body]]

JSON_TYPE = (b"content-type", b"application/json")
WATCH_AFTER_SECONDS = 0.1


class Front:
    """Answers what is ours, hands on the rest.

    Args:
        app: BentoML's application.
        runtime: gives the runtime; called per request, as BentoML makes the service after its layers.
        page: the page's files by path; None: those of this package.
    """

    def __init__(self, app: App, runtime: Callable[[], Runtime], page: dict[str, StaticFile] | None = None) -> None:
        self._app = app
        self._runtime = runtime
        self._page = read_files() if page is None else page
        self._requests = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        path = scope["path"]
        methods = ROUTES.get(path)
        if methods is not None:
            await self._answer(methods, scope, receive, send)
        elif path in self._page and scope["method"] in ("GET", "HEAD"):
            await _send_file(self._page[path], scope, send)
        else:
            await self._app(scope, receive, send)

    async def _answer(self, methods: dict[str, Handler], scope: Scope, receive: Receive, send: Send) -> None:
        started = time.perf_counter()
        try:
            status, body, headers = await self._handle(methods, scope, receive)
        except ClientGone:
            status, body, headers = 499, b"", ()  # BentoML's own layers wait for an answer even when nobody else does
        except Refused as refusal:
            status, body, headers = _refusal_body(refusal)
        instruments = Instruments.get()
        instruments.answers.labels(scope["path"], str(status)).inc()
        instruments.seconds.labels(scope["path"]).observe(time.perf_counter() - started)
        length = (b"content-length", str(len(body)).encode())
        await send({"type": "http.response.start", "status": status, "headers": [*headers, length]})
        await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body})

    async def _handle(self, methods: dict[str, Handler], scope: Scope, receive: Receive) -> Body:
        method = "GET" if scope["method"] == "HEAD" else scope["method"]
        handler = methods.get(method)
        if handler is None:
            raise Refused(405, f"{scope['path']} takes {', '.join(methods)}", "method", allow=", ".join(methods))
        runtime = self._runtime()
        if self._requests >= runtime.settings.max_requests:
            raise Refused(429, "the service is busy; try again in a moment", **{"retry-after": "1"})
        self._requests += 1
        try:
            return await handler(self, runtime, scope, receive)
        finally:
            self._requests -= 1

    async def classify(self, runtime: Runtime, scope: Scope, receive: Receive) -> Body:
        """POST /classify."""
        body = await read_json(receive, scope["headers"], runtime.settings)
        texts = check_texts(body, runtime.settings)
        variant = check_variant(body, runtime)
        scored = await _scored(variant, texts, receive, runtime.settings.timeout)
        return _json(variant.answer(scored))

    async def explain(self, runtime: Runtime, scope: Scope, receive: Receive) -> Body:
        """POST /explain."""
        body = await read_json(receive, scope["headers"], runtime.settings)
        text = check_explainable(body, runtime.settings)
        variant = check_variant(body, runtime)
        texts = variant.explanation_texts(text)
        scored = await _scored(variant, texts, receive, runtime.settings.timeout, exact=True)
        return _json(variant.explain(text, scored))

    async def correct(self, runtime: Runtime, scope: Scope, receive: Receive) -> Body:
        """POST /corrections."""
        store = runtime.corrections
        if store is None:
            raise Refused(
                403, "corrections are off; start the service with EVENODD_CORRECTIONS=corrections.db to keep them"
            )
        row = check_correction(await read_json(receive, scope["headers"], runtime.settings), runtime)
        try:
            await asyncio.get_running_loop().run_in_executor(None, store.add, row)
        except StoreFullError as fault:
            raise Refused(507, str(fault)) from None
        except RuntimeError as fault:
            logger.error("correction not kept | %s", fault)
            raise Refused(503, "the store of corrections cannot be reached", **{"retry-after": "10"}) from None
        return _json({"stored": True}, 201)

    async def info(self, runtime: Runtime, scope: Scope, receive: Receive) -> Body:
        """GET /info."""
        return _json(runtime.info)

    async def card(self, runtime: Runtime, scope: Scope, receive: Receive) -> Body:
        """GET /card, or /card?variant=NAME."""
        name = parse_qs(scope.get("query_string", b"").decode("latin-1")).get("variant", [None])[0]
        card = check_variant({"variant": name}, runtime).bundle.card
        if card is None:
            raise Refused(404, "this bundle has no model card")
        headers = ((b"content-type", b"text/plain; charset=utf-8"), *SECURITY_HEADERS)
        return 200, card.encode(), headers


ROUTES: dict[str, dict[str, Handler]] = {
    "/classify": {"POST": Front.classify},
    "/explain": {"POST": Front.explain},
    "/corrections": {"POST": Front.correct},
    "/info": {"GET": Front.info},
    "/card": {"GET": Front.card},
}


async def _scored(
    variant: Variant, texts: list[str], receive: Receive, timeout: float, *, exact: bool = False
) -> list[Scored]:
    """Answers for texts, or the reason why there is none; a client that goes away takes its texts along.

    Watching for the client costs a task, so it starts only for answers that take a while.

    Raises:
        Refused: 429 the queue is full, 503 it took too long or the service stops, 500 the graph failed.
        ClientGone: the client closed the connection.
    """
    try:
        job = variant.submit(texts, exact=exact)
    except OverloadedError:
        raise Refused(429, "the service is busy; try again in a moment", **{"retry-after": "1"}) from None
    loop = asyncio.get_running_loop()
    late = loop.call_later(WATCH_AFTER_SECONDS, _start_watch, job, receive, timeout)
    try:
        return await job.future
    except asyncio.CancelledError:
        if not job.abandoned:
            job.abandon()
            raise
        if job.late:
            raise Refused(503, f"no answer within {timeout:g} seconds", **{"retry-after": "5"}) from None
        raise ClientGone from None
    except RuntimeError:
        raise Refused(500, "the model failed on this request; the log says how") from None
    finally:
        late.cancel()
        if job.watch is not None:
            job.watch.cancel()


def _start_watch(job: Job, receive: Receive, timeout: float) -> None:
    job.watch = asyncio.get_running_loop().create_task(_watch(job, receive, timeout))


async def _watch(job: Job, receive: Receive, timeout: float) -> None:
    try:
        async with asyncio.timeout(timeout):
            while (await receive())["type"] != "http.disconnect":
                pass
    except TimeoutError:
        job.late = True
    job.abandon()


def _json(value: dict[str, Any], status: int = 200) -> Body:
    body = json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
    return status, body, (JSON_TYPE, (b"x-content-type-options", b"nosniff"), (b"cache-control", b"no-store"))


def _refusal_body(refusal: Refused) -> Body:
    status, body, headers = _json({"error": refusal.message, "field": refusal.field}, refusal.status)
    extra = tuple((name.encode(), value.encode()) for name, value in refusal.headers.items())
    return status, body, (*headers, *extra)


async def _send_file(file: StaticFile, scope: Scope, send: Send) -> None:
    same = (b"if-none-match", file.etag) in scope["headers"]
    headers = [item for item in file.headers if not (same and item[0] == b"content-length")]
    await send({"type": "http.response.start", "status": 304 if same else 200, "headers": headers})
    await send({"type": "http.response.body", "body": b"" if same or scope["method"] == "HEAD" else file.body})
