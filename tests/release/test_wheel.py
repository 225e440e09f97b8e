"""The wheel, installed into an empty folder: it holds everything that the command, the package and the service need."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import httpx
import pytest
from serving_bundle import shared_bundle
from serving_process import free_port, started
from small_study import write_config, write_encoder, write_moods

ROOT = Path(__file__).resolve().parents[2]
SIGNS = {"calm": "rain", "loud": "never", "even-tempered": "group"}
SOURCES = ("src", "serving", "pyproject.toml", "README.md", "LICENSE")

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from a copy of the sources, without a network."""
    copy, out = tmp_path_factory.mktemp("sources"), tmp_path_factory.mktemp("dist")
    for name in SOURCES:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
        else:
            shutil.copy(ROOT / name, copy)
    pip("wheel", "--no-build-isolation", "--wheel-dir", str(out), str(copy))
    (built,) = out.glob("evenodd-*.whl")
    return built


@pytest.fixture(scope="module")
def site(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that holds the installed wheel and nothing else."""
    folder = tmp_path_factory.mktemp("installed") / "site"
    pip("install", "--target", str(folder), str(wheel))
    return folder


@pytest.fixture
def environ(site: Path) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("MLFLOW_", "EVENODD_"))}
    return {**kept, "PYTHONPATH": str(site), "HF_HUB_OFFLINE": "1", "BENTOML_DO_NOT_TRACK": "true"}


def pip(command: str, *words: str) -> None:
    line = [sys.executable, "-m", "pip", command, "-q", "--no-deps", "--no-index", *words]
    done = subprocess.run(line, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr


def python(code: str, folder: Path, environ: dict[str, str]) -> str:
    """What a line of code prints when it runs in a folder."""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, env=environ, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_the_wheel_holds_every_file_of_the_package_and_of_the_service(wheel: Path) -> None:
    """A data file left out is missed by the first user, not by tests in a checkout."""
    held = set(zipfile.ZipFile(wheel).namelist())
    tracked = subprocess.run(
        ["git", "ls-files", "src", "serving"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    expected = {path.removeprefix("src/") for path in tracked.stdout.splitlines() if (ROOT / path).is_file()}
    assert expected <= held, sorted(expected - held)
    assert {name.partition("/")[0].partition("-")[0] for name in held} == {"evenodd", "serving"}


def test_the_package_is_imported_and_its_data_read_without_a_checkout(
    site: Path, environ: dict[str, str], tmp_path: Path
) -> None:
    """A path that is counted upwards from a module leads out of the installed package."""
    code = (
        "import json, evenodd; from evenodd.rows.sample import sample_rows; from evenodd.rows.augment import *;"
        "from evenodd.evidence.suites.behaviour import load_suite; from evenodd.flow.package import service_folder;"
        "print(json.dumps([evenodd.__file__, str(service_folder()), len(sample_rows(rows=20)),"
        "len(counterexamples(20)), len(load_suite().texts)]))"
    )
    package, service, *counts = json.loads(python(code, tmp_path, environ))
    assert Path(package).parent == site / "evenodd"
    assert Path(service) == site / "serving"
    assert counts == [20, 20, 958]


def test_the_command_shows_its_entry_points(site: Path, environ: dict[str, str], tmp_path: Path) -> None:
    """The console script names a function; a typo in it is seen when it is called."""
    done = subprocess.run(
        [site / "bin" / "evenodd", "--help"], cwd=tmp_path, env=environ, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    assert "distill_odd" in done.stdout


LINES = """
from evenodd import Project
project = Project("moods.csv", teacher="encoder", config="small.yaml")
odd, lora = project.fit("odd"), project.fit("lora", seeds=2)
print(project.compare(odd, lora).verdict)
answer = odd.predict(["a day with rain"])[0]
print(answer.label, answer.decision, answer.score)
project.export(odd)
"""


def test_the_lines_of_the_readme_run_in_an_empty_folder(environ: dict[str, str], tmp_path: Path) -> None:
    """Rows, models and figures of the installed package: nothing of it may look for the checkout."""
    write_encoder(tmp_path / "encoder")
    write_moods(tmp_path / "moods.csv", SIGNS)
    write_config(tmp_path / "small.yaml", evidence={"bootstrap_samples": 200})
    shown = python(LINES, tmp_path, environ).splitlines()
    assert shown[-1].split()[0] in SIGNS
    assert (tmp_path / "mlflow.db").is_file()
    assert list(tmp_path.glob(".evenodd/bundles/*/bundle.json"))


def test_the_command_serves_a_bundle(site: Path, environ: dict[str, str], tmp_path: Path) -> None:
    """The service and its page are files of the wheel as well."""
    port = free_port()
    command = [str(site / "bin" / "evenodd"), "serve", f"model={shared_bundle()}"]
    environ |= {"BENTOML_PORT": str(port), "BENTOML_HOST": "127.0.0.1", "BENTOML_HOME": str(tmp_path / "bentoml")}
    with started(command, port, tmp_path, tmp_path / "log", environ) as served:
        served.wait_ready(240)
        answer = httpx.post(f"{served.url}/classify", json={"texts": ["a text"]}, timeout=60)
        assert answer.status_code == 200, answer.text
        assert "<html" in httpx.get(f"{served.url}/", timeout=60).text
