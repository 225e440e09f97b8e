"""Requests: read, checked, and refused with a reason that names the field. Reasons never repeat what the user sent."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any

from .runtime import Runtime, Variant
from .settings import Settings
from .text import find_words

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Headers = Iterable[tuple[bytes, bytes]]


class Refused(Exception):  # noqa: N818 - an answer, not an error of the service
    """A request that is answered with a reason: status, message and the field at fault."""

    def __init__(self, status: int, message: str, field: str | None = None, **headers: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.field = field
        self.headers = headers


class ClientGone(Exception):  # noqa: N818 - nobody is left to be told
    """The client closed the connection."""


async def read_json(receive: Receive, headers: Headers, settings: Settings) -> dict[str, Any]:
    """The body as a JSON object.

    Raises:
        Refused: 413 too large, 415 another content type, 400 no JSON object.
        ClientGone: the client closed the connection before the end of the body.
    """
    given = dict(headers)
    kind = given.get(b"content-type", b"").split(b";")[0].strip().lower()
    if kind != b"application/json":
        raise Refused(415, "the body must be JSON: send the header `Content-Type: application/json`", "content-type")
    declared = given.get(b"content-length", b"0")
    if declared.isdigit() and int(declared) > settings.max_body:
        raise _too_large(settings)
    body = await _read_body(receive, settings)
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        raise Refused(400, "the body is not JSON in UTF-8", "body") from None
    if not isinstance(value, dict):
        raise Refused(400, 'the body must be a JSON object, such as {"texts": ["..."]}', "body")
    return value


async def _read_body(receive: Receive, settings: Settings) -> bytes:
    chunks, size = [], 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGone
        chunk = message.get("body", b"")
        size += len(chunk)
        if size > settings.max_body:
            raise _too_large(settings)
        chunks.append(chunk)
        if not message.get("more_body", False):
            return chunks[0] if len(chunks) == 1 else b"".join(chunks)


def _too_large(settings: Settings) -> Refused:
    message = f"the body is larger than {settings.max_body} bytes; send fewer texts at a time"
    return Refused(413, message, "body", connection="close")


def check_texts(body: dict[str, Any], settings: Settings) -> list[str]:
    """The field `texts`: 1 to `max_texts` strings.

    Raises:
        Refused: 400, or 413 for too many or too long texts.
    """
    texts = body.get("texts")
    if not isinstance(texts, list):
        raise Refused(400, "texts must be a list of strings", "texts")
    if not texts:
        raise Refused(400, "texts is empty; send at least one", "texts")
    if len(texts) > settings.max_texts:
        raise Refused(413, f"texts holds {len(texts)}; at most {settings.max_texts} are taken at a time", "texts")
    for i, text in enumerate(texts):
        _check_text(text, f"texts[{i}]", settings)
    return texts


def check_text(body: dict[str, Any], settings: Settings) -> str:
    """The field `text`: one string.

    Raises:
        Refused: 400, or 413 for a long one.
    """
    text = body.get("text")
    _check_text(text, "text", settings)
    return str(text)


def check_explainable(body: dict[str, Any], settings: Settings) -> str:
    """The field `text`, with 1 to `explain_words` words.

    Raises:
        Refused: 400, or 413 for a long one.
    """
    text = check_text(body, settings)
    count = len(find_words(text))
    if count == 0:
        raise Refused(400, "text holds no word to explain", "text")
    if count > settings.explain_words:
        raise Refused(413, f"text has {count} words; at most {settings.explain_words} are explained at a time", "text")
    return text


def check_variant(body: dict[str, Any], runtime: Runtime) -> Variant:
    """The field `variant`, or the default one.

    Raises:
        Refused: 400, no such variant.
    """
    name = body.get("variant")
    if name is None:
        return runtime.variants[runtime.default]
    if not isinstance(name, str) or name not in runtime.variants:
        raise Refused(400, f"variant must be one of {', '.join(runtime.variants)}", "variant")
    return runtime.variants[name]


def check_correction(body: dict[str, Any], runtime: Runtime) -> dict[str, Any]:
    """A row for the store: `text` and the right `label`, and optionally what the model said and a comment.

    Raises:
        Refused: 400 or 413 with the field.
    """
    variant = check_variant(body, runtime)
    text = check_text(body, runtime.settings)
    labels = variant.bundle.labels
    label = body.get("label")
    if not isinstance(label, str) or label not in labels:
        raise Refused(400, f"label must be one of {', '.join(labels)}", "label")
    score = body.get("score")
    if score is not None and (isinstance(score, bool) or not isinstance(score, int | float) or not 0 <= score <= 1):
        raise Refused(400, "score must be a number from 0 to 1", "score")
    row = {name: _short(body, name) for name in ("predicted", "decision", "comment")}
    version = variant.bundle.description.get("version")
    return {
        **row,
        "text": text,
        "label_text": label,
        "score": score,
        "variant": variant.bundle.variant,
        "version": version,
    }


def _short(body: dict[str, Any], name: str) -> str | None:
    value = body.get(name)
    if value is None:
        return None
    if not isinstance(value, str) or len(value) > 2000:
        raise Refused(400, f"{name} must be a string of at most 2000 characters", name)
    _check_encodable(value, name)
    return value


def _check_text(text: Any, field: str, settings: Settings) -> None:
    if not isinstance(text, str):
        raise Refused(400, f"{field} must be a string", field)
    if len(text) > settings.max_chars:
        message = f"{field} has {len(text)} characters; at most {settings.max_chars} are taken"
        raise Refused(413, message, field)
    _check_encodable(text, field)


def _check_encodable(text: str, field: str) -> None:
    """JSON can spell half of a surrogate pair, which no UTF-8 can hold."""
    try:
        text.encode()
    except UnicodeEncodeError:
        raise Refused(400, f"{field} holds half of a surrogate pair and is no Unicode text", field) from None
