"""The page's files, read once, with headers that let nothing in from outside."""

from __future__ import annotations

import hashlib
from pathlib import Path

from starlette.requests import Request
from starlette.responses import Response

from .access import Scope, Send
from .bodies import Receive
from .metrics import Instruments

FOLDER = Path(__file__).parent / "page"
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
    """A file as an ASGI application; a browser that has it already is told so.

    Attributes:
        whole: the answer with the file in it.
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
        if request.method not in ("GET", "HEAD"):
            response = Response(status_code=405, headers={"allow": "GET, HEAD"})
        else:
            response = self._same if request.headers.get("if-none-match") == self._etag else self.whole
        Instruments.get().answered("page", response.status_code)
        await response(scope, receive, send)


def read_files(folder: Path = FOLDER) -> dict[str, StaticFile]:
    """The folder's files by path; `index.html` is `/`."""
    chosen = [path for path in sorted(folder.glob("*")) if path.suffix in CONTENT_TYPES and path.is_file()]
    return {"/" if path.name == "index.html" else f"/{path.name}": StaticFile(path) for path in chosen}
