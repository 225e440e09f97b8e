"""The HTTP interface: this project's routes in front of BentoML's application.

BentoML documents `/classify` (`/docs.json`), runs the workers, and answers health checks. Requests are answered here,
because a BentoML API method rebuilds a JSON schema for each of them, logs part of the user's text when it refuses
one, does not limit the body, and does not notice a client that has disconnected.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route, Router

from .access import App, Scope, Send
from .admission import OverloadedError, TooLargeError
from .bodies import Receive, parse_json, read_body, read_json
from .compatible import moderation_answer, moderation_texts, moderation_variant, predict_answer, predict_texts
from .corrections import StoreFullError
from .early import busy
from .explanation import Explanation
from .following import following_folder, nudge
from .jobs import Follow, Job, Scored
from .metrics import Instruments, exposition
from .page import SECURITY_HEADERS, Counted, StaticFile, read_files, read_reference
from .refusals import ClientGone, Refused, json_response, refusal_response
from .requests import (
    check_comment,
    check_explainable,
    check_label,
    check_strings,
    check_text,
    check_texts,
    check_variant,
)
from .runtime import Runtime, Variant
from .webhook import check_delivery, names_model

logger = logging.getLogger(__name__)

Handler = Callable[[Request, Runtime], Awaitable[Response]]

# BentoML's own paths.
HANDED_ON = ("/livez", "/healthz", "/readyz", "/docs.json")
WATCH_AFTER_SECONDS = 0.1


class Front:
    """Answers this project's paths, and passes BentoML's on.

    Args:
        app: BentoML's application.
        runtime: returns the runtime; called per request, because BentoML creates the service after its middleware.
        page: files of the page by path; None: those of this package.
    """

    def __init__(self, app: App, runtime: Callable[[], Runtime], page: dict[str, StaticFile] | None = None) -> None:
        self._app = app
        page = {**read_files(), **read_reference()} if page is None else page
        ours = [Route(path, Endpoint(path, runtime, handlers)) for path, handlers in ROUTES.items()]
        files = [Route(path, file) for path, file in page.items()]
        theirs = [Route(path, Counted(app, path)) for path in HANDED_ON]
        self._router = Router([*ours, *files, *theirs], redirect_slashes=False)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        answer = self._router if scope["type"] == "http" else self._app
        await answer(scope, receive, send)


class Endpoint:
    """One path: its handlers by method; refusals are answered, and everything is counted and timed."""

    def __init__(self, path: str, runtime: Callable[[], Runtime], handlers: dict[str, Handler]) -> None:
        self._path, self._runtime, self._handlers = path, runtime, handlers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        started = time.perf_counter()
        reason = None
        try:
            response = await self._handle(Request(scope, receive))
        except ClientGone:
            response = Response(status_code=499)  # BentoML's middleware waits for a response
        except Refused as refusal:
            response, reason = refusal_response(refusal), refusal.reason
        Instruments.get().answered(self._path, response.status_code, reason, time.perf_counter() - started)
        await response(scope, receive, send)

    async def _handle(self, request: Request) -> Response:
        handler = self._handlers.get("GET" if request.method == "HEAD" else request.method)
        if handler is None:
            allowed = ", ".join(self._handlers)
            raise Refused(405, f"{self._path} takes {allowed}", "method", reason="method", headers={"allow": allowed})
        return await handler(request, self._runtime())


async def classify(request: Request, runtime: Runtime) -> Response:
    """POST /classify."""
    with runtime.bodies.hold(_client(request)) as held:
        body = await read_json(request.receive, request.headers, runtime.settings, held)
        texts = check_texts(body, runtime.settings)
        variant = check_variant(body, runtime)
        return json_response(variant.answer(await _scored(request, runtime, variant, texts)))


async def moderate(request: Request, runtime: Runtime) -> Response:
    """POST /v1/moderations."""
    with runtime.bodies.hold(_client(request)) as held:
        body = await read_json(request.receive, request.headers, runtime.settings, held)
        texts = check_strings(moderation_texts(body), runtime.settings, "input")
        variant = moderation_variant(body, runtime)
        return json_response(moderation_answer(variant, await _scored(request, runtime, variant, texts)))


async def predict(request: Request, runtime: Runtime) -> Response:
    """POST /predict."""
    with runtime.bodies.hold(_client(request)) as held:
        body = await read_json(request.receive, request.headers, runtime.settings, held)
        given, batch = predict_texts(body)
        texts = check_strings(given, runtime.settings, "inputs")
        variant = runtime.variants[runtime.default]
        return json_response(predict_answer(variant, await _scored(request, runtime, variant, texts), batch))


async def explain(request: Request, runtime: Runtime) -> Response:
    """POST /explain."""
    with runtime.bodies.hold(_client(request)) as held:
        body = await read_json(request.receive, request.headers, runtime.settings, held)
        text = check_explainable(body, runtime.settings)
        variant = check_variant(body, runtime)
        explanation = Explanation(text, runtime.settings.explain_tokens)
        scored = await _scored(request, runtime, variant, [text], exact=True, follow=explanation.follow)
        return json_response(variant.explain(explanation, scored))


async def correct(request: Request, runtime: Runtime) -> Response:
    """POST /corrections."""
    if runtime.corrections is None:
        raise Refused(
            403,
            "corrections are off; start the service with EVENODD_CORRECTIONS=corrections.db to store them",
            reason="off",
        )
    with runtime.bodies.hold(_client(request)) as held:
        body = await read_json(request.receive, request.headers, runtime.settings, held)
    variant = check_variant(body, runtime)
    text = check_text(body, runtime.settings)
    said = {
        "text": text,
        "label_text": check_label(body, variant),
        "comment": check_comment(body),
    }
    [scored] = await _scored(request, runtime, variant, [text])
    row = {**said, **variant.opinion(scored), "client": _client(request)}
    try:
        await runtime.keep(row)
    except StoreFullError as fault:
        raise Refused(507, str(fault), reason="full") from None
    except RuntimeError as fault:
        logger.error("correction not stored | %s", fault)
        wait = {"retry-after": "10"}
        raise Refused(503, "the store of corrections cannot be reached", reason="store", headers=wait) from None
    return json_response({"stored": True}, 201)


async def webhook(request: Request, runtime: Runtime) -> Response:
    """POST /webhooks/mlflow."""
    secret, folder = runtime.settings.webhook_secret, following_folder()
    if secret is None or folder is None or runtime.watcher is None:
        wanted = "a model is followed and EVENODD_WEBHOOK_SECRET is set"
        raise Refused(403, f"webhooks are accepted only if {wanted}", reason="off")
    with runtime.bodies.hold(_client(request)) as held:
        body = await read_body(request.receive, request.headers, runtime.settings, held)
    check_delivery(secret, request.headers, body)
    if names_model(parse_json(body), str(runtime.settings.model)):
        nudge(folder)
    return json_response({"taken": True}, 202)


async def info(request: Request, runtime: Runtime) -> Response:
    """GET /info."""
    return json_response(runtime.info)


async def card(request: Request, runtime: Runtime) -> Response:
    """GET /card, or /card?variant=NAME."""
    text = check_variant({"variant": request.query_params.get("variant")}, runtime).bundle.card
    if text is None:
        raise Refused(404, "this bundle has no model card")
    return PlainTextResponse(text, headers=SECURITY_HEADERS)


async def metrics(request: Request, runtime: Runtime) -> Response:
    """GET /metrics."""
    content, content_type = await asyncio.get_running_loop().run_in_executor(None, exposition)
    return Response(content, media_type=content_type)


ROUTES: dict[str, dict[str, Handler]] = {
    "/classify": {"POST": classify},
    "/v1/moderations": {"POST": moderate},
    "/predict": {"POST": predict},
    "/explain": {"POST": explain},
    "/corrections": {"POST": correct},
    "/webhooks/mlflow": {"POST": webhook},
    "/info": {"GET": info},
    "/card": {"GET": card},
    "/metrics": {"GET": metrics},
}


def known_paths() -> set[str]:
    """All paths of the service."""
    return {*ROUTES, *read_files(), *read_reference(), *HANDED_ON}


def _client(request: Request) -> str:
    return str(request.scope.get("state", {}).get("client", ""))


async def _scored(
    request: Request,
    runtime: Runtime,
    variant: Variant,
    texts: list[str],
    *,
    exact: bool = False,
    follow: Follow | None = None,
) -> list[Scored]:
    """Answers for texts. The texts of a client that disconnects are dropped.

    Watching the client needs a task, so it starts only for answers that take a while.

    Raises:
        Refused: 413 too much work, 429 the queue is full, 503 timeout, 500 the graph failed.
        ClientGone: the client closed the connection.
    """
    timeout = runtime.settings.timeout
    try:
        job = variant.batcher.submit(texts, client=_client(request), exact=exact, follow=follow)
    except OverloadedError as fault:
        raise busy(fault) from None
    late = asyncio.get_running_loop().call_later(WATCH_AFTER_SECONDS, _start_watch, job, request.receive, timeout)
    try:
        return await job.future
    except asyncio.CancelledError:
        if not job.abandoned:
            job.abandon()
            raise
        if job.late:
            wait = {"retry-after": "5"}
            raise Refused(503, f"no answer within {timeout:g} seconds", reason="late", headers=wait) from None
        raise ClientGone from None
    except OverloadedError as fault:
        raise busy(fault) from None
    except TooLargeError as fault:
        field = "texts" if follow is None else "text"
        raise Refused(413, f"{field}: {fault}", field, reason="size") from None
    except RuntimeError:
        raise Refused(500, "the model failed on this request; see the log", reason="fault") from None
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
