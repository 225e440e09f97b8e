"""A whole `main` with a tiny teacher, as a command in a folder and a store of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
from interruption import hear_ctrl_c
from small_study import write_config, write_encoder, write_rows

ROOT = Path(__file__).resolve().parents[1]
MORE: dict[str, Any] = {
    "variants": {"teacher": {"train": {"epochs": 6}}, "student": {"train": {"epochs": 4}}},
    "gates": {"above_floor": False, "max_ece": 1.0},
}


@dataclass
class Chain:
    """Where a `main` runs, and with what; `program` is what Python is started with."""

    folder: Path
    given: dict[str, str]
    environ: dict[str, str]
    program: tuple[str, ...] = ("-m", "pipelines")
    started: list[subprocess.Popen[str]] = field(default_factory=list)

    def start(self, entry: str = "main", **more: str) -> subprocess.Popen[str]:
        """Begins a command in a process group of its own."""
        said = {**self.given, **more}
        words = [word for key, value in said.items() for word in (f"--{key.replace('__', '.')}", value)]
        process = subprocess.Popen(
            [sys.executable, *self.program, entry, *words],
            cwd=self.folder,
            env=self.environ,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            preexec_fn=hear_ctrl_c,
        )
        self.started.append(process)
        return process

    def run(self, entry: str = "main", **more: str) -> subprocess.CompletedProcess[str]:
        """A command to its end."""
        process = self.start(entry, **more)
        out, err = process.communicate(timeout=500)
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)

    def until(self, process: subprocess.Popen[str], words: str) -> str:
        """Reads a command's log until a line holds the words; what was read."""
        read = ""
        for line in process.stderr or ():
            read += line
            if words in line:
                return read
        raise AssertionError(f"'{words}' was not said:\n{read[-3000:]}")

    def end(self) -> None:
        """Kills what is left of the commands."""
        for process in self.started:
            left = [process]
            with suppress(psutil.NoSuchProcess):
                left += psutil.Process(process.pid).children(recursive=True)
            for one in left:
                if isinstance(one, psutil.Process) or one.poll() is None:
                    with suppress(psutil.NoSuchProcess):
                        one.kill()
            if process.poll() is None:
                process.wait()

    def client(self) -> Any:
        """MLflow's client of the store."""
        from mlflow import MlflowClient

        return MlflowClient(self.environ["MLFLOW_TRACKING_URI"])

    def runs(self, wanted: str = "") -> list[Any]:
        """Its runs."""
        client = self.client()
        experiments = [experiment.experiment_id for experiment in client.search_experiments()]
        return list(client.search_runs(experiments, wanted))

    def versions(self) -> list[tuple[str, str]]:
        """Number and variant of every version that is registered."""
        found = self.client().search_model_versions("name = 'rows'")
        return sorted((version.version, f"{version.tags['variant']} {version.tags['kind']}") for version in found)

    def check_clean(self) -> None:
        """Nothing is open, held, half there or there twice."""
        assert not self.runs("attributes.status = 'RUNNING'")
        variants = [variant for _, variant in self.versions()]
        assert sorted(variants) == sorted(set(variants))
        leases = [model.name for model in self.client().search_registered_models() if "lease" in model.name]
        assert not leases
        home = self.folder / "home"
        assert not list((home / "fits").glob("*"))
        assert not list((home / "bundles").glob(".*"))


def make_chain(folder: Path, empty_store: Path, more: Mapping[str, str] | None = None) -> Chain:
    """An encoder of four layers, rows, a configuration and an empty store."""
    write_encoder(folder / "encoder")
    write_config(folder / "config.yaml", **MORE)
    write_rows(folder / "rows.jsonl", count=720)
    (folder / "mlflow.db").write_bytes(empty_store.read_bytes())
    environ = {key: value for key, value in os.environ.items() if not key.startswith(("MLFLOW_", "EVENODD_"))}
    environ |= {
        "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'src'}",
        "MLFLOW_TRACKING_URI": f"sqlite:///{folder}/mlflow.db",
        "BENTOML_HOME": str(folder / "bentoml"),
        "HF_HUB_OFFLINE": "1",
        "OMP_NUM_THREADS": "1",
        **(more or {}),
    }
    given = {"data": "rows.jsonl", "teacher": "encoder", "config": "config.yaml", "home": "home", "variants": "odd"}
    return Chain(folder, given, environ)


def end_group(process: subprocess.Popen[str], number: signal.Signals) -> None:
    """Sends a signal to a command and all that it started."""
    os.killpg(process.pid, number)
