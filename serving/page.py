"""The files of the page and of the API reference, read once, with headers that forbid external content."""

from __future__ import annotations

import hashlib
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from .access import App, Scope, Send
from .bodies import Receive
from .metrics import Instruments

FOLDER = Path(__file__).parent / "page"
REFERENCE = Path(__file__).parent / "reference"
# Files of Swagger UI, which BentoML ships.
SWAGGER_UI = ("swagger-ui.css", "swagger-ui-bundle.js")
CONTENT_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".ico": "image/x-icon",
    ".csv": "text/csv; charset=utf-8",
    ".json": "application/json",
    ".woff2": "font/woff2",
}
SECURITY_HEADERS = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "font-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
}


class StaticFile:
    """A file as an ASGI application, with 304 for browsers that have it already.

    Attributes:
        whole: the response with the file.
    """

    def __init__(self, path: Path) -> None:
        body = path.read_bytes()
        etag = f'"{hashlib.sha256(body).hexdigest()[:16]}"'
        headers = {"cache-control": "no-cache", "etag": etag, **SECURITY_HEADERS}
        self._etag = etag
        self.whole = Response(body, headers={**headers, "content-type": CONTENT_TYPES[path.suffix]})
        self._same = Response(status_code=304, headers=headers)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope)
        reason = None
        if request.method not in ("GET", "HEAD"):
            response, reason = Response(status_code=405, headers={"allow": "GET, HEAD"}), "method"
        else:
            response = self._same if request.headers.get("if-none-match") == self._etag else self.whole
        Instruments.get().answered("page", response.status_code, reason)
        await response(scope, receive, send)


def read_files(folder: Path = FOLDER) -> dict[str, StaticFile]:
    """The folder's files by path; `index.html` is `/`."""
    chosen = [path for path in sorted(folder.glob("*")) if path.suffix in CONTENT_TYPES and path.is_file()]
    return {"/" if path.name == "index.html" else f"/{path.name}": StaticFile(path) for path in chosen}


def read_reference() -> dict[str, StaticFile]:
    """The API reference by path: `/docs`, and Swagger UI's files below it.

    Empty if this BentoML has no Swagger UI; `/docs.json` has the same content.
    """
    found = find_spec("bentoml")
    theirs = Path(str(found.origin)).parent / "_internal" / "server" / "static_content" if found else REFERENCE
    files = {f"/docs/{name}": theirs / name for name in SWAGGER_UI}
    if not all(path.is_file() for path in files.values()):
        return {}
    files |= {"/docs": REFERENCE / "index.html", "/docs/start.js": REFERENCE / "start.js"}
    return {name: StaticFile(path) for name, path in files.items()}


class Counted:
    """An application whose responses are counted under a known path."""

    def __init__(self, app: App, path: str) -> None:
        self._app, self._path = app, path

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def counting(message: Any) -> None:
            if message["type"] == "http.response.start":
                status = int(message["status"])
                Instruments.get().answered(self._path, status, "bentoml" if status >= 400 else None)
            await send(message)

        await self._app(scope, receive, counting)
