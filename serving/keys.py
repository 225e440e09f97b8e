"""API keys, stored as digests.

`python -m serving.keys NAME [ROUTE ...]` creates a key: it prints the key, which the client sends, and its entry for
EVENODD_API_KEYS, which holds only a digest. Keys are random and long, so a fast digest is as safe as a slow one.
"""

from __future__ import annotations

import argparse
import hashlib
import hmac
import secrets
from collections.abc import Iterable
from dataclasses import dataclass

KEYED = ("classify", "v1/moderations", "predict", "explain", "corrections", "info", "card", "metrics", "docs.json")


@dataclass(frozen=True)
class ApiKey:
    """A key, stored as its digest.

    Attributes:
        name: of the client.
        digest: SHA-256 of the key.
        routes: allowed routes out of KEYED; empty: all.
    """

    name: str
    digest: bytes
    routes: frozenset[str] = frozenset()


def read_keys(raw: str) -> tuple[ApiKey, ...]:
    """Parses entries `NAME:SHA256[:ROUTE+ROUTE]`, separated by commas or white space.

    Raises:
        ValueError: an entry is malformed; it is named by its number, because it may hold a key by mistake.
    """
    return tuple(_read_key(i, entry) for i, entry in enumerate(raw.replace(",", " ").split(), 1))


def _read_key(number: int, entry: str) -> ApiKey:
    name, _, rest = entry.partition(":")
    digest, _, routes = rest.partition(":")
    try:
        value = bytes.fromhex(digest)
    except ValueError:
        value = b""
    if not name or len(value) != hashlib.sha256().digest_size:
        raise ValueError(f"entry {number} is not NAME:SHA256[:ROUTE+ROUTE]; `python -m serving.keys NAME` creates one.")
    allowed = frozenset(filter(None, routes.split("+")))
    if not allowed <= set(KEYED):
        raise ValueError(f"entry {number}: routes are {', '.join(KEYED)}.")
    return ApiKey(name, value, allowed)


def find_key(given: str, keys: Iterable[ApiKey]) -> ApiKey | None:
    """The matching key, if any. All keys are compared, so that the time reveals nothing."""
    digest, found = hashlib.sha256(given.encode()).digest(), None
    for key in keys:
        if hmac.compare_digest(digest, key.digest):
            found = key
    return found


def main() -> None:
    """Command line: creates a key."""
    parser = argparse.ArgumentParser(prog="python -m serving.keys", description="Creates an API key.")
    parser.add_argument("name", help="of the client; no spaces, commas or colons")
    parser.add_argument("routes", nargs="*", help="the routes that the key allows; default: all")
    given = parser.parse_args()
    key = secrets.token_urlsafe(32)
    entry = ":".join(filter(None, (given.name, hashlib.sha256(key.encode()).hexdigest(), "+".join(given.routes))))
    read_keys(entry)
    print(f"key, for the client: {key}\nentry, for EVENODD_API_KEYS: {entry}")


if __name__ == "__main__":
    main()
