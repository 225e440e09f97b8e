"""Training as a Kubernetes job: the project that MLflow's backend is given, and the job that it starts."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from mlflow.projects.utils import get_entry_point_command, load_project

ROOT = Path(__file__).resolve().parents[2]
SUBMIT = ROOT / "deploy" / "training" / "submit.sh"
KUBERNETES = "1.34"
JOB = yaml.safe_load((ROOT / "deploy" / "training" / "job.yaml").read_text())


@pytest.fixture(scope="module")
def submitted(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """The project and the arguments that `mlflow` was called with, by a stand-in that keeps both."""
    folder = tmp_path_factory.mktemp("submit")
    stand_in = folder / "mlflow"
    stand_in.write_text(f'#!/bin/sh\ncp -r "$2" {folder}/project\nprintf "%s\\n" "$@" > {folder}/arguments\n')
    stand_in.chmod(0o755)
    about = {
        "PATH": f"{folder}:{os.environ['PATH']}",
        "REPOSITORY": "registry.example/evenodd",
        "KUBE_MLFLOW_TRACKING_URI": "http://mlflow:5000",
        "KUBE_CONTEXT": "here",
    }
    command = ["sh", str(SUBMIT), "study", "-P", "variants=odd,even"]
    subprocess.run(command, check=True, env=os.environ | about, capture_output=True, text=True)
    return folder / "project", (folder / "arguments").read_text().splitlines()


def test_backend_gets_a_project_that_it_can_run(submitted: tuple[Path, list[str]]) -> None:
    """The backend refuses conda projects, and runs the command without a shell: `NAME=value python` is no program."""
    folder, arguments = submitted
    project = load_project(str(folder))
    assert project.docker_env == {"image": "evenodd-training"}
    command = get_entry_point_command(project, "study", {"variants": "odd,even"}, None)
    assert shlex.split(command[0])[:5] == ["env", "PYTHONPATH=src", "python", "-m", "pipelines.study"]
    assert arguments[2:4] == ["-e", "study"]
    assert arguments[-4:] == ["-P", "home=/data/.evenodd", "-P", "variants=odd,even"]
    backend = json.loads((folder / "backend.json").read_text())
    assert backend["repository-uri"] == "registry.example/evenodd"
    assert backend["kube-context"] == "here"
    assert backend["kube-job-template-path"].endswith("deploy/training/job.yaml")


def test_what_is_missing_is_said_before_anything_starts() -> None:
    known = {key: value for key, value in os.environ.items() if key not in ("REPOSITORY", "KUBE_MLFLOW_TRACKING_URI")}
    done = subprocess.run(["sh", str(SUBMIT), "study"], env=known, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "REPOSITORY: the repository" in done.stderr


def test_job_is_valid_once_filled_in() -> None:
    """As MLflow fills it in: name, image and command."""
    validator = pytest.importorskip("kubernetes_validate")
    job: dict[str, Any] = json.loads(json.dumps(JOB).replace("{filled in}", "evenodd-1"))
    job["spec"]["template"]["spec"]["containers"][0]["command"] = ["env", "python"]
    assert validator.validate(job, KUBERNETES, strict=True)
    pod = job["spec"]["template"]["spec"]
    assert pod["securityContext"]["runAsNonRoot"]
    assert pod["containers"][0]["resources"]["limits"]["memory"]
    assert [mount["mountPath"] for mount in pod["containers"][0]["volumeMounts"]] == ["/data"]
