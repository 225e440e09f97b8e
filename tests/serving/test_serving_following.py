"""Following a registered model: what an alias points to is served, without a request lost when it moves."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
from cryptography.fernet import Fernet
from mlflow import MlflowClient
from mlflow.webhooks.delivery import _generate_hmac_signature
from serving_bundle import KINDS, change_bundle, copy_bundle, shared_bundle
from serving_process import ROOT, Served, free_port, serve, started
from starlette.datastructures import Headers
from tracking_store import mlflow_store

from evenodd.classifier.choice import Choice
from serving.following import FOLDER, State, Watcher, about, only_one, read_state, write_state
from serving.refusals import Refused
from serving.registry import Follower, Found, MlflowRegistry, RegistryError, follow, open_once
from serving.settings import Settings
from serving.webhook import check_delivery, names_model

MODEL = "models:/reviews@champion"
SECRET = "not told to anybody"


def bundle(folder: Path, version: str, kind: str = "binary") -> Path:
    """A sound bundle that says which version it is."""
    change_bundle(copy_bundle(shared_bundle(kind), folder), {"version": version})
    return folder


def damage(folder: Path) -> None:
    """One byte of the graph is another."""
    graph = bytearray((folder / "model.onnx").read_bytes())
    graph[len(graph) // 2] ^= 1
    (folder / "model.onnx").write_bytes(graph)


@dataclass
class FakeRegistry:
    """A registry of folders; `at` is where the alias points."""

    versions: dict[str, Path] = field(default_factory=dict)
    at: str = "1"
    away: bool = False
    fetched: list[str] = field(default_factory=list)

    def find(self) -> Found:
        if self.away:
            raise RegistryError("no route to host")
        return Found(self.at, self.at if self.at in self.versions else None)

    def fetch(self, version: str, target: Path) -> Path:
        self.fetched.append(version)
        return copy_bundle(self.versions[version], target / "data" / "odd")


@pytest.fixture
def registry(tmp_path: Path) -> FakeRegistry:
    versions = {number: bundle(tmp_path / number, number) for number in ("1", "2")}
    return FakeRegistry(versions)


@pytest.fixture
def follower(registry: FakeRegistry, tmp_path: Path) -> Follower:
    (tmp_path / "service").mkdir()
    return Follower(MODEL, tmp_path / "service", registry, lambda folder: open_once(folder, Settings()))


def test_a_version_is_written_only_after_it_was_opened(follower: Follower, registry: FakeRegistry) -> None:
    """Workers read the file: a version in it that does not answer would cost all of them their answer."""
    state = follower.look()
    assert (state.version, state.refused, state.refusals) == ("1", None, 0)
    assert json.loads((Path(str(state.folder)) / "bundle.json").read_text())["version"] == "1"
    assert Choice(**(state.choice or {})).graph == "fp32"
    assert read_state(Path(str(state.folder)).parent) == state


def test_nothing_is_fetched_while_the_alias_stands_still(follower: Follower, registry: FakeRegistry) -> None:
    """Every look would copy a model else."""
    for _ in range(3):
        follower.look()
    assert registry.fetched == ["1"]


def test_a_damaged_version_is_refused_once_and_the_old_one_stays(follower: Follower, registry: FakeRegistry) -> None:
    """The alias may point to what was cut while it was copied."""
    before = follower.look()
    damage(registry.versions["2"])
    registry.at = "2"
    for _ in range(3):
        state = follower.look()
    assert (state.version, state.folder, state.refusals) == ("1", before.folder, 1)
    assert state.refused is not None
    assert state.refused.version == "2"
    assert "SHA-256" in state.refused.reason
    assert "/" not in state.refused.reason
    assert registry.fetched == ["1", "2"]


def test_a_version_that_was_never_exported_is_refused_with_the_way_out(
    follower: Follower, registry: FakeRegistry
) -> None:
    """`champion` points to what was fitted, and graphs are exported later."""
    follower.look()
    registry.at = "7"
    refused = follower.look().refused
    assert refused is not None
    assert "evenodd export model=7" in refused.reason


def test_a_registry_that_is_away_changes_nothing(follower: Follower, registry: FakeRegistry) -> None:
    """The service lives longer than the tracking server's restart."""
    before = follower.look()
    registry.away = True
    state = follower.look()
    assert state.error
    assert (state.version, state.folder, state.checked) == ("1", before.folder, before.checked)
    registry.away = False
    assert follower.look().error is None


def test_old_bundles_are_removed_but_for_the_last(follower: Follower, registry: FakeRegistry) -> None:
    """A service that runs for months would fill the disk."""
    for at in ("1", "2", "1", "2", "1"):
        registry.at = at
        state = follower.look()
    assert len(list(Path(str(state.folder)).parent.glob("bundle-*"))) == 2
    assert Path(str(state.folder)).is_dir()


def test_a_worker_keeps_its_version_where_the_next_does_not_open(tmp_path: Path) -> None:
    """What opened in the follower may still fail in a worker, for want of memory perhaps."""
    served, opened = State(MODEL, version="1", folder="a"), []

    def apply(state: State) -> None:
        opened.append(state.version)
        if state.version == "2":
            raise RuntimeError("no memory")

    watcher = Watcher(tmp_path, served, apply, lambda state: None)
    for version, folder in (("1", "a"), ("2", "b"), ("2", "b"), ("3", "c")):
        write_state(tmp_path, State(MODEL, version=version, folder=folder))
        watcher._look()
        assert about(watcher.served, tmp_path)["version"] == ("3" if version == "3" else "1")
    assert opened == ["2", "3"]


def test_only_one_follower_lives(tmp_path: Path) -> None:
    """Two would write over each other's state."""
    with only_one(tmp_path) as first, only_one(tmp_path) as second:
        assert (first, second) == (True, False)


@pytest.mark.parametrize("model", ["reviews", "models:/reviews", "models:/reviews@", "runs:/1/odd", "models:/a@b/c"])
def test_a_reference_is_an_alias_or_a_version(model: str) -> None:
    """Anything else would be asked for every few seconds, in vain."""
    with pytest.raises(ValueError, match="NAME@ALIAS"):
        MlflowRegistry(model)


def signed(body: bytes, secret: str = SECRET, at: float | None = None) -> Headers:
    """Headers as MLflow itself makes them."""
    timestamp = str(int(time.time() if at is None else at))
    signature = _generate_hmac_signature(secret, "delivery", timestamp, body.decode())
    return Headers(
        {"X-MLflow-Signature": signature, "X-MLflow-Timestamp": timestamp, "X-MLflow-Delivery-Id": "delivery"}
    )


def test_a_delivery_signed_by_mlflow_is_taken() -> None:
    """The form of the signature is MLflow's to choose."""
    check_delivery(SECRET, signed(b'{"data": {}}'), b'{"data": {}}')


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        (signed(b"{}", "another secret"), b"{}"),
        (signed(b"{}"), b'{"data": 1}'),
        (signed(b"{}", at=time.time() - 3600), b"{}"),
        (Headers({}), b"{}"),
        (Headers({"X-MLflow-Signature": "v1,\xe4"}), b"{}"),
    ],
    ids=["secret", "body", "old", "none", "letters"],
)
def test_other_deliveries_are_refused(headers: Headers, body: bytes) -> None:
    """Strangers could make the service ask without end."""
    with pytest.raises(Refused) as refused:
        check_delivery(SECRET, headers, body)
    assert refused.value.status == 401


def test_a_delivery_about_another_model_is_let_go() -> None:
    """A webhook is told of every model of the registry."""
    assert names_model({"data": {"name": "reviews"}}, MODEL)
    assert names_model({}, MODEL)
    assert not names_model({"data": {"name": "reviews2"}}, MODEL)


class Store:
    """A registry with a version for each bundle."""

    def __init__(self, uri: str) -> None:
        self.uri = uri
        self._client = MlflowClient(tracking_uri=uri, registry_uri=uri)

    @classmethod
    def new(cls, folder: Path) -> Store:
        """An empty one in SQLite."""
        store = cls(f"sqlite:///{folder / 'mlflow.db'}")
        store._client.create_registered_model("reviews")
        return store

    def add(self, folder: Path, **tags: str) -> str:
        made = self._client.create_model_version("reviews", source=folder.as_uri(), tags=tags)
        return str(made.version)

    def point_at(self, version: str) -> None:
        self._client.set_registered_model_alias("reviews", "champion", version)

    def notify(self, address: str, secret: str) -> None:
        self._client.create_webhook("evenodd", address, ["model_version_alias.created"], secret=secret)


@dataclass
class Load:
    """Clients that ask without a pause, and what they were answered."""

    url: str
    statuses: list[int] = field(default_factory=list)
    versions: list[str] = field(default_factory=list)

    async def run(self, work: Callable[[], Any], clients: int = 16) -> None:
        ended = asyncio.Event()
        async with httpx.AsyncClient(timeout=60, limits=httpx.Limits(max_connections=clients)) as client:
            asking = [asyncio.create_task(self._ask(client, ended)) for _ in range(clients)]
            try:
                await asyncio.to_thread(work)
            finally:
                ended.set()
                await asyncio.gather(*asking)

    async def _ask(self, client: httpx.AsyncClient, ended: asyncio.Event) -> None:
        while not ended.is_set():
            answer = await client.post(f"{self.url}/classify", json={"texts": ["i hate you"]})
            self.statuses.append(answer.status_code)
            self.versions.append(answer.json()["model"]["version"] if answer.status_code == 200 else answer.text)
            await asyncio.sleep(0.01)


def deliver(served: Served, secret: str = SECRET) -> int:
    """MLflow's webhook, as MLflow sends it."""
    body = json.dumps({"entity": "model_version_alias", "action": "created", "data": {"name": "reviews"}}).encode()
    headers = {**signed(body, secret), "content-type": "application/json"}
    return httpx.post(f"{served.url}/webhooks/mlflow", content=body, headers=headers).status_code


def wait_for(met: Callable[[], bool], what: str, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not met():
        assert time.monotonic() < end, f"not within {seconds} s: {what}"
        time.sleep(0.02)


@contextlib.contextmanager
def following(store: Store, log_file: Path, **environ: str) -> Iterator[Served]:
    settings = {"EVENODD_MODEL": MODEL, "MLFLOW_TRACKING_URI": store.uri, "EVENODD_WEBHOOK_SECRET": SECRET, **environ}
    path = os.pathsep.join((str(ROOT), str(ROOT / "src")))
    with serve(ROOT, log_file, EVENODD_WORKERS="2", PYTHONPATH=path, **settings) as served:
        served.wait_ready()
        yield served


@pytest.mark.slow
def test_the_alias_moves_ten_times_under_load_and_nothing_is_lost(tmp_path: Path) -> None:
    """A change of model in the night must not be seen by anybody who asks; a damaged version must not be served."""
    store = Store.new(tmp_path)
    kinds = ["binary", "even"]
    numbers = [store.add(bundle(tmp_path / str(n), str(n), kinds[n % 2]), kind="onnx") for n in range(1, 12)]
    damaged = bundle(tmp_path / "damaged", "12", "even")
    damage(damaged)
    store.add(damaged, kind="onnx")
    assert KINDS["even"].variant != KINDS["binary"].variant
    store.point_at("1")
    with following(store, tmp_path / "log") as served:
        load = Load(served.url)

        def move() -> None:
            for number in numbers[1:]:
                store.point_at(number)
                assert deliver(served) == 202
                wait_for(lambda number=number: number in load.versions[-64:], f"version {number} answers")
            wait_for(lambda: set(load.versions[-64:]) == {"11"}, "the last version alone answers")
            store.point_at("12")
            assert deliver(served) == 202
            wait_for(lambda: info()["refusals"] == 1, "version 12 is refused")

        def info() -> Any:
            return httpx.get(f"{served.url}/info").json()["following"]

        assert deliver(served, "another secret") == 401
        asyncio.run(load.run(move))
        assert set(load.statuses) == {200}, served.log
        assert load.versions[-1] == "11"
        assert (info()["version"], info()["refused"]["version"]) == ("11", "12")
        assert "SHA-256" in info()["refused"]["reason"]
        assert "evenodd_model_refusals 1.0" in httpx.get(f"{served.url}/metrics").text
        assert served.log.count("version 12 is refused") == 1
        assert served.stop() == 0
    assert FOLDER not in os.environ


@contextlib.contextmanager
def tracking_server(folder: Path) -> Iterator[str]:
    """`mlflow server` on SQLite with webhooks to this machine allowed; gives its address."""
    port = free_port()
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    command += [
        "--backend-store-uri",
        f"sqlite:///{folder / 'mlflow.db'}",
        "--artifacts-destination",
        str(folder / "kept"),
    ]
    environ = {
        **os.environ,
        "MLFLOW_WEBHOOK_ALLOWED_SCHEMES": "http,https",
        "MLFLOW_WEBHOOK_ALLOW_PRIVATE_IPS": "true",
        "MLFLOW_WEBHOOK_SECRET_ENCRYPTION_KEY": Fernet.generate_key().decode(),
    }
    with started(command, port, folder, folder / "mlflow.log", environ) as server:
        server.wait_ready(path="/health")
        yield server.url


@pytest.mark.slow
def test_the_webhook_of_a_real_server_moves_the_service(tmp_path: Path) -> None:
    """Names, routes and signatures of MLflow's deliveries are MLflow's: with others the next look is minutes away."""
    store = Store.new(tmp_path)
    numbers = [store.add(bundle(tmp_path / n, n), kind="onnx") for n in ("1", "2")]
    store.point_at(numbers[0])
    with tracking_server(tmp_path) as uri:
        server = Store(uri)
        with following(server, tmp_path / "log", EVENODD_FOLLOW_SECONDS="3600") as served:

            def version() -> str:
                return str(httpx.get(f"{served.url}/info").json()["following"]["version"])

            assert version() == numbers[0]
            server.notify(f"{served.url}/webhooks/mlflow", SECRET)
            server.point_at(numbers[1])
            wait_for(lambda: version() == numbers[1], "the version that the webhook tells of answers")


def test_the_newest_export_of_a_fitted_version_is_served(tmp_path: Path) -> None:
    """`champion` points to the fitted version; what serves is its newest export."""
    store = Store.new(tmp_path)
    fitted = store.add(tmp_path / "nothing", kind="torch")
    store.point_at(fitted)
    with mlflow_store(store.uri):
        registry = MlflowRegistry(MODEL)
        assert registry.find() == Found(fitted, None)
        numbers = [store.add(bundle(tmp_path / n, n), kind="onnx", torch_version=fitted) for n in ("old", "new")]
        assert registry.find() == Found(fitted, numbers[1])
        assert registry.find().key == f"{fitted} exported as {numbers[1]}"
        [found] = registry.fetch(numbers[1], tmp_path / "copy").rglob("bundle.json")
        assert json.loads(found.read_text())["version"] == "new"
        store.point_at(numbers[0])
        assert registry.find() == Found(numbers[0], numbers[0])
        with pytest.raises(RegistryError):
            MlflowRegistry("models:/reviews@nobody").find()


def test_the_registry_is_asked_until_input_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A webhook may never come, and a follower that outlives its worker would be one too many."""
    asked = []

    class Asking:
        def look(self) -> None:
            asked.append(time.monotonic())
            if len(asked) == 3:
                os.close(write)

    read, write = os.pipe()
    with os.fdopen(read) as stdin:
        monkeypatch.setattr("sys.stdin", stdin)
        follow(Asking(), tmp_path, 0.05)  # type: ignore[arg-type]
    assert len(asked) == 3
