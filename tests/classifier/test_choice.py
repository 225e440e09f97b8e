"""Which graph answers: what was asked for, what the bundle names, and `checked` only where it pays on this machine."""

from __future__ import annotations

import time

import numpy as np
import pytest
from serving_bundle import change_bundle, copy_bundle, shared_bundle

from evenodd.classifier import engine as engines
from evenodd.classifier.bundle import read_bundle
from evenodd.classifier.choice import FASTER, choose_faster, name_graph, time_both
from evenodd.classifier.engine import EngineOptions, open_engine


@pytest.mark.parametrize(("fast", "share", "graph"), [(1.0, 0.1, "checked"), (1.0, 0.5, "fp32"), (1.9, 0.0, "fp32")])
def test_checked_has_to_be_faster_with_what_runs_twice(fast: float, share: float, graph: str) -> None:
    """Half of the texts run twice are slower than float32 alone, however fast int8 is by itself."""
    choice = choose_faster(lambda: time.sleep(fast / 500), lambda: time.sleep(2.0 / 500), share)
    assert choice.graph == graph
    assert choice.settled
    assert ("would gain too little" in choice.why) == (graph == "fp32")


def test_one_busy_moment_decides_nothing() -> None:
    """A neighbour that takes the core during one pass made the faster graph the slower one."""
    seen: list[str] = []

    def run(name: str, seconds: float) -> None:
        seen.append(name)
        time.sleep(0.05 if len(seen) == 3 else seconds)

    first, second = time_both(lambda: run("first", 0.001), lambda: run("second", 0.004))
    assert first < second
    assert seen[:4] == ["first", "second", "first", "second"], "in turns"


def test_measuring_ends() -> None:
    """A start that takes a minute looks like a failed one."""
    started = time.perf_counter()
    time_both(lambda: time.sleep(0.03), lambda: time.sleep(0.03), seconds=0.2)
    assert time.perf_counter() - started < 0.6


def test_what_was_asked_for_is_not_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever asks for `checked` gets it; whoever asks for float32 holds no second graph in memory."""
    monkeypatch.setattr(engines, "choose_faster", lambda *_: pytest.fail("measured"))
    bundle = read_bundle(shared_bundle("checked"))
    for graph in ("checked", "fp32", "int8"):
        opened = open_engine(bundle, EngineOptions(graph=graph))
        assert (opened.graph, opened.choice.why) == (graph, "it was requested")
    assert name_graph(bundle, None, "cuda").graph == "fp32"


@pytest.mark.parametrize("graph", ["checked", "fp32"])
def test_the_graph_that_pays_answers_and_says_why(graph: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Which graph is faster depends on the machine; `/info` must show the one that runs."""
    monkeypatch.setattr("evenodd.classifier.choice.FASTER", 0.0 if graph == "checked" else 1e9)
    opened = open_engine(read_bundle(shared_bundle("checked")), EngineOptions())
    assert opened.runtime["graph"] == graph
    assert "times as many texts per second as fp32" in opened.runtime["why"]
    texts = ["sun and rain", "i hate rain"]
    asked = open_engine(opened.bundle, EngineOptions(graph=graph))
    np.testing.assert_array_equal(opened.score(texts), asked.score(texts))
    assert FASTER == 1.15


def test_a_bundle_whose_exporter_named_float32_is_left_alone(tmp_path) -> None:  # type: ignore[no-untyped-def]
    """`serve.graph=fp32` is set for scores that never change."""
    folder = copy_bundle(shared_bundle("checked"), tmp_path / "bundle")
    change_bundle(folder, {"recommended.cpu": "fp32"})
    opened = open_engine(read_bundle(folder), EngineOptions())
    assert (opened.graph, opened.choice.why) == ("fp32", "the bundle names it for cpu")
