"""The queue in front of the graph: merging, taking turns, letting go."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator, Sequence
from types import SimpleNamespace

import numpy as np
import pytest
from prometheus_client import REGISTRY
from serving_bundle import shared_bundle

from evenodd.classifier.bundle import read_bundle
from evenodd.classifier.engine import Engine, open_engine
from serving.admission import Limits, OverloadedError, Rate, TooLargeError
from serving.batcher import Batcher
from serving.metrics import Metrics
from serving.settings import Settings


class GatedEngine(Engine):
    """The real engine, whose graph runs only while the gate is open, and which keeps what each round held."""

    def __init__(self) -> None:
        super().__init__(read_bundle(shared_bundle()), Settings())
        self.gate = threading.Event()
        self.gate.set()
        self.entered = threading.Event()
        self.rounds: list[int] = []
        self.fail = False

    def score_windows(self, windows: Sequence[Sequence[int]], exact: Sequence[bool] = ()) -> np.ndarray:
        self.entered.set()
        self.gate.wait(10)
        self.rounds.append(len(windows))
        if self.fail:
            raise RuntimeError("secret text")
        return super().score_windows(windows, exact)


@pytest.fixture
def stage() -> Iterator[SimpleNamespace]:
    engine = GatedEngine()
    metrics = Metrics("odd", None)
    batcher = Batcher(engine, metrics, limits=Limits(max_tokens=40_000, max_wait=2.0, timeout=60.0))
    batcher.admission.rate = Rate(1000.0)
    engine.rounds.clear()
    yield SimpleNamespace(engine=engine, batcher=batcher)
    engine.gate.set()
    batcher.close()


def value(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(name, {"variant": "odd", **labels}) or 0.0


def generous(stage: SimpleNamespace) -> None:
    """Take whatever comes."""
    stage.batcher.admission.limits = Limits(10**9, 1e9, 1e9)


async def occupy(stage: SimpleNamespace) -> asyncio.Task[object]:
    """Close the gate and put one text before it, so that what follows has to wait."""
    stage.engine.gate.clear()
    stage.engine.entered.clear()
    task = asyncio.ensure_future(stage.batcher.score(["sun"]))
    await asyncio.get_running_loop().run_in_executor(None, stage.engine.entered.wait, 10)
    return task


def test_concurrent_requests_run_together(stage: SimpleNamespace) -> None:
    """Batching that never merges answers correctly, and slowly."""

    async def scenario() -> None:
        first = await occupy(stage)
        others = [asyncio.ensure_future(stage.batcher.score([f"i love {i}"])) for i in range(20)]
        await asyncio.sleep(0)
        stage.engine.gate.set()
        await asyncio.gather(first, *others)

    before = value("evenodd_batch_requests_sum"), value("evenodd_batch_requests_count")
    asyncio.run(scenario())
    assert stage.engine.rounds[0] == 1
    assert stage.engine.rounds[1] == 20
    assert value("evenodd_batch_requests_sum") - before[0] == 21
    assert value("evenodd_batch_requests_count") - before[1] == 2


def test_each_request_gets_its_own_answers(stage: SimpleNamespace) -> None:
    """Answers handed to the wrong request look like answers."""
    reference = open_engine(read_bundle(shared_bundle()), Settings())
    rng = np.random.default_rng()
    requests = [[f"i hate {a} and {b}" for a, b in rng.integers(0, 999, (n, 2))] for n in rng.integers(1, 40, 30)]
    requests[7][0] = "never read this " * 400

    async def scenario() -> list[object]:
        return list(await asyncio.gather(*(stage.batcher.score(texts) for texts in requests)))

    generous(stage)
    for texts, answers in zip(requests, asyncio.run(scenario()), strict=True):
        found = np.array([answer.probabilities for answer in answers])
        np.testing.assert_allclose(found, reference.score(texts), atol=1e-5)
    assert stage.batcher.pending == 0


def test_short_request_does_not_wait_for_a_long_one(stage: SimpleNamespace) -> None:
    """First come, first served would let one text of 10,000 words hold up everybody."""
    order = []

    async def ask(name: str, text: str) -> None:
        await stage.batcher.score([text])
        order.append(name)

    async def scenario() -> None:
        first = await occupy(stage)
        long = asyncio.ensure_future(ask("long", "good day " * 1800))
        await asyncio.sleep(0)
        short = asyncio.ensure_future(ask("short", "good day"))
        await asyncio.sleep(0)
        stage.engine.gate.set()
        await asyncio.gather(first, long, short)

    generous(stage)
    asyncio.run(scenario())
    assert order == ["short", "long"]


def test_full_queue_refuses_at_once_and_takes_again_later(stage: SimpleNamespace) -> None:
    """A queue without an end answers everybody too late."""

    async def scenario() -> None:
        first = await occupy(stage)
        waiting = [stage.batcher.submit(["people " * 900], client=client).future for client in "abc"]
        await asyncio.sleep(0)
        with pytest.raises(OverloadedError, match="queue"):
            stage.batcher.submit(["sun"], client="another")
        stage.engine.gate.set()
        await asyncio.gather(first, *waiting)
        assert len(await stage.batcher.score(["sun"])) == 1

    before = value("evenodd_shed_texts_total", reason="queue")
    asyncio.run(scenario())
    assert value("evenodd_shed_texts_total", reason="queue") == before + 1


def test_one_client_leaves_room_for_others(stage: SimpleNamespace) -> None:
    """Whoever sends most would be the only one who is answered."""
    stage.batcher.admission.rate = Rate(1600.0)

    async def scenario() -> None:
        first = await occupy(stage)
        greedy = [stage.batcher.submit(["people " * 900], client="greedy").future for _ in range(2)]
        with pytest.raises(OverloadedError, match="client"):
            stage.batcher.submit(["people " * 900], client="greedy")
        other = stage.batcher.submit(["sun"], client="other").future
        stage.engine.gate.set()
        await asyncio.gather(first, other, *greedy)

    asyncio.run(scenario())


def test_slow_machine_has_room_for_two_clients(stage: SimpleNamespace) -> None:
    """Where two seconds are a few hundred tokens, one long request filled the queue, and nobody else was answered."""
    stage.batcher.admission.rate = Rate(100.0)

    async def scenario() -> None:
        first = await occupy(stage)
        greedy = [stage.batcher.submit(["people " * 900], client="greedy").future]
        with pytest.raises(OverloadedError, match="client"):
            stage.batcher.submit(["people " * 900], client="greedy")
        others = [stage.batcher.submit(["sun"], client=client).future for client in ("greedy", "other")]
        stage.engine.gate.set()
        await asyncio.gather(first, *others, *greedy)

    asyncio.run(scenario())


def test_small_request_is_taken_beside_a_huge_one(stage: SimpleNamespace) -> None:
    """One huge request would shut out everybody else, who would have been done long before it."""

    async def scenario() -> None:
        stage.engine.gate.clear()
        huge = asyncio.ensure_future(stage.batcher.score(["good day " * 3000]))
        await asyncio.sleep(0)
        assert stage.batcher.pending > 2000
        small = asyncio.ensure_future(stage.batcher.score(["sun"]))
        await asyncio.sleep(0)
        stage.engine.gate.set()
        assert len(await small) == 1
        assert not huge.done()
        await huge

    asyncio.run(scenario())


def test_request_with_too_many_tokens_never_runs(stage: SimpleNamespace) -> None:
    """Texts within every limit on characters can hold four times the tokens that their length suggests."""
    reads: list[int] = []
    tokenize = stage.engine.tokenize
    stage.engine.tokenize = lambda texts: (reads.append(sum(map(len, texts))), tokenize(texts))[1]

    async def scenario() -> None:
        with pytest.raises(TooLargeError, match="40000 tokens"):
            await stage.batcher.score(["!" * 16_000] * 256)
        await stage.batcher.score(["sun"])

    before = value("evenodd_shed_texts_total", reason="size")
    asyncio.run(scenario())
    assert stage.engine.rounds == [1]
    assert sum(reads) < 80_000, "reading stops where the limit is passed"
    assert value("evenodd_shed_texts_total", reason="size") == before + 256
    assert stage.batcher.pending == 0


def test_request_that_the_machine_cannot_answer_in_time_is_refused(stage: SimpleNamespace) -> None:
    """It would run until its deadline, and for nobody."""
    stage.batcher.admission.rate = Rate(10.0)
    with pytest.raises(TooLargeError, match="60 seconds"):
        asyncio.run(stage.batcher.score(["people " * 1000]))
    assert stage.engine.rounds == []


def test_short_text_is_answered_while_a_large_request_is_read(stage: SimpleNamespace) -> None:
    """Tokenised in one go, four megabytes hold up everybody for seconds."""
    generous(stage)

    async def scenario() -> int:
        large = stage.batcher.submit([("a" * 99 + " ") * 160] * 200)
        await stage.batcher.score(["sun"])
        read = len(large.counts)
        large.abandon()
        return read

    assert asyncio.run(scenario()) < 100


def test_given_up_request_is_not_read_on(stage: SimpleNamespace) -> None:
    """Work for a request that had its answer delays those that wait."""
    generous(stage)

    async def scenario() -> None:
        large = stage.batcher.submit([("a" * 99 + " ") * 160] * 200)
        while not large.counts:
            await asyncio.sleep(0.001)
        large.abandon()
        await stage.batcher.score(["sun"])
        await stage.batcher.score(["sun"])
        assert len(large.counts) < 200

    asyncio.run(scenario())
    assert stage.batcher.pending == 0


def test_queue_that_stands_still_shows(stage: SimpleNamespace) -> None:
    """A thread that hangs looks like a service without requests."""

    async def scenario() -> None:
        first = await occupy(stage)
        await asyncio.sleep(0.2)
        assert stage.batcher.still_seconds >= 0.15
        stage.engine.gate.set()
        await first
        assert stage.batcher.still_seconds == 0.0

    asyncio.run(scenario())


def test_cancelled_request_never_runs(stage: SimpleNamespace) -> None:
    """Work for clients that went away delays those that stayed."""

    async def scenario() -> None:
        first = await occupy(stage)
        gone = asyncio.ensure_future(stage.batcher.score(["go away"] * 30))
        await asyncio.sleep(0)
        gone.cancel()
        await asyncio.gather(gone, return_exceptions=True)
        stage.engine.gate.set()
        await first
        await stage.batcher.score(["stay"])

    before = value("evenodd_abandoned_texts_total")
    asyncio.run(scenario())
    assert sum(stage.engine.rounds) == 2
    assert value("evenodd_abandoned_texts_total") == before + 30
    assert stage.batcher.pending == 0


def test_long_text_stops_when_its_client_goes(stage: SimpleNamespace) -> None:
    """A text of many windows is let go between rounds, not only before the first."""

    async def scenario() -> None:
        stage.engine.gate.clear()
        stage.engine.entered.clear()
        task = asyncio.ensure_future(stage.batcher.score(["good day " * 3000]))
        await asyncio.get_running_loop().run_in_executor(None, stage.engine.entered.wait, 10)
        task.cancel()
        await asyncio.wait([task])
        stage.engine.gate.set()
        await stage.batcher.score(["sun"])

    asyncio.run(scenario())
    windows = len(stage.engine.tokenize(["good day " * 3000])[0])
    assert windows > 100
    assert sum(stage.engine.rounds) < windows / 2


def test_failing_graph_is_told_and_the_queue_lives_on(stage: SimpleNamespace, caplog: pytest.LogCaptureFixture) -> None:
    """A thread that dies leaves every later request waiting for ever; and a fault's own words may quote the text."""

    async def scenario() -> None:
        stage.engine.fail = True
        with pytest.raises(RuntimeError, match="graph failed"):
            await asyncio.wait_for(stage.batcher.score(["sun"]), 5)
        stage.engine.fail = False
        assert len(await asyncio.wait_for(stage.batcher.score(["sun"]), 5)) == 1

    asyncio.run(scenario())
    assert "round failed" in caplog.text
    assert "secret" not in caplog.text


def test_closing_finishes_what_was_accepted() -> None:
    """A stop that drops the queue loses answers that were promised."""
    engine = GatedEngine()
    batcher = Batcher(engine, Metrics("odd", None), limits=Limits(10**6, 60.0, 600.0))

    async def scenario() -> None:
        stage = SimpleNamespace(engine=engine, batcher=batcher)
        first = await occupy(stage)
        second = asyncio.ensure_future(batcher.score(["rain", "sun"]))
        await asyncio.sleep(0)
        closing = asyncio.get_running_loop().run_in_executor(None, batcher.close)
        engine.gate.set()
        await closing
        assert len(await second) == 2
        await first
        with pytest.raises(OverloadedError):
            await batcher.score(["late"])

    asyncio.run(scenario())


def test_those_just_answered_join_the_next_round(stage: SimpleNamespace) -> None:
    """Clients that ask again at once, half of them during a round, would be served in halves for ever."""

    async def client(rounds: int) -> None:
        for _ in range(rounds):
            await stage.batcher.score(["sun"])

    async def scenario() -> None:
        first = await occupy(stage)
        clients = [asyncio.ensure_future(client(20)) for _ in range(8)]
        await asyncio.sleep(0.05)
        stage.engine.gate.set()
        await asyncio.gather(first, *clients)

    asyncio.run(scenario())
    followed = stage.engine.rounds[1:]
    assert sum(followed) == 160
    assert sum(size >= 7 for size in followed) >= 0.7 * len(followed)


def test_nobody_waits_for_clients_that_do_not_ask_again(stage: SimpleNamespace) -> None:
    """A request that comes in after a round of others must not stand still until they return."""

    async def scenario() -> float:
        await asyncio.gather(*(stage.batcher.score(["sun"]) for _ in range(8)))
        started = time.perf_counter()
        await stage.batcher.score(["sun"])
        return time.perf_counter() - started

    assert asyncio.run(scenario()) < 0.2
