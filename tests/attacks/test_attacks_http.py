"""Requests that were made to hurt, all from one address; a plain client beside them must not notice."""

from __future__ import annotations

import contextlib
import random
import socket
import struct
import time
from pathlib import Path

import httpx
import pytest
from attack_tools import (
    CANARY,
    STATED,
    ask,
    ask_all,
    connect,
    megabytes,
    plain_client,
    post,
    read_status,
    size,
)
from serving_process import Served

pytestmark = [pytest.mark.attacks, pytest.mark.slow]


def folder_bytes(served: Served) -> int:
    return sum(path.stat().st_size for path in served.log_file.parent.rglob("*") if path.is_file())


def test_flood_of_paths_leaves_nothing_behind(served: Served) -> None:
    """As labels of metrics they fill the disk, then the workers crash, and all of them are shown to whoever asks."""
    before = folder_bytes(served)
    paths = [f"/{CANARY}{i}{'x' * 60_000}" for i in range(size(20, 235))]
    paths += [f"/{CANARY}{i}" for i in range(size(100, 2000))]
    requests = [f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode() for path in paths]
    with plain_client(served) as beside:
        answers = ask_all(served, requests, threads=8)
    assert {status for status, _ in answers} == {404}
    beside.check()
    started = time.perf_counter()
    shown = httpx.get(f"{served.url}/metrics", timeout=30).text
    assert time.perf_counter() - started < 5
    assert CANARY not in shown
    assert len(shown) < 200_000
    assert folder_bytes(served) - before < 1_000_000


HEAVY = {
    "explain: 40 kB of ! in 256 words": ("/explain", {"text": " ".join(["!" * 156] * 256)}),
    "explain: 780 bytes of ideographs": ("/explain", {"text": "東" * 260}),
    "explain: one word of 100,000 characters": ("/explain", {"text": "a" * 100_000}),
    "explain: a hundred words of 990 characters": ("/explain", {"text": " ".join(["a" * 990] * 100)}),
    "classify: 256 texts of 16,000 !": ("/classify", {"texts": ["!" * 16_000] * 256}),
    "classify: 256 texts of 5,000 ideographs": ("/classify", {"texts": ["東" * 5_000] * 256}),
    "classify: 40 texts of 100,000 letters": ("/classify", {"texts": ["a" * 100_000] * 40}),
    "classify: two million numbers": ("/classify", {"texts": [0] * 1_300_000}),
    "classify: nested lists": ("/classify", {"texts": [[]] * 1_000_000}),
}


@pytest.mark.parametrize("name", HEAVY)
def test_heaviest_request_within_the_limits_is_bounded(served: Served, name: str) -> None:
    """Characters were bounded, and neither the tokens that they fall into nor the runs that these are asked for."""
    path, body = HEAVY[name]
    before = megabytes(served)
    highest = before
    with plain_client(served) as beside:
        for _ in range(size(1, 5)):
            for status, seconds in ask_all(served, [post(path, body)] * size(2, 8), threads=8):
                assert status in (200, 400, 413, *STATED)
                assert seconds < 60
            highest = max(highest, megabytes(served))
    beside.check()
    assert highest - before < 400


def test_half_sent_requests_turn_nobody_away(served: Served) -> None:
    """Connections that wait for a client that never goes on were counted as requests."""
    held = []
    try:
        for i in range(size(100, 800)):
            connection = connect(served)
            connection.sendall([b"POST /classify HT", post("/classify", b"{", length=1000)][i % 2])
            held.append(connection)
        with plain_client(served) as beside:
            time.sleep(size(1, 5))
        beside.check()
        assert httpx.get(f"{served.url}/readyz").status_code == 200
    finally:
        for connection in held:
            connection.close()


def test_half_sent_bodies_share_their_memory(served: Served) -> None:
    """Four hundred bodies of four megabytes, none of them whole, held a gigabyte until long after they had gone."""
    before = megabytes(served)
    held = []
    request = post("/classify", b" " * 3_900_000, length=4_000_000)
    try:
        with plain_client(served) as beside:
            for _ in range(size(20, 60)):
                connection = connect(served)
                with contextlib.suppress(OSError):
                    connection.sendall(request)
                held.append(connection)
            assert megabytes(served) - before < 250
        beside.check()
    finally:
        for connection in held:
            connection.close()


def test_slow_client_is_given_up(served: Served) -> None:
    """A head or a body that comes a byte a second holds its connection for ever."""
    started = time.perf_counter()
    with connect(served) as head, connect(served) as body:
        head.sendall(b"GET /info HTTP/1.1\r\nHost: loc")
        body.sendall(post("/classify", b"{", length=1000))
        for _ in range(60):
            with contextlib.suppress(OSError):
                head.sendall(b"a")
                body.sendall(b" ")
            time.sleep(0.25)
            if time.perf_counter() - started > 12:
                break
        assert read_status(head) == 0
        assert read_status(body) == 408


def test_endless_head_is_not_kept(served: Served) -> None:
    """Headers without an end were kept in memory."""
    with connect(served) as connection:
        connection.sendall(b"GET /info HTTP/1.1\r\nHost: localhost\r\n")
        with contextlib.suppress(OSError):
            for i in range(2000):
                connection.sendall(b"X-%d: %s\r\n" % (i, b"y" * 1000))
        assert read_status(connection) in (0, 431)


def test_clients_that_go_away_leave_no_traceback(served: Served) -> None:
    """A traceback for each of them fills the log, and hides what matters in it."""
    request = post("/classify", {"texts": [CANARY] * 3})
    for i in range(size(60, 600)):
        connection = connect(served)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.sendall(request if i % 2 else request[:-5])
        if i % 3 == 0:
            time.sleep(0.005)
        connection.close()
    assert ask(served, request)[0] == 200
    assert "Traceback" not in served.log


def mutate(dice: random.Random, seeds: list[bytes]) -> bytes:
    """A request with some bytes changed, cut, doubled or put elsewhere."""
    data = bytearray(dice.choice(seeds))
    for _ in range(dice.randint(1, 8)):
        at = dice.randrange(len(data) + 1)
        what = dice.randrange(5)
        if what == 0 and at < len(data):
            data[at] = dice.randrange(256)
        elif what == 1:
            data[at:at] = dice.randbytes(dice.randint(1, 20))
        elif what == 2:
            del data[at : at + dice.randint(1, 20)]
        elif what == 3:
            data[at:at] = data[at : at + dice.randint(1, 40)]
        else:
            data[at:at] = dice.choice([b"\x00", b"\xff\xfe", b'"', b"\\ud800", b"1e999", b"[[[[", b"\r\n\r\n", b"%00"])
    return bytes(data)


def test_fuzzed_requests_are_refused_or_answered(served: Served) -> None:
    """Somewhere in a parser there is an input that nobody thought of; the seed says which."""
    seeds = [
        post("/classify", {"texts": [CANARY, "東京 😀", "a\u0000b"], "variant": "odd"}),
        post("/explain", {"text": f"{CANARY} i hate you"}),
        post("/corrections", {"text": CANARY, "label": "hate", "comment": "x"}),
        b"GET /card?variant=odd HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET /info HTTP/1.1\r\nHost: localhost\r\nIf-None-Match: x\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
    ]
    for seed in range(size(400, 20_000)):
        with connect(served, timeout=5) as connection, contextlib.suppress(OSError):
            connection.sendall(mutate(random.Random(seed), seeds))
            connection.shutdown(socket.SHUT_WR)
            status = read_status(connection)
            assert status < 500 or status in STATED, f"seed {seed}: {status}"
    assert Path(served.log_file).stat().st_size < 50_000_000
