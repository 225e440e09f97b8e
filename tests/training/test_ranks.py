"""Several processes of torchrun: the same steps as one, reported once, ended together."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from evenodd.training import ranks
from evenodd.training.ranks import connect, share_of_batch

TESTS = Path(__file__).resolve().parents[1]
SECONDS = 300
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What came of the fits of `fits_in_ranks.py` by who ran them: `one`, or `first` and `second` of two processes."""
    work = tmp_path_factory.mktemp("ranks")
    script = str(Path(__file__).with_name("fits_in_ranks.py"))
    paths = (str(TESTS.parent / "src"), str(TESTS), os.environ.get("PYTHONPATH", ""))
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": "1"}
    two = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    for name, start in (("one", [sys.executable]), ("two", two)):
        (work / name).mkdir()
        subprocess.run([*start, script, str(work / name)], env=environment, check=True, timeout=SECONDS)
    files = {"one": "one/found-0.pickle", "first": "two/found-0.pickle", "second": "two/found-1.pickle"}
    return {name: pickle.loads((work / file).read_bytes()) for name, file in files.items()}


@pytest.mark.parametrize("what", ["labels", "cached", "live", "adalora"])
def test_two_processes_step_as_one_does(found: dict[str, Any], what: str) -> None:
    """Rows left out, counted twice, or steps taken twice still end in a model, and in other figures."""
    one, two, other = (found[name][what] for name in ("one", "first", "second"))
    for metric in ("train/loss", "train/grad_norm"):
        expected, got = values(one, metric), values(two, metric)
        assert len(got) == len(expected) > 4
        assert got[0] == pytest.approx(expected[0], rel=1e-4)
        np.testing.assert_allclose(got, expected, rtol=2e-2)
    np.testing.assert_allclose(two["logits"], one["logits"], atol=2e-2)
    np.testing.assert_allclose(two["logits"], other["logits"], atol=1e-5)
    assert two["best_epoch"] == one["best_epoch"]
    assert two["padding"] == pytest.approx(one["padding"])


def test_what_two_processes_do_is_reported_once(found: dict[str, Any]) -> None:
    """Every step would stand twice in the run."""
    told = found["first"]["labels"]["told"]
    by_step = [step for step, metrics in told if "train/loss" in metrics]
    assert by_step == sorted(set(by_step))
    assert sum("validation/f1_macro" in metrics for _, metrics in told) == 2
    assert found["second"]["labels"]["told"] == []


def test_ranks_of_adapters_are_moved_alike(found: dict[str, Any]) -> None:
    """Ranks decided apart would leave each process with another model; the history is what the run shows."""
    one, two, other = (found[name]["adalora"] for name in ("one", "first", "second"))
    assert one["ranks"] == two["ranks"] == other["ranks"]
    assert two["allocated"].keys() == one["allocated"].keys()


def test_a_fault_of_the_first_process_ends_the_others_at_the_same_step(found: dict[str, Any]) -> None:
    """The second would wait for ever for the gradients of a trial that was pruned."""
    assert found["one"]["ended"] == found["first"]["ended"] == "the lease is lost"
    assert found["second"]["ended"] == "another process ended the fit"
    assert all("diverged" in found[name]["diverged"] for name in ("one", "first", "second"))


def test_two_processes_on_one_gpu_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """NCCL says of two processes on one GPU nothing that a user could act upon."""
    monkeypatch.setattr(ranks, "best_device", lambda: "cuda")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setenv("WORLD_SIZE", "3")
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "3")
    with pytest.raises(ValueError, match=r"nproc-per-node=3: this machine has 2 GPU\(s\)"):
        connect()


def test_one_process_needs_no_other() -> None:
    """A command that torchrun did not start must not wait for anybody."""
    connect()
    assert (ranks.rank_and_world(), share_of_batch([4, 5]), ranks.agreed("x")) == ((0, 1), [4, 5], "x")
    with ranks.leading():
        ranks.join_in(print, "nobody")


def values(fitted: dict[str, Any], metric: str) -> np.ndarray:
    return np.array([row["value"] for row in fitted["history"] if row["metric"] == metric])
