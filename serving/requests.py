"""Checks the fields of requests. Reasons never repeat what the user sent."""

from __future__ import annotations

from typing import Any

from .refusals import Refused
from .runtime import Runtime, Variant
from .settings import Settings

COMMENT_CHARS = 2000


def check_texts(body: dict[str, Any], settings: Settings) -> list[str]:
    """The field `texts`: 1 to `max_texts` strings.

    Raises:
        Refused: 400, or 413 for too many or too long texts.
    """
    return check_strings(body.get("texts"), settings)


def check_strings(texts: Any, settings: Settings, field: str = "texts") -> list[str]:
    """1 to `max_texts` strings.

    Args:
        texts: the value.
        settings: the limits.
        field: name of the field.

    Raises:
        Refused: 400, or 413 for too many or too long texts.
    """
    if not isinstance(texts, list):
        raise Refused(400, f"{field} must be a list of strings", field)
    if not texts:
        raise Refused(400, f"{field} is empty; send at least one", field)
    if len(texts) > settings.max_texts:
        raise Refused(413, f"{field} holds {len(texts)}; the limit is {settings.max_texts} per request", field)
    for i, text in enumerate(texts):
        _check_text(text, f"{field}[{i}]", settings)
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
    """The field `text`, with at least one word.

    Raises:
        Refused: 400, or 413 for a long one.
    """
    text = check_text(body, settings)
    if not text.strip():
        raise Refused(400, "text has no word to explain", "text")
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


def check_label(body: dict[str, Any], variant: Variant) -> str:
    """The field `label`: one of the model's.

    Raises:
        Refused: 400.
    """
    label, labels = body.get("label"), variant.bundle.task.labels
    if not isinstance(label, str) or label not in labels:
        raise Refused(400, f"label must be one of {', '.join(labels)}", "label")
    return label


def check_comment(body: dict[str, Any]) -> str | None:
    """The field `comment`: a short string, or none.

    Raises:
        Refused: 400.
    """
    value = body.get("comment")
    if value is None:
        return None
    if not isinstance(value, str) or len(value) > COMMENT_CHARS:
        raise Refused(400, f"comment must be a string of at most {COMMENT_CHARS} characters", "comment")
    _check_encodable(value, "comment")
    return value


def _check_text(text: Any, field: str, settings: Settings) -> None:
    if not isinstance(text, str):
        raise Refused(400, f"{field} must be a string", field)
    if len(text) > settings.max_chars:
        message = f"{field} has {len(text)} characters; the limit is {settings.max_chars}"
        raise Refused(413, message, field)
    _check_encodable(text, field)


def _check_encodable(text: str, field: str) -> None:
    """Refuses half of a surrogate pair, which JSON can write but UTF-8 cannot."""
    if text.isascii():
        return
    try:
        text.encode()
    except UnicodeEncodeError:
        raise Refused(400, f"{field} is not valid Unicode: it contains half of a surrogate pair", field) from None
