"""The same study on two hosts with one store: each fit is made once, and both end with the same table."""

from __future__ import annotations

import contextlib
import os
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from interruption import at_full_size
from reliability_chain import Chain, make_chain
from serving_process import free_port, started

ON_ANOTHER_HOST = """
import runpy, socket
from evenodd.tracking import leases
socket.gethostname = lambda: "host-{name}"
leases._kernel = lambda: "kernel-{name}"
runpy.run_module("pipelines", run_name="__main__")
"""


def make_hosts(folder: Path, empty_store: Path, store: str) -> list[Chain]:
    """Two hosts with folders of their own and the same rows; of processes elsewhere a host knows only what it hears."""
    hosts = []
    for name in ("one", "two"):
        (folder / name).mkdir()
        chain = make_chain(folder / name, empty_store, {"MLFLOW_TRACKING_URI": store})
        chain.program = ("-c", ON_ANOTHER_HOST.format(name=name))
        hosts.append(chain)
    return hosts


def check_study(hosts: list[Chain], fits: int, **said: str) -> None:
    """Runs the study on all hosts at once."""
    try:
        processes = [host.start("study", jobs="1", **said) for host in hosts]
        out, told = zip(*(process.communicate(timeout=500) for process in processes), strict=True)
    finally:
        for host in hosts:
            host.end()
    assert [process.returncode for process in processes] == [0, 0], "\n\n".join(text[-3000:] for text in told)
    first = hosts[0]
    studies = first.runs("tags.stage = 'study'")
    runs = first.runs("tags.fingerprint LIKE '%' and tags.variant LIKE '%'")
    by_study = Counter(run.data.tags["mlflow.parentRunId"] for run in runs)
    prints = [run.data.tags["fingerprint"] for run in runs]
    assert len(prints) == len(set(prints)) == fits
    assert set(by_study) == {run.info.run_id for run in studies}, "each host made some of the fits"
    assert len(first.versions()) == fits
    tables = [[line for line in text.splitlines() if not line.startswith("report ")] for text in out]
    assert len(tables[0]) > fits
    assert tables[0] == tables[1]
    assert not first.runs("attributes.status = 'RUNNING'")
    assert not [model.name for model in first.client().search_registered_models() if "lease" in model.name]


@pytest.mark.slow
def test_two_hosts_with_one_database_share_the_fits_of_a_study(tmp_path: Path, empty_store: Path) -> None:
    """Two hosts on one store made every fit twice, or the second waited for the first to its end."""
    (tmp_path / "mlflow.db").write_bytes(empty_store.read_bytes())
    hosts = make_hosts(tmp_path, empty_store, f"sqlite:///{tmp_path}/mlflow.db")
    check_study(hosts, 4, variants="odd,even,lora")


@contextlib.contextmanager
def mlflow_server(folder: Path, empty_store: Path) -> Iterator[str]:
    """A server that keeps runs in SQLite, and artifacts itself."""
    folder.mkdir()
    (folder / "mlflow.db").write_bytes(empty_store.read_bytes())
    port = free_port()
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "2"]
    command += ["--backend-store-uri", f"sqlite:///{folder / 'mlflow.db'}"]
    command += ["--artifacts-destination", str(folder / "kept")]
    environ = {key: value for key, value in os.environ.items() if not key.startswith("MLFLOW_")}
    with started(command, port, folder, folder / "mlflow.log", environ) as server:
        server.wait_ready(path="/health")
        yield server.url


@pytest.mark.slow
@pytest.mark.reliability
@at_full_size
def test_two_hosts_with_one_server_share_the_fits_of_a_study(tmp_path: Path, empty_store: Path) -> None:
    """Folders that one host has and the other has not; leases that a server answers more slowly than a database."""
    with mlflow_server(tmp_path / "server", empty_store) as uri:
        check_study(make_hosts(tmp_path, empty_store, uri), 6, variants="odd,lora", seeds="2")
