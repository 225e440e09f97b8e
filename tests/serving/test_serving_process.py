"""The service as it is run: `bentoml serve` in a process of its own."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest
import yaml
from serving_bundle import copy_bundle, reference_probabilities, shared_bundle
from serving_process import ROOT, Served, serve

from evenodd.classifier.session import missing_for_cuda
from evenodd.flow.package import stage_service

pytestmark = pytest.mark.slow
CANARY = "zebracanary"
NO_CUDA = pytest.mark.skipif(missing_for_cuda() is None, reason="a CUDA device is here")
TEXTS = ["12345", "😀😡", "أنا أكره", "\u200b", "", "i hate you", "sun and rain " * 3000, CANARY]


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    log_file = tmp_path_factory.mktemp("served") / "log"
    with serve(ROOT, log_file, EVENODD_BUNDLE=str(shared_bundle()), EVENODD_WORKERS="2") as running:
        running.wait_ready()
        yield running


def metric(served: Served, name: str) -> float:
    found = re.findall(rf"^{re.escape(name)}\S* (\S+)$", httpx.get(f"{served.url}/metrics").text, re.MULTILINE)
    return sum(float(value) for value in found)


def test_answers_equal_the_graph(served: Served) -> None:
    """What the function gives and what a client gets are two things."""
    answer = httpx.post(f"{served.url}/classify", json={"texts": TEXTS}, timeout=60)
    assert answer.status_code == 200
    results = answer.json()["results"]
    short = [i for i, text in enumerate(TEXTS) if len(text) < 50]
    found = np.array([[results[i]["probabilities"][name] for name in ("noHate", "hate")] for i in short])
    expected = reference_probabilities(shared_bundle(), "fp32", [TEXTS[i] for i in short], temperature=1.5)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert results[6]["windows"] > 200


def test_all_paths_answer(served: Served) -> None:
    """Health and metrics are BentoML's, the page and the rest ours: neither may hide the other."""
    for path in ("/livez", "/healthz", "/readyz", "/metrics", "/docs.json", "/info", "/card", "/"):
        answer = httpx.get(served.url + path)
        assert answer.status_code == 200, path
    assert "text/html" in httpx.get(served.url).headers["content-type"]
    documented = httpx.get(f"{served.url}/docs.json").json()["paths"]
    assert {"/classify", "/explain", "/info", "/card", "/corrections"} <= set(documented)
    assert {"200", "400", "413", "429"} <= set(documented["/classify"]["post"]["responses"])


def test_concurrent_requests_merge_and_are_counted(served: Served) -> None:
    """The batch-size metric is the proof that batching happens at all."""

    async def load() -> list[int]:
        async with httpx.AsyncClient(timeout=60) as client:
            calls = (client.post(f"{served.url}/classify", json={"texts": [f"good day {i}"] * 8}) for i in range(100))
            return [answer.status_code for answer in await asyncio.gather(*calls)]

    names = ("evenodd_batch_requests_sum", "evenodd_batch_requests_count", "evenodd_decisions_total")
    before = {name: metric(served, name) for name in names}
    assert asyncio.run(load()) == [200] * 100
    grown = {name: metric(served, name) - before[name] for name in names}
    assert grown["evenodd_decisions_total"] == 800
    assert grown["evenodd_batch_requests_sum"] >= 100
    assert grown["evenodd_batch_requests_sum"] / grown["evenodd_batch_requests_count"] > 1.5
    page = httpx.get(f"{served.url}/metrics").text
    for name in ("evenodd_score_bucket", "evenodd_text_tokens_bucket", "evenodd_queue_wait_seconds_bucket"):
        assert name in page
    assert re.search(r'evenodd_provider_info\{.*provider="cpu".*\} 1.0', page)
    assert 'evenodd_drift_psi{of="score"' in page


def test_no_line_of_the_log_holds_a_text(served: Served) -> None:
    """Not for good requests, not for bad ones, and not through BentoML's own handling of errors."""
    bodies = [
        b'{"texts": ["' + CANARY.encode() + b'"',
        json.dumps({"texts": [CANARY, 3]}).encode(),
        json.dumps({"texts": CANARY}).encode(),
        json.dumps({"text": [CANARY]}).encode(),
        json.dumps([CANARY]).encode(),
    ]
    kinds = ("application/json", "text/plain", "application/vnd.bentoml+pickle", "multipart/form-data")
    with httpx.Client(base_url=served.url, follow_redirects=True, timeout=30) as client:
        for body in bodies:
            for path in ("/classify", "/explain", "/corrections", "/classify/"):
                for kind in kinds:
                    answer = client.post(path, content=body, headers={"content-type": kind})
                    assert 400 <= answer.status_code < 500
                    assert CANARY not in answer.text
        assert client.post("/classify", json={"texts": [CANARY]}).status_code == 200
        assert CANARY in client.post("/explain", json={"text": CANARY}).text
    assert "provider" in served.log or "cpu" in served.log
    assert CANARY not in served.log


def test_oversized_body_leaves_the_service_well(served: Served) -> None:
    """A refused body that is read to its end costs as much as one that is taken."""
    with socket.create_connection(("127.0.0.1", served.port), timeout=20) as connection:
        head = "POST /classify HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        head += "Content-Length: 999999999\r\n\r\n"
        connection.sendall(head.encode())
        assert b" 413 " in connection.recv(200)
    assert httpx.post(f"{served.url}/classify", json={"texts": ["sun"]}).status_code == 200


def test_overload_is_answered_at_once(tmp_path: Path) -> None:
    """Beyond the limit a request must be told so while the others are still being worked on."""
    limits = {"EVENODD_WORKERS": "1", "EVENODD_MAX_WAIT": "0.05"}

    async def load(url: str) -> list[tuple[int, float]]:
        async with httpx.AsyncClient(timeout=60, limits=httpx.Limits(max_connections=60)) as client:

            async def one() -> tuple[int, float]:
                started = time.perf_counter()
                answer = await client.post(f"{url}/classify", json={"texts": ["good day " * 200] * 8})
                return answer.status_code, time.perf_counter() - started

            return list(await asyncio.gather(*(one() for _ in range(50))))

    with serve(ROOT, tmp_path / "log", EVENODD_BUNDLE=str(shared_bundle()), **limits) as running:
        running.wait_ready()
        answers = asyncio.run(load(running.url))
        taken = [seconds for status, seconds in answers if status == 200]
        refused = [seconds for status, seconds in answers if status == 429]
        assert len(taken) >= 1
        assert len(taken) + len(refused) == 50
        assert len(refused) >= 10
        assert max(refused) < max(taken)
        assert httpx.post(f"{running.url}/classify", json={"texts": ["sun"]}, timeout=30).status_code == 200


def test_sigterm_finishes_what_is_in_flight(tmp_path: Path) -> None:
    """A rolling update would lose the requests of that moment."""

    async def scenario(running: Served) -> int:
        async with httpx.AsyncClient(timeout=60) as client:
            body = {"texts": ["good day " * 3000] * 12}
            answer = asyncio.ensure_future(client.post(f"{running.url}/classify", json=body))
            while "evenodd_batch_windows_count" not in (await client.get(f"{running.url}/metrics")).text:
                await asyncio.sleep(0.01)
            running.process.terminate()
            return (await answer).status_code

    with serve(ROOT, tmp_path / "log", EVENODD_BUNDLE=str(shared_bundle()), EVENODD_WORKERS="1") as running:
        running.wait_ready()
        assert asyncio.run(scenario(running)) == 200
        assert running.process.wait(60) == 0


@pytest.mark.parametrize(
    ("environ", "reason"),
    [
        ({"EVENODD_BUNDLE": "{spoiled}"}, "tokenizer.json has SHA-256"),
        ({"EVENODD_BUNDLE": "/no/such/bundle"}, "no bundle.json"),
        ({"EVENODD_BUNDLE": "{good}", "EVENODD_MAX_TEXTS": "many"}, "EVENODD_MAX_TEXTS='many'"),
        ({"EVENODD_BUNDLE": "{good}", "EVENODD_VARIANT": "even"}, "EVENODD_VARIANT='even'"),
        ({"EVENODD_BUNDLE": "{good}", "EVENODD_GRAPH": "checked"}, "no margin was measured"),
        pytest.param({"EVENODD_BUNDLE": "{good}", "EVENODD_PROVIDER": "cuda"}, "did not start", marks=NO_CUDA),
    ],
    ids=["spoiled", "missing", "setting", "variant", "graph", "provider"],
)
def test_start_is_refused_in_one_line(tmp_path: Path, environ: dict[str, str], reason: str) -> None:
    """A worker that dies and is started again for ever looks like a slow start."""
    spoiled = copy_bundle(shared_bundle(), tmp_path / "spoiled")
    (spoiled / "tokenizer.json").write_text("{}")
    places = {"spoiled": str(spoiled), "good": str(shared_bundle())}
    given = {name: value.format(**places) for name, value in environ.items()}
    with serve(ROOT, tmp_path / "log", **given) as running:
        assert running.process.wait(60) != 0
        assert reason in running.log
        assert "Traceback" not in running.log


def test_layers_of_bentoml_can_be_put_in_front(tmp_path: Path) -> None:
    """Traces and an access log are asked for by name; they must not bring texts into the log."""
    environ = {"EVENODD_BUNDLE": str(shared_bundle()), "EVENODD_WORKERS": "1", "EVENODD_BENTOML_LAYERS": "1"}
    with serve(ROOT, tmp_path / "log", **environ) as running:
        running.wait_ready()
        assert httpx.post(f"{running.url}/classify", json={"texts": [CANARY]}).status_code == 200
        assert httpx.post(f"{running.url}/classify", json={"texts": CANARY}).status_code == 400
        assert "bentoml_service_request_total" in httpx.get(f"{running.url}/metrics").text
        assert "path=/classify" in running.log
        assert CANARY not in running.log


BLOCKED = (
    "torch",
    "transformers",
    "mlflow",
    "pipelines",
    "pandas",
    "scipy",
    "sklearn",
    "fastapi",
    "datasets",
)
BLOCKER = f"""
import os, sys

class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {BLOCKED!r}:
            raise ModuleNotFoundError("blocked: " + name, name=name)

sys.meta_path.insert(0, Blocked())
sys.path[:] = [path for path in sys.path if not os.path.isfile(os.path.join(path, "evenodd", "__init__.py"))]
"""


def test_bento_serves_from_elsewhere_without_the_training_packages(tmp_path: Path) -> None:
    """The Bento must hold all it needs: files, bundles, and no import of what the project trains with."""
    stage, home, elsewhere = (tmp_path / name for name in ("stage", "home", "elsewhere"))
    stage_service(stage, {})
    copy_bundle(shared_bundle("even"), stage / "serving" / "bundles" / "00-even")
    copy_bundle(shared_bundle(), stage / "serving" / "bundles" / "01-odd")
    elsewhere.mkdir()
    (tmp_path / "blocker").mkdir()
    (tmp_path / "blocker" / "sitecustomize.py").write_text(BLOCKER)
    options = yaml.safe_load((ROOT / "serving" / "bentofile.yaml").read_text())
    service = options.pop("service")
    environ = {"BENTOML_HOME": str(home), "BENTOML_DO_NOT_TRACK": "True"}
    build = (
        f"import bentoml; print('TAG', bentoml.bentos.build({service!r}, build_ctx={str(stage)!r}, **{options!r}).tag)"
    )
    built = subprocess.run(
        [sys.executable, "-c", build], env={**os.environ, **environ}, capture_output=True, text=True, check=False
    )
    assert built.returncode == 0, built.stderr
    tag = re.search(r"TAG (\S+)", built.stdout)
    assert tag is not None
    shutil.rmtree(stage)
    environ["PYTHONPATH"] = str(tmp_path / "blocker")
    with serve(elsewhere, tmp_path / "log", target=tag.group(1), EVENODD_WORKERS="1", **environ) as running:
        running.wait_ready()
        answer = httpx.post(f"{running.url}/classify", json={"texts": ["i hate you"]}).json()
        assert answer["model"]["variant"] == "even"
        assert len(httpx.get(f"{running.url}/info").json()["variants"]) == 2
        assert "text/html" in httpx.get(running.url).headers["content-type"]
