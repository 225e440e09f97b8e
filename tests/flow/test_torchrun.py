"""A command under torchrun: one flow, one run and one version for each fit, the other processes only join in."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import mlflow
import pytest

ROOT = Path(__file__).resolve().parents[2]
SECONDS = 300


@pytest.mark.slow
def test_a_command_in_two_processes_makes_the_runs_of_one(tiny_encoder: Path, rows_file: Path, tmp_path: Path) -> None:
    """Each process would fit, log and register on its own: every run and version twice."""
    store = f"sqlite:///{tmp_path}/mlflow.db"
    variables = {"PYTHONPATH": f"{ROOT / 'src'}:{ROOT}", "OMP_NUM_THREADS": "1", "MLFLOW_TRACKING_URI": store}
    settings = [f"data={rows_file}", f"teacher={tiny_encoder}", "positive=hate", "data.max_length=32"]
    settings += ["learning_rate=0.01", "epochs=3", "train.precision=fp32", "name=two"]
    start = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "pipelines"]
    done = subprocess.run(
        [*start, "distill_odd", *settings],
        cwd=tmp_path,
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        timeout=SECONDS,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.count("odd (seed 0): version") == 1
    client = mlflow.MlflowClient(store)
    (experiment,) = (one.experiment_id for one in client.search_experiments(filter_string="name = 'two'"))
    runs = client.search_runs([experiment])
    assert sorted(run.data.tags["variant"] for run in runs) == ["odd", "teacher"]
    assert {run.info.status for run in runs} == {"FINISHED"}
    assert len(client.search_model_versions("name = 'two'")) == 2
