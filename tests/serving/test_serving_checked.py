"""The graph `checked`: int8 answers, float32 answers again what lies near a boundary."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest
from serving_bundle import CHECKED_MARGIN, WORDS, change_bundle, copy_bundle, reference_probabilities, shared_bundle

from evenodd.classifier import engine as engines
from evenodd.classifier.bundle import read_bundle
from evenodd.classifier.engine import Engine, open_engine
from evenodd.task.decision import log_odds
from serving.front import Front
from serving.runtime import CHOSEN, Runtime, check_bundles, chosen_graphs
from serving.settings import Settings, read_settings


def random_texts(count: int, longest: int = 24) -> list[str]:
    rng = np.random.default_rng()
    return [" ".join(rng.choice(WORDS, rng.integers(1, longest))) for _ in range(count)]


def open_graph(graph: str = "checked", folder: Path | None = None) -> Engine:
    return open_engine(read_bundle(folder or shared_bundle("checked")), Settings(graph=graph))


@pytest.fixture(scope="module")
def engine() -> Engine:
    return open_graph()


def test_texts_near_a_boundary_are_answered_by_float32_and_no_others(engine: Engine) -> None:
    """Near ones left to int8 change labels with their company; far ones run twice cost the speed for nothing."""
    texts = random_texts(120)
    windows = [parts[0] for parts in engine.tokenize(texts)]
    fast = open_graph("int8").score_windows(windows)
    exact = open_graph("fp32").score_windows(windows)
    near = engine.decision.near_boundary(fast, CHECKED_MARGIN)
    assert 0 < near.sum() < len(near)
    before = engine.run_again
    found = engine.score_windows(windows)
    assert engine.run_again - before == near.sum()
    np.testing.assert_allclose(found[near], exact[near], atol=1e-6)
    np.testing.assert_array_equal(found[~near], fast[~near])
    assert np.abs(found - exact)[~near].max() > 1e-5, "int8 answers something"


def test_labels_and_decisions_are_those_of_float32_in_any_company(engine: Engine) -> None:
    """The promise itself, on fresh texts, with a margin that covers how far this graph is off."""
    texts = random_texts(200, longest=60)
    slow = open_graph("fp32")
    split = slow.tokenize(texts)
    fast = open_graph("int8").score_windows([window for parts in split for window in parts])
    exact_rows = slow.score_windows([window for parts in split for window in parts])
    assert np.abs(log_odds(fast) - log_odds(exact_rows)).max() < CHECKED_MARGIN
    expected = [slow.decision.answer(row) for row in slow.score(texts)]
    for size in (1, 7, 200):
        found = np.concatenate([engine.score(texts[start : start + size]) for start in range(0, len(texts), size)])
        decided = [engine.decision.answer(row) for row in found]
        assert [d["label"] for d in decided] == [d["label"] for d in expected]
        assert [d["decision"] for d in decided] == [d["decision"] for d in expected]


def test_exact_windows_are_scored_in_float32(engine: Engine) -> None:
    """Explanations are differences of scores: int8's error would be most of some of them."""
    texts = random_texts(30)
    windows = [parts[0] for parts in engine.tokenize(texts)]
    found = engine.score_windows(windows, [True] * len(windows))
    np.testing.assert_allclose(found, open_graph("fp32").score_windows(windows), atol=1e-6)


def test_long_texts_under_another_pooling_are_scored_in_float32(tmp_path: Path) -> None:
    """The mean of windows that each keep their side of a boundary can lie on the other side."""
    folder = copy_bundle(shared_bundle("checked"), tmp_path / "bundle")
    change_bundle(folder, {"decision.pooling": "mean"})
    samples = read_bundle(folder).description["samples"]
    change_bundle(folder, {"samples": [s for s in samples if s["text"] != ""]})
    text = " ".join(random_texts(30))
    found, exact = (open_graph(graph, folder).score([text])[0] for graph in ("checked", "fp32"))
    np.testing.assert_allclose(found, exact, atol=1e-6)


@pytest.fixture(scope="module")
def runtime() -> Iterator[Runtime]:
    opened = Runtime(Settings(bundle=(shared_bundle("checked"),), graph="checked"))
    yield opened
    opened.close()


def post(runtime: Runtime, path: str, body: dict[str, object]) -> dict[str, object]:
    async def go() -> httpx.Response:
        transport = httpx.ASGITransport(app=Front(lambda *_: asyncio.sleep(0), lambda: runtime))
        async with httpx.AsyncClient(transport=transport, base_url="http://service") as client:
            return await client.post(path, json=body)

    answer = asyncio.run(go())
    assert answer.status_code == 200
    return dict(answer.json())


def test_answers_over_http_have_float32_labels_and_the_page_is_told(runtime: Runtime) -> None:
    """What holds for the engine has to hold behind the queue too."""
    texts = [*random_texts(100, longest=12), "12345", "😀😡", "أنا أكره", "\u200b", "", "sun and rain " * 400]
    results = post(runtime, "/classify", {"texts": texts})["results"]
    slow = open_graph("fp32")
    expected = [slow.decision.answer(row) for row in slow.score(texts)]
    assert [r["label"] for r in results] == [e["label"] for e in expected]  # type: ignore[index,attr-defined]
    assert [r["decision"] for r in results] == [e["decision"] for e in expected]  # type: ignore[index,attr-defined]
    running = runtime.info["model"]["runtime"]
    assert running["graph"] == "checked"
    assert running["checked"]["margin"] == CHECKED_MARGIN


def test_explanations_are_exact(runtime: Runtime) -> None:
    """Weights have to match the change in the float32 score, whoever else is asking."""
    body = post(runtime, "/explain", {"text": "i hate rain"})
    scores = reference_probabilities(
        shared_bundle("checked"), "fp32", ["i hate rain", "hate rain", "i rain", "i hate "], temperature=1.5
    )[:, 1]
    weights = [word["weight"] for word in body["words"]]  # type: ignore[attr-defined]
    assert weights == pytest.approx(list(scores[0] - scores[1:]), abs=1e-5)


@pytest.mark.parametrize("graph", ["checked", "fp32"])
def test_workers_take_the_graph_that_their_parent_chose(graph: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers that measure for themselves, both at once, come to different graphs and give a text two scores."""
    monkeypatch.setenv("EVENODD_BUNDLE", str(shared_bundle("checked")))
    monkeypatch.setenv(CHOSEN, "{}")
    monkeypatch.setattr("evenodd.classifier.choice.FASTER", 0.0 if graph == "checked" else 1e9)
    check_bundles()
    monkeypatch.setattr(engines, "choose_faster", lambda *_: pytest.fail("measured again"))
    opened = Runtime(read_settings(), chosen_graphs())
    opened.close()
    running = opened.info["model"]["runtime"]
    assert running["graph"] == graph
    assert "measured at start" in running["why"]


def test_a_bundle_without_a_margin_cannot_be_checked() -> None:
    """A margin made up at start would promise what nobody measured."""
    with pytest.raises(ValueError, match=r"graph='checked': no margin was measured .* Export it again"):
        open_graph("checked", shared_bundle("int8"))


@pytest.mark.parametrize(
    "checked",
    [
        {"kind": "int8", "margin": 0, "share": 0.1},
        {"kind": "fp16", "margin": 1.0, "share": 0.1},
        {"margin": 1.0, "share": 0.1},
        {"kind": "int8", "margin": 1.0, "share": 1.5},
        {"kind": "int8", "margin": 1.0},
    ],
)
def test_a_margin_that_cannot_be_used_is_refused(tmp_path: Path, checked: dict[str, object]) -> None:
    """It would serve int8 alone under the name of checked."""
    folder = copy_bundle(shared_bundle("checked"), tmp_path / "bundle")
    change_bundle(folder, {"checked": checked})
    with pytest.raises(ValueError, match="checked="):
        read_bundle(folder)
