"""What no queue has room for is refused by its head alone, and counted as any other refusal."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest
import uvicorn
from prometheus_client import REGISTRY
from serving_bundle import shared_bundle

from serving.access import Gate
from serving.admission import Rate
from serving.early import Early
from serving.front import Front, known_paths
from serving.keys import read_keys
from serving.protocol import BoundedProtocol
from serving.runtime import Runtime
from serving.settings import Settings

CLIENT = "10.0.0.1"


class Transport(asyncio.Transport):
    """Keeps what is written."""

    def __init__(self) -> None:
        super().__init__({"peername": (CLIENT, 1234), "sockname": ("10.0.0.2", 80)})
        self.data, self.closed = b"", False

    def write(self, data: Any) -> None:
        self.data += bytes(data)

    def close(self) -> None:
        self.closed = True

    def is_closing(self) -> bool:
        return self.closed

    def pause_reading(self) -> None:
        pass

    def resume_reading(self) -> None:
        pass


@pytest.fixture(scope="module")
def runtime() -> Iterator[Runtime]:
    opened = Runtime(Settings(bundle=(shared_bundle(),)))
    yield opened
    opened.close()


@pytest.fixture
def full(runtime: Runtime) -> Iterator[Runtime]:
    """Its queue holds ten seconds' worth of somebody else."""
    admission = next(iter(runtime.variants.values())).batcher.admission
    before, admission.rate = admission.rate, Rate(1000.0)
    admission._count(1024 * 10, "somebody", 1)
    admission._turns += 9216
    yield runtime
    admission._turns -= 9216
    admission._count(1024 * 10, "somebody", -1)
    admission.rate = before


Scenario = Callable[[BoundedProtocol, Transport], Awaitable[None]]


def connect(runtime: Runtime, scenario: Scenario, settings: Settings | None = None) -> Transport:
    """What a connection was answered after a scenario."""
    settings = settings or runtime.settings

    async def go() -> Transport:
        early = Early(lambda: runtime, settings)
        gate = Gate(Front(_nothing, lambda: runtime), settings, known_paths(), early.refuse)
        config = uvicorn.Config(gate, lifespan="off", access_log=False, log_config=None)
        config.load()
        state = uvicorn.Server(config).server_state
        given = {"config": config, "server_state": state, "app_state": {}, "_loop": asyncio.get_running_loop()}
        protocol = BoundedProtocol(keep_alive=75, early=early.answer, **given)
        transport = Transport()
        protocol.connection_made(transport)
        await scenario(protocol, transport)
        closed = transport.closed
        protocol.connection_lost(None)
        transport.closed = closed
        return transport

    return asyncio.run(go())


async def _nothing(*_: Any) -> None:
    return None


def ask(path: str = "/classify", body: bytes | None = None, length: int | None = None, headers: str = "") -> bytes:
    content = json.dumps({"texts": ["sun"]}).encode() if body is None else body
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n{headers}"
    return f"{head}Content-Length: {len(content) if length is None else length}\r\n\r\n".encode() + content


def send(*parts: bytes, statuses: int | None = None) -> Scenario:
    """Send parts, one after the other, until as many answers are there."""

    async def go(protocol: BoundedProtocol, transport: Transport) -> None:
        for part in parts:
            protocol.data_received(part)
            await asyncio.sleep(0)
        async with asyncio.timeout(20):
            while transport.data.count(b"HTTP/1.1 ") < (len(parts) if statuses is None else statuses):
                await asyncio.sleep(0.01)

    return go


def counted(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(name, labels) or 0.0


@pytest.mark.parametrize("path", ["/classify", "/explain", "/corrections"])
def test_a_full_queue_refuses_unread_and_counts_it(full: Runtime, path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A body that is read and parsed to be refused costs three times as much, and what it costs others wait for."""
    monkeypatch.setattr("serving.front.read_json", lambda *_: pytest.fail("read"))
    names = [
        ("evenodd_answers_total", {"path": path, "status": "429"}),
        ("evenodd_refused_requests_total", {"path": path, "reason": "queue"}),
        ("evenodd_shed_texts_total", {"variant": "odd", "reason": "queue"}),
    ]
    before = [counted(name, **labels) for name, labels in names]
    found = connect(full, send(ask(path, body=b"no JSON")))
    head, _, body = found.data.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 429 ")
    assert b"retry-after: 11" in head
    assert b"content-length: %d" % len(body) in head
    assert json.loads(body)["field"] is None
    assert [counted(name, **labels) for name, labels in names] == [count + 1 for count in before]
    assert full.takes_no_more == "the queue is full", "as /readyz tells, for refusals that never reach the queue too"


def test_the_connection_goes_on_after_a_refusal(full: Runtime) -> None:
    """Clients that must connect anew after each refusal make overload worse."""
    found = connect(full, send(ask(), ask(), b"GET /info HTTP/1.1\r\nHost: x\r\n\r\n"))
    assert [part[:3] for part in found.data.split(b"HTTP/1.1 ")[1:]] == [b"429", b"429", b"200"]
    assert not found.closed


def test_a_row_of_requests_in_one_piece_is_refused_one_by_one(full: Runtime) -> None:
    """A thousand of them, each answered within the call of the one before, are more calls than Python allows."""
    found = connect(full, send(b"GET /card HTTP/1.1\r\nHost: x\r\n\r\n" + ask() * 2000, statuses=2001))
    assert found.data.count(b"HTTP/1.1 429 ") == 2000


def test_what_is_left_of_a_refused_body(full: Runtime) -> None:
    """A large one is not read for nothing, and a small one that never comes does not hold its connection."""
    assert connect(full, send(ask(body=b"{", length=1_000_000))).closed
    assert connect(
        full, send(ask(body=b"{", headers="Transfer-Encoding: chunked\r\n").replace(b"Content-L", b"X-L"))
    ).closed

    async def never_ends(protocol: BoundedProtocol, transport: Transport) -> None:
        await send(ask(body=b"{", length=100))(protocol, transport)
        await asyncio.sleep(0)
        assert protocol._deadline is not None
        protocol.data_received(b" " * 99)
        assert protocol._deadline is None
        await send(ask(), statuses=2)(protocol, transport)

    assert connect(full, never_ends).data.count(b" 429 ") == 2


def test_other_clients_are_taken_beside_one_that_has_its_share(runtime: Runtime) -> None:
    admission = next(iter(runtime.variants.values())).batcher.admission
    before, admission.rate = admission.rate, Rate(6000.0)
    admission._count(1024, CLIENT, 1)
    admission._by_client[CLIENT] += 2000
    try:
        assert b"HTTP/1.1 429 " in connect(runtime, send(ask())).data
        assert runtime.overload("10.9.9.9") is None
    finally:
        admission._by_client[CLIENT] -= 2000
        admission._count(1024, CLIENT, -1)
        admission.rate = before


def test_clients_behind_a_proxy_are_told_apart_by_the_gate(full: Runtime) -> None:
    """By the address of the connection they would be one client, who shuts the others out."""
    admission = next(iter(full.variants.values())).batcher.admission
    admission._turns -= 9216
    admission._by_client[CLIENT] += 5000
    key, digest = "secret", "2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b"
    keyed = Settings(bundle=(shared_bundle(),), api_keys=read_keys(f"shop:{digest}"))
    try:
        own = connect(full, send(ask(headers=f"X-API-Key: {key}\r\n")), keyed)
        assert b"HTTP/1.1 200 " in own.data, own.data
        assert b"HTTP/1.1 401 " in connect(full, send(ask()), keyed).data
    finally:
        admission._by_client[CLIENT] -= 5000
        admission._turns += 9216
