"""Responses to refused requests: the reason names the field, but never repeats what the user sent."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from starlette.responses import JSONResponse

JSON_HEADERS = {"x-content-type-options": "nosniff", "cache-control": "no-store"}


class Refused(Exception):  # noqa: N818 - an answer, not an error of the service
    """A request that is refused with a reason.

    Attributes:
        status: of HTTP.
        message: for people.
        field: the faulty field, if any.
        reason: for `evenodd_refused_requests_total`.
        headers: of the answer.
    """

    def __init__(
        self,
        status: int,
        message: str,
        field: str | None = None,
        *,
        reason: str = "input",
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.field = field
        self.reason = reason
        self.headers = dict(headers or {})


class ClientGone(Exception):  # noqa: N818 - there is no one to answer
    """The client closed the connection."""


def json_response(value: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> JSONResponse:
    """A JSON response that is neither sniffed nor cached."""
    return JSONResponse(value, status, {**JSON_HEADERS, **(headers or {})})


def refusal_response(refusal: Refused) -> JSONResponse:
    """The answer to a refused request."""
    return json_response({"error": refusal.message, "field": refusal.field}, refusal.status, refusal.headers)
