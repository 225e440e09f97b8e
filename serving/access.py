"""Access control: known paths, host names, API keys, and a rate limit per client."""

from __future__ import annotations

import ipaddress
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Collection, Iterable
from typing import Any

from starlette.datastructures import Headers

from .bodies import Receive
from .keys import KEYED, ApiKey, find_key
from .metrics import Instruments
from .refusals import Refused, refusal_response
from .settings import Network, Settings

Scope = dict[str, Any]
Send = Callable[[Any], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

HEALTH = ("/livez", "/healthz", "/readyz")
LOCAL_NAMES = ("localhost", "127.0.0.1", "[::1]")
MOST_CLIENTS = 10_000
BURST_SECONDS = 5.0


class Rates:
    """Rate limit per client, with bursts of a few seconds' worth of requests."""

    def __init__(self, per_second: float) -> None:
        self._step = 1.0 / per_second
        self._full_at: OrderedDict[str, float] = OrderedDict()

    def take(self, client: str) -> float:
        """Counts a request. Returns 0, or the seconds after which it would be accepted."""
        now = time.monotonic()
        full_at = max(self._full_at.pop(client, now), now) + self._step
        excess = full_at - now - max(BURST_SECONDS, self._step)
        self._full_at[client] = full_at if excess <= 0 else full_at - self._step
        if len(self._full_at) > MOST_CLIENTS:
            self._full_at.popitem(last=False)
        return max(excess, 0.0)


class Gate:
    """Refuses requests that may not pass, and records who the client is.

    Args:
        app: the application behind it.
        settings: `hosts`, `api_keys`, `rate` and `proxies` are used.
        paths: existing paths.
        early: refuses requests that no queue has room for, by method, path and client; None: no such check.
    """

    def __init__(
        self, app: App, settings: Settings, paths: Collection[str], early: Callable[..., Refused | None] | None = None
    ) -> None:
        self._app, self._settings, self._paths, self._early = app, settings, frozenset(paths), early
        self._rates = None if settings.rate is None else Rates(settings.rate)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1000, "reason": ""})
            return
        if scope["type"] == "http":
            try:
                scope.setdefault("state", {})["client"] = self._admit(scope)
            except Refused as refusal:
                path = scope["path"] if scope["path"] in self._paths else "other"
                Instruments.get().answered(path, refusal.status, refusal.reason)
                await refusal_response(refusal)(scope, receive, send)
                return
        await self._app(scope, receive, send)

    def _admit(self, scope: Scope) -> str:
        path = scope["path"]
        if path not in self._paths:
            raise Refused(404, "no such path; /docs.json lists the paths", "path", reason="path")
        headers = Headers(scope=scope)
        client = self._address(scope, headers)
        if path in HEALTH:
            return client
        self._check_host(scope, headers)
        key = self._check_key(path, headers)
        client = f"key {key.name}" if key else client
        if self._rates is not None and scope["method"] == "POST":
            seconds = self._rates.take(client)
            if seconds:
                wait = {"retry-after": str(int(seconds) + 1)}
                raise Refused(429, "too many requests; try again later", reason="rate", headers=wait)
        overload = self._early and self._early(scope["method"], path, client)
        if overload:
            raise overload
        return client

    def _address(self, scope: Scope, headers: Headers) -> str:
        """The client's address: the last one that is not a trusted proxy's."""
        address = (scope.get("client") or ("", 0))[0]
        forwarded = headers.get("x-forwarded-for", "") if self._settings.proxies else ""
        for hop in reversed([part.strip() for part in forwarded.split(",") if part.strip()]):
            if not _within(address, self._settings.proxies):
                break
            address = hop
        return str(address)

    def _check_host(self, scope: Scope, headers: Headers) -> None:
        hosts = self._settings.hosts
        if not hosts and _is_local((scope.get("server") or ("", 0))[0]):
            hosts = LOCAL_NAMES
        if not hosts or "*" in hosts:
            return
        if _without_port(headers.get("host", "")) not in hosts:
            raise Refused(421, "this host name is not allowed; set EVENODD_HOSTS", "host", reason="host")

    def _check_key(self, path: str, headers: Headers) -> ApiKey | None:
        route = path.strip("/")
        if not self._settings.api_keys or route not in KEYED:
            return None
        scheme, _, given = headers.get("authorization", "").partition(" ")
        given = given.strip() if scheme.lower() == "bearer" else headers.get("x-api-key", "")
        key = find_key(given, self._settings.api_keys)
        if key is None:
            challenge = {"www-authenticate": "Bearer"}
            raise Refused(401, "an API key is needed: Authorization: Bearer KEY", reason="key", headers=challenge)
        if key.routes and route not in key.routes:
            raise Refused(403, f"this API key is not for /{route}", reason="key")
        return key


def _without_port(host: str) -> str:
    name, colon, port = host.lower().rpartition(":")
    return name if colon and port.isdigit() else host.lower()


def _is_local(address: str) -> bool:
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False


def _within(address: str, networks: Iterable[Network]) -> bool:
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return False
    return any(found in network for network in networks)
