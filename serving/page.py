"""The page's files, read once, with headers that let nothing in from outside."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

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
SECURITY_HEADERS = (
    (
        b"content-security-policy",
        b"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; "
        b"connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"permissions-policy", b"camera=(), geolocation=(), microphone=()"),
)


@dataclass(frozen=True)
class StaticFile:
    """A file's bytes and headers."""

    body: bytes
    etag: bytes
    headers: tuple[tuple[bytes, bytes], ...]


def read_files(folder: Path = FOLDER) -> dict[str, StaticFile]:
    """The folder's files by path; `index.html` is `/`."""
    files = {}
    for path in sorted(folder.glob("*")):
        if path.suffix in CONTENT_TYPES and path.is_file():
            name = "/" if path.name == "index.html" else f"/{path.name}"
            files[name] = _read_file(path)
    return files


def _read_file(path: Path) -> StaticFile:
    body = path.read_bytes()
    etag = b'"%s"' % hashlib.sha256(body).hexdigest()[:16].encode()
    headers = (
        (b"content-type", CONTENT_TYPES[path.suffix].encode()),
        (b"content-length", str(len(body)).encode()),
        (b"cache-control", b"no-cache"),
        (b"etag", etag),
        *SECURITY_HEADERS,
    )
    return StaticFile(body, etag, headers)
