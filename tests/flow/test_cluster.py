"""A study on a Ray cluster of two nodes, of which one is killed."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from interruption import at_full_size
from reliability_chain import Chain, make_chain

ROOT = Path(__file__).parents[2]

pytestmark = [pytest.mark.reliability, pytest.mark.slow, at_full_size]


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Any, Any]]:
    """A cluster on this machine, and the node of it that may be killed; each has one core."""
    pytest.importorskip("ray", reason="ray is not installed: make install")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(map(str, (ROOT / "src", ROOT))))
    from ray.cluster_utils import Cluster

    from evenodd.flow.logs import ENVIRONMENT

    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    few = {"num_cpus": 1, "object_store_memory": 128 * 1024**2, "include_dashboard": False}
    made = Cluster(initialize_head=True, head_node_args=few)
    try:
        yield made, made.add_node(num_cpus=1, object_store_memory=128 * 1024**2)
    finally:
        made.shutdown()


def begin_two_at_once(chain: Chain, process: Any) -> None:
    """Waits until two fits are under way: one on each node."""
    chain.until(process, "odd seed 0")
    for _ in range(2):
        chain.until(process, "| fitting |")


def test_a_study_goes_on_when_a_node_dies(cluster: tuple[Any, Any], tmp_path: Path, empty_store: Path) -> None:
    """The study ended with the node, its fits were made again from the beginning, or its run stayed open."""
    nodes, second = cluster
    chain = make_chain(tmp_path, empty_store)
    process = chain.start("study", engine=nodes.address, jobs="2", variants="odd,lora", seeds="2")
    try:
        begin_two_at_once(chain, process)
        nodes.remove_node(second, allow_graceful=False)
        _, told = process.communicate(timeout=500)
    finally:
        chain.end()
    assert process.returncode == 0, told[-3000:]
    assert "Traceback" not in told
    runs = chain.runs("tags.fingerprint LIKE '%' and tags.variant LIKE '%'")
    finished = Counter(run.data.tags["fingerprint"] for run in runs if run.info.status == "FINISHED")
    assert len(finished) == 6
    assert set(finished.values()) == {1}
    assert len(chain.versions()) == 6
    assert {run.info.status for run in runs} == {"FINISHED", "KILLED"}, "the node was killed in the middle of a fit"
    assert not chain.runs("attributes.status = 'RUNNING'")
    assert not [model.name for model in chain.client().search_registered_models() if "lease" in model.name]
