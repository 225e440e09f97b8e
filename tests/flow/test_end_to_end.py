"""The chain as a user runs it: `mlflow run`, then the served Bento."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from interruption import hear_ctrl_c
from tracking_store import mlflow_store

ROOT = Path(__file__).parents[2]
SMALL = {"config": "configs/quick.yaml", "variants": "odd"}

pytestmark = pytest.mark.slow


def mlflow_run(entry: str, environ: dict[str, str], **parameters: str) -> subprocess.CompletedProcess[str]:
    """`mlflow run . -e ENTRY --env-manager local -P …` in the repository."""
    words = [word for key, value in parameters.items() for word in ("-P", f"{key.replace('__', '.')}={value}")]
    command = [sys.executable, "-m", "mlflow", "run", ".", "-e", entry, "--env-manager", "local", *words]
    return subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True, timeout=600)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("chain")


@pytest.fixture(scope="module")
def temporary(store: Path) -> Path:
    """The temporary folder of every command."""
    (folder := store / "tmp").mkdir()
    return folder


@pytest.fixture(scope="module")
def environ(store: Path, temporary: Path) -> dict[str, str]:
    return {
        **{k: v for k, v in os.environ.items() if not k.startswith(("MLFLOW_", "EVENODD_"))},
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "MLFLOW_TRACKING_URI": f"sqlite:///{store / 'mlflow.db'}",
        "TMPDIR": str(temporary),
        "BENTOML_HOME": str(store / "bentoml"),
        "HF_HUB_OFFLINE": "1",
        "BENTOML_DO_NOT_TRACK": "true",
    }


@pytest.fixture(scope="module", autouse=True)
def experiment(store: Path, environ: dict[str, str]) -> None:
    """Artifacts of the tests lie with the tests' files, not in the repository."""
    from mlflow import MlflowClient

    client = MlflowClient(environ["MLFLOW_TRACKING_URI"])
    environ["MLFLOW_EXPERIMENT_ID"] = client.create_experiment("chain", (store / "artifacts").as_uri())


@pytest.fixture(scope="module")
def chain(store: Path, environ: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """`main` with one student at small size."""
    return mlflow_run("main", environ, **SMALL, home=str(store / "home"))


def search(environ: dict[str, str], wanted: str = "") -> list[Any]:
    """Runs of the chain's store."""
    from mlflow import MlflowClient

    client = MlflowClient(environ["MLFLOW_TRACKING_URI"])
    experiments = [experiment.experiment_id for experiment in client.search_experiments()]
    return list(client.search_runs(experiments, wanted))


def test_main_goes_from_rows_to_a_champion_and_a_bento(chain, environ) -> None:
    """A chain that stops half way would leave the service without a model."""
    assert chain.returncode == 0, chain.stderr[-3000:]
    from mlflow import MlflowClient

    registered = MlflowClient(environ["MLFLOW_TRACKING_URI"]).get_registered_model("sample")
    assert {"champion", "teacher", "odd"} <= set(registered.aliases)
    assert "macro-F1" in chain.stdout
    assert "make serve" in chain.stdout


def test_nothing_is_left_in_the_temporary_folder(chain, temporary: Path) -> None:
    """Every comparison left a folder for each artifact that it read."""
    assert [*temporary.glob("evenodd*"), *temporary.glob("tmp*/*")] == []  # `mlflow run` itself leaves an empty folder


def test_runs_line_up_for_the_compare_view(chain, environ) -> None:
    """Variants that name a metric differently cannot be compared in the UI."""
    runs = {run.data.tags["variant"]: run for run in search(environ, "tags.model_uri LIKE 'models:/%'")}
    assert set(runs) == {"teacher", "odd"}
    shared = set(runs["teacher"].data.metrics) & set(runs["odd"].data.metrics)
    assert {
        "1_test/f1_macro",
        "5_decision/test_ece",
        "2_validation/f1_macro",
        "3_cost/parameters",
        "8_train/loss",
    } <= shared
    assert {"4_behaviour/balanced_accuracy", "6_floor/tfidf_f1_macro"} <= shared
    told_apart = {name: runs[name].data.params for name in runs}
    assert {name: params["variant"] for name, params in told_apart.items()} == {"teacher": "teacher", "odd": "odd"}
    assert told_apart["odd"]["layers"] == "1,3,5"
    assert runs["odd"].data.tags["teacher_run_id"] == runs["teacher"].info.run_id


def test_a_second_run_reuses_what_is_finished(chain, store, environ) -> None:
    """Fitting again what is there would cost hours and fill the registry."""
    again = mlflow_run("main", environ, **SMALL, home=str(store / "home"), run__build="false")
    assert again.returncode == 0, again.stderr[-3000:]
    assert again.stderr.count("seed 0 | reused from run") == 2
    assert "compare | reused from run" in again.stderr
    assert "export odd | reused from run" in again.stderr
    assert len(search(environ, "tags.model_uri LIKE 'models:/%'")) == 2


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({"epochs": "abc"}, "epochs='abc'"),
        ({"epoch": "3"}, "did you mean 'epochs'"),
        ({"data": "no/such/file.jsonl"}, "no/such/file.jsonl"),
        ({"data": "owner/set"}, "hub cannot be reached"),
    ],
)
def test_mistakes_are_one_line_and_leave_nothing_running(chain, store, environ, parameters, words) -> None:
    """A run left RUNNING, or a traceback instead of the way out."""
    before = {run.info.run_id for run in search(environ)}
    started = time.monotonic()
    done = mlflow_run("distill_odd", environ, home=str(store / "home"), **parameters)
    assert time.monotonic() - started < 60
    assert done.returncode != 0
    told = [line for line in done.stderr.splitlines() if line.startswith("distill_odd: ")]
    assert len(told) == 1
    assert words in told[0]
    assert "Traceback" not in done.stderr
    new = [run for run in search(environ) if run.info.run_id not in before]
    assert {run.info.status for run in new} <= {"FAILED"}


def test_evaluate_scores_a_file_and_writes_predictions(chain, store, environ) -> None:
    """The file that a person checks must hold every row and the label of the model."""
    rows = [{"text": f"They said it would rain on day {n}.", "label": "noHate"} for n in range(30)]
    rows += [{"text": f"All immigrants in house {n} should be thrown out.", "label": "hate"} for n in range(30)]
    data, out = store / "rows.jsonl", store / "predictions.csv"
    data.write_text("\n".join(json.dumps(row) for row in rows))
    done = mlflow_run(
        "evaluate", environ, model="sample@odd", data=str(data), predictions=str(out), home=str(store / "home")
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert "evaluate/f1_macro" in done.stdout
    assert len(out.read_text().splitlines()) == 61


@pytest.fixture(scope="module")
def served(chain, environ) -> Iterator[str]:
    """The built Bento, served from another folder; its address."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "bentoml", "serve", "evenodd:latest", "--port", str(port), "--host", "127.0.0.1"]
    process = subprocess.Popen(
        command, cwd="/", env={**environ, "EVENODD_WORKERS": "1"}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        start_new_session=True,
    )  # fmt: skip
    address = f"http://127.0.0.1:{port}"
    try:
        _wait(address, process)
        yield address
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(30)


def _wait(address: str, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with urllib.request.urlopen(f"{address}/readyz", timeout=2):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.5)
    raise AssertionError(f"the service did not come up (exit code {process.poll()})")


def classify(address: str, texts: list[str]) -> list[dict[str, Any]]:
    """Results of `/classify`."""
    body = json.dumps({"texts": texts}).encode()
    request = urllib.request.Request(f"{address}/classify", body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.load(answer)["results"]


def test_the_served_bento_answers_as_the_registered_model(served, environ) -> None:
    """A graph, tokenizer or decision that differs from the registered model would decide differently in production."""
    from evenodd.flow.scorer import open_scorer
    from evenodd.rows.sample import sample_rows

    texts = [row["text"] for row in sample_rows(seed=1, rows=500)]
    with mlflow_store(environ["MLFLOW_TRACKING_URI"]):
        scorer = open_scorer("champion", "sample")
    expected = [scorer.label_names[number] for number in scorer.decision.labels(scorer.probabilities(texts))]
    found = [result["label"] for part in (texts[:250], texts[250:]) for result in classify(served, part)]
    assert sum(a != b for a, b in zip(expected, found, strict=True)) == 0


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL], ids=["Ctrl-C", "kill -9"])
def test_an_interrupted_fit_goes_on_and_registers_one_version(chain, store, environ, how) -> None:
    """Hours of training lost, a run that looks alive for ever, or two versions of one fit."""
    from mlflow import MlflowClient

    client = MlflowClient(environ["MLFLOW_TRACKING_URI"])
    before = {version.version for version in client.search_model_versions("name = 'sample'")}
    home = store / "home"
    command = [sys.executable, "-m", "mlflow", "run", ".", "-e", "distill_odd", "--env-manager", "local"]
    command += ["-P", "config=configs/quick.yaml", "-P", f"home={home}"]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    process = subprocess.Popen(command, cwd=ROOT, env=environ, start_new_session=True, preexec_fn=hear_ctrl_c, **quiet)
    deadline = time.monotonic() + 300
    while not list(home.glob("fits/*/checkpoint-*/sealed.json")):
        assert time.monotonic() < deadline
        assert process.poll() is None
        time.sleep(0.2)
    os.killpg(process.pid, how)
    assert process.wait(60) != 0
    again = mlflow_run("distill_odd", environ, config="configs/quick.yaml", home=str(home))
    assert again.returncode == 0, again.stderr[-3000:]
    assert "resumed from" in again.stderr
    assert not [run for run in search(environ) if run.info.status == "RUNNING"]
    new = [v for v in client.search_model_versions("name = 'sample'") if v.version not in before]
    assert [version.tags["variant"] for version in new] == ["odd"]
    assert not list(home.glob("fits/*"))
