"""Who may ask what and how often: keys, rates, trusted proxies, host names."""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import REGISTRY

from serving.access import Gate, Rates
from serving.keys import KEYED, find_key, read_keys
from serving.settings import Settings, read_settings

PATHS = [f"/{name}" for name in KEYED] + ["/", "/readyz", "/healthz", "/livez"]
SECRET = "correct horse"


def make_key(name: str, *routes: str) -> tuple[str, str]:
    """A key and its entry, as the command prints them."""
    command = [sys.executable, "-m", "serving.keys", name, *routes]
    shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    found = re.search(r"client: (\S+)\n.*KEYS: (\S+)", shown)
    assert found is not None
    return found[1], found[2]


def ask(
    settings: Settings,
    path: str = "/classify",
    *,
    method: str = "POST",
    client: str = "10.0.0.1",
    server: str = "0.0.0.0",
    gate: Gate | None = None,
    **headers: str,
) -> tuple[int, dict[str, str], str]:
    """Status, headers, and who the gate took the client for, of a request that comes through it or does not."""
    seen: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append(scope["state"]["client"])
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    async def send(message: Any) -> None:
        seen.append(message)

    pairs = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    scope = {"type": "http", "method": method, "path": path, "headers": pairs, "query_string": b""}
    scope |= {"client": (client, 1), "server": (server, 3000)}
    gate = gate or Gate(app, settings, PATHS)
    gate._app = app
    asyncio.run(gate(scope, lambda: asyncio.sleep(0), send))
    start = next(message for message in seen if isinstance(message, dict))
    given_headers = {name.decode(): value.decode() for name, value in start["headers"]}
    return start["status"], given_headers, next((one for one in seen if isinstance(one, str)), "")


def counted(path: str, reason: str) -> float:
    return REGISTRY.get_sample_value("evenodd_refused_requests_total", {"path": path, "reason": reason}) or 0.0


def test_a_key_opens_what_it_is_for_and_nothing_else() -> None:
    """One key for everything cannot be given to a client that should classify and not read what others corrected."""
    shop, shop_entry = make_key("shop", "classify", "info")
    admin, admin_entry = make_key("admin")
    settings = read_settings({"EVENODD_API_KEYS": f"{shop_entry}, {admin_entry}"})
    for path in PATHS:
        open_to_all = path in ("/", "/readyz", "/healthz", "/livez")
        before = counted(path, "key")
        assert ask(settings, path)[0] == (200 if open_to_all else 401), path
        assert ask(settings, path, x_api_key="guess")[0] == (200 if open_to_all else 401)
        assert ask(settings, path, authorization=f"Basic {admin}")[0] == (200 if open_to_all else 401)
        assert ask(settings, path, authorization=f"Bearer {admin}")[0] == 200
        mine = path in ("/classify", "/info") or open_to_all
        assert ask(settings, path, authorization=f"bearer {shop}")[0] == (200 if mine else 403)
        assert counted(path, "key") - before == (0 if open_to_all else 3 + (not mine))
    assert ask(settings, authorization=f"Bearer {shop}")[2] == "key shop"
    assert ask(settings)[1]["www-authenticate"] == "Bearer"


@given(st.text(), st.sampled_from(["shop", "admin"]))
def test_no_other_text_is_a_key(guess: str, name: str) -> None:
    keys = read_keys(f"{name}:{'0' * 64}, other:{'f' * 64}")
    assert find_key(guess, keys) is None


@pytest.mark.parametrize(
    "entry", ["shop", "shop:abc", f":{'0' * 64}", f"shop:{'0' * 63}g", f"shop:{'0' * 64}:nowhere", SECRET]
)
def test_an_entry_that_is_none_is_refused_without_being_shown(entry: str) -> None:
    """Whoever pastes the key in place of its entry must not find it in the log."""
    with pytest.raises(ValueError, match="entry 1") as fault:
        read_settings({"EVENODD_API_KEYS": entry})
    assert entry not in str(fault.value)


def test_rates_are_of_each_client_and_come_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """A bucket that is never filled again shuts a client out for ever, one for all shuts out everybody."""
    now = [1000.0]
    monkeypatch.setattr("serving.access.time.monotonic", lambda: now[0])
    rates = Rates(2.0)
    assert [rates.take("a") for _ in range(10)] == [0.0] * 10, "five seconds' worth at once"
    assert rates.take("a") == pytest.approx(0.5)
    assert rates.take("b") == 0.0
    now[0] += 0.5
    assert rates.take("a") == 0.0
    assert rates.take("a") > 0
    now[0] += 3600
    assert [rates.take("a") for _ in range(10)] == [0.0] * 10


def test_clients_that_are_remembered_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each new address is a little memory for ever."""
    monkeypatch.setattr("serving.access.MOST_CLIENTS", 100)
    rates = Rates(1.0)
    for number in range(1000):
        rates.take(f"client {number}")
    assert len(rates._full_at) <= 101


def test_too_many_requests_are_told_when_to_come_back() -> None:
    settings = Settings(rate=0.5)
    gate = Gate(lambda *_: asyncio.sleep(0), settings, PATHS)
    before = counted("/classify", "rate")
    statuses = [ask(settings, gate=gate) for _ in range(5)]
    assert [status for status, _, _ in statuses] == [200, 200, 429, 429, 429]
    assert int(statuses[-1][1]["retry-after"]) >= 1
    assert counted("/classify", "rate") == before + 3
    assert ask(settings, gate=gate, client="10.0.0.2")[0] == 200
    assert ask(settings, "/info", method="GET", gate=gate)[0] == 200, "reading costs nothing"


@pytest.mark.parametrize(
    ("peer", "forwarded", "client"),
    [
        ("10.1.1.1", "", "10.1.1.1"),
        ("10.1.1.1", "203.0.113.9", "203.0.113.9"),
        ("10.1.1.1", "1.2.3.4, 203.0.113.9", "203.0.113.9"),
        ("10.1.1.1", "1.2.3.4, 203.0.113.9, 10.2.2.2", "203.0.113.9"),
        ("203.0.113.9", "10.1.1.1", "203.0.113.9"),
        ("10.1.1.1", "nonsense", "nonsense"),
        ("10.1.1.1", "10.3.3.3, 10.2.2.2", "10.3.3.3"),
    ],
)
def test_the_last_address_that_no_proxy_stands_for_is_the_client(peer: str, forwarded: str, client: str) -> None:
    """What a client writes into the header itself would make it anybody."""
    settings = read_settings({"EVENODD_PROXIES": "10.0.0.0/8"})
    assert ask(settings, client=peer, x_forwarded_for=forwarded)[2] == client
    assert ask(Settings(), client=peer, x_forwarded_for=forwarded)[2] == peer, "nobody is believed unless named"


@pytest.mark.parametrize(
    ("hosts", "server", "host", "status"),
    [
        ("", "127.0.0.1", "localhost:3000", 200),
        ("", "127.0.0.1", "[::1]:3000", 200),
        ("", "127.0.0.1", "evil.example", 421),
        ("", "127.0.0.1", "", 421),
        ("", "127.0.0.1", "localhost.evil.example", 421),
        ("", "10.0.0.9", "anything", 200),
        ("api.example", "10.0.0.9", "API.example:443", 200),
        ("api.example", "10.0.0.9", "evil.example", 421),
        ("*", "127.0.0.1", "evil.example", 200),
    ],
)
def test_only_names_of_ours_are_answered(hosts: str, server: str, host: str, status: int) -> None:
    """A web page can make its own name point to this machine, and then read the answers."""
    settings = read_settings({"EVENODD_HOSTS": hosts})
    assert ask(settings, "/", method="GET", server=server, host=host)[0] == status
    assert ask(settings, "/readyz", method="GET", server=server, host=host)[0] == 200, "probes ask by address"
