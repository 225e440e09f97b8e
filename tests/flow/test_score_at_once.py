"""`score` on several cores: tasks of Ray answer as one process does, and a command that is killed is gone on with."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from serving_bundle import WORDS, shared_bundle

from evenodd.flow.score import score_plan
from evenodd.flow.scorer import find_model
from evenodd.flow.scoring import shards
from evenodd.flow.scoring.plan import find_places, make_plan
from evenodd.settings import resolve_settings

ROOT = Path(__file__).resolve().parents[2]
SECONDS = 300


def write_rows(path: Path, rows: int) -> None:
    dice = random.Random(rows)
    lines = (f"{n}\t{' '.join(dice.choices(WORDS, k=dice.randint(1, 30)))}" for n in range(rows))
    path.write_text("\n".join(["id\ttext", *lines]) + "\n")


@pytest.mark.slow
def test_tasks_of_ray_answer_as_one_process_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two places would give a text another label than one, or a row the answer of another row."""
    monkeypatch.setattr(shards, "SHARD_ROWS", 100)
    source = tmp_path / "in"
    source.mkdir()
    for name, rows in (("a.tsv", 450), ("b.tsv", 30), ("c.tsv", 5)):
        write_rows(source / name, rows)
    model = find_model(str(shared_bundle("checked")), "none")
    for jobs in (1, 2):
        settings = resolve_settings({"input": str(source), "output": str(tmp_path / str(jobs)), "jobs": jobs})
        plan = make_plan(find_places(str(source), str(tmp_path / str(jobs)), None), model, settings)
        assert score_plan(plan, model, settings).texts == 485
    for name in ("a.tsv", "b.tsv", "c.tsv"):
        one, two = (pq.read_table(tmp_path / jobs / f"{name}.scores.parquet") for jobs in ("1", "2"))
        assert one.equals(two)


@pytest.mark.slow
@pytest.mark.reliability
@pytest.mark.skipif("EVENODD_RELIABILITY" not in os.environ, reason="takes a minute: make test-reliability")
def test_a_command_that_is_killed_five_times_ends_with_the_same_results(tmp_path: Path) -> None:
    """Rows lost or twice after `kill -9`, and workers that outlive it."""
    write_rows(tmp_path / "a.tsv", 150_000)
    bundle = shared_bundle("checked")
    kill_after = random.Random(0)

    def command(output: str) -> list[str]:
        said = [f"model={bundle}", f"input={tmp_path / 'a.tsv'}", f"output={tmp_path / output}", "jobs=2"]
        return [sys.executable, "-m", "pipelines", "score", *said]

    environment = {**os.environ, "PYTHONPATH": f"{ROOT / 'src'}:{ROOT}"}
    subprocess.run(command("whole.parquet"), cwd=tmp_path, env=environment, check=True, timeout=SECONDS)
    for _ in range(5):
        process = subprocess.Popen(command("out.parquet"), cwd=tmp_path, env=environment, start_new_session=True)
        before = shards_of(tmp_path)
        deadline = time.monotonic() + SECONDS
        while shards_of(tmp_path) <= before and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.05)
        time.sleep(kill_after.random())
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    subprocess.run(command("out.parquet"), cwd=tmp_path, env=environment, check=True, timeout=SECONDS)
    assert (tmp_path / "out.parquet").read_bytes() == (tmp_path / "whole.parquet").read_bytes()


def shards_of(folder: Path) -> int:
    """How many scored shards lie there."""
    return len(list(folder.glob(".scoring-*/shard-*.parquet")))
