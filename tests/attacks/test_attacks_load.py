"""More than the service can do, and processes that are killed while it does it."""

from __future__ import annotations

import os
import re
import signal
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import psutil
import pytest
from attack_tools import ask, connect, post, read_status, workers
from serving_bundle import shared_bundle
from serving_process import ROOT, Served, serve

pytestmark = [pytest.mark.attacks, pytest.mark.slow]
SHORT = post("/classify", {"texts": ["sun and rain " * 20]})


def start(folder: Path, count: int = 2, **more: str):
    environ = {"EVENODD_BUNDLE": str(shared_bundle()), "EVENODD_WORKERS": str(count), "TMPDIR": str(folder), **more}
    return serve(ROOT, folder / "log", **environ)


def load_until(served: Served, stop: threading.Event, answers: list[int], threads: int) -> list[threading.Thread]:
    """Clients that ask again and again, each request on a connection of its own."""

    def go() -> None:
        while not stop.is_set():
            answers.append(ask(served, SHORT, timeout=20)[0])

    started = [threading.Thread(target=go) for _ in range(threads)]
    for thread in started:
        thread.start()
    return started


def test_killed_worker_takes_only_what_it_held(tmp_path: Path) -> None:
    """Whoever measures drift or waits for the queue must not see the dead worker's last words for ever."""
    with start(tmp_path) as running:
        running.wait_ready()
        stop, answers = threading.Event(), []
        clients = load_until(running, stop, answers, threads=4)
        first = workers(running)
        while len(answers) < 20:
            time.sleep(0.01)
        before = counted(running)
        for worker in first:
            os.kill(worker, signal.SIGKILL)
        end = time.monotonic() + 60
        while time.monotonic() < end and (len(workers(running) - first) < 2 or answers[-20:] != [200] * 20):
            time.sleep(0.1)
        stop.set()
        for client in clients:
            client.join()
        running.wait_ready()
        assert answers[-20:] == [200] * 20
        assert counted(running) >= before, "counters only grow"
        kept = {path.name for path in tmp_path.glob("evenodd-metrics-*/gauge_*.db")}
        assert not any(name.endswith(f"_{worker}.db") for name in kept for worker in first)


def counted(served: Served) -> float:
    shown = httpx.get(f"{served.url}/metrics", timeout=30).text
    return sum(map(float, re.findall(r"^evenodd_decisions_total\S* (\S+)$", shown, re.MULTILINE)))


def test_killed_parent_leaves_no_orphans(tmp_path: Path) -> None:
    """Workers that live on hold the port, and the service cannot be started again."""
    with start(tmp_path) as running:
        running.wait_ready()
        children = psutil.Process(running.process.pid).children(recursive=True)
        held = connect(running)
        held.sendall(SHORT)
        running.process.kill()
        assert read_status(held) == 200, "what is in flight is answered"
        _, alive = psutil.wait_procs(children, timeout=20)
        assert not alive
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", running.port))


def test_draining_refuses_and_does_not_reset(tmp_path: Path) -> None:
    """Taken into a queue that nobody empties, they wait, and then are cut."""
    long = post("/classify", {"texts": ["good day " * 3000] * 12})
    with start(tmp_path) as running, ThreadPoolExecutor(2) as pool:
        running.wait_ready()
        in_flight = [pool.submit(ask, running, long) for _ in range(2)]
        end = time.monotonic() + 30
        while not any(batch > 0 for batch in pending(running)) and time.monotonic() < end:
            time.sleep(0.01)
        running.process.send_signal(signal.SIGTERM)
        outcomes = set()
        while not all(one.done() for one in in_flight):
            outcomes.add(outcome(running))
            time.sleep(0.02)
        assert [one.result()[0] for one in in_flight] == [200, 200]
        assert outcomes <= {"200", "refused"}
        assert running.process.wait(60) == 0


def pending(served: Served) -> list[float]:
    shown = httpx.get(f"{served.url}/metrics", timeout=30).text
    return list(map(float, re.findall(r"^evenodd_batch_windows_count\S* (\S+)$", shown, re.MULTILINE)))


def outcome(served: Served) -> str:
    """What a new connection comes to."""
    try:
        connection = socket.create_connection(("127.0.0.1", served.port), timeout=10)
    except ConnectionRefusedError:
        return "refused"
    with connection:
        try:
            connection.sendall(SHORT)
            status = read_status(connection)
        except OSError as fault:
            return type(fault).__name__
        return str(status) if status else "reset"


def test_second_service_leaves_the_first_its_metrics(tmp_path: Path) -> None:
    """Both keep them below one home; whoever starts later emptied the folder of the other."""
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    home = {"BENTOML_HOME": str(tmp_path / "home"), "TMPDIR": str(tmp_path)}
    with start(tmp_path / "one", 1, **home) as first:
        first.wait_ready()
        assert ask(first, SHORT)[0] == 200
        before = counted(first)
        with start(tmp_path / "two", 1, **home) as second:
            second.wait_ready()
            assert counted(second) == 0
            assert counted(first) == before > 0
        assert ask(first, SHORT)[0] == 200
        assert counted(first) == before + 1
