"""The HTTP surface, as an ASGI application in this process."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import sqlite3
import threading
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from postgres_server import postgres_server
from prometheus_client import REGISTRY
from serving_bundle import reference_probabilities, shared_bundle

from serving.access import Gate
from serving.corrections import StoreFullError, open_store
from serving.front import HANDED_ON, Front, known_paths
from serving.page import StaticFile, read_files
from serving.review import main as review_main
from serving.review import open_for_review, write_rows
from serving.runtime import Runtime
from serving.settings import Settings

CANARY = "zebracanary"


class Behind:
    """Stands for BentoML's application."""

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 299, "headers": []})
        await send({"type": "http.response.body", "body": scope["path"].encode()})


def application(runtime: Runtime, page: dict[str, StaticFile] | None = None) -> Gate:
    """What a worker serves, in this process."""
    front = Front(Behind(), lambda: runtime, page)
    return Gate(front, runtime.settings, known_paths() | set(page or {}))


@pytest.fixture(scope="module")
def runtime() -> Iterator[Runtime]:
    settings = Settings(
        bundle=(shared_bundle(), shared_bundle("even")), max_chars=60_000, max_body=200_000, explain_tokens=2000
    )
    opened = Runtime(settings)
    yield opened
    opened.close()


def call(runtime: Runtime, method: str, path: str, **options: Any) -> httpx.Response:
    async def go() -> httpx.Response:
        transport = httpx.ASGITransport(app=application(runtime))
        async with httpx.AsyncClient(transport=transport, base_url="http://service") as client:
            return await client.request(method, path, **options)

    return asyncio.run(go())


def classify(runtime: Runtime, texts: Any, **more: Any) -> httpx.Response:
    return call(runtime, "POST", "/classify", json={"texts": texts, **more})


def test_answer_has_the_promised_shape(runtime: Runtime) -> None:
    """Clients read these names."""
    answer = classify(runtime, ["i hate you", "sun and rain"])
    assert answer.status_code == 200
    body = answer.json()
    assert body["model"] == {"name": "hate-speech", "variant": "odd", "version": "3", "run_id": "0" * 32}
    assert len(body["results"]) == 2
    for result in body["results"]:
        assert set(result) == {"label", "decision", "score", "probabilities", "truncated", "windows"}
        assert result["truncated"] is False
        assert result["label"] == max(result["probabilities"], key=result["probabilities"].get)
        assert result["score"] == result["probabilities"]["hate"]
        assert sum(result["probabilities"].values()) == pytest.approx(1)


def test_texts_of_every_kind_are_classified_as_the_graph_says(runtime: Runtime) -> None:
    """Digits read as numbers, characters of two code units, nothing left after cleaning: each has broken a service."""
    texts = ["12345", "😀😡", "أنا أكره", "\u200b", "", "   \n", "i hate you", "\u202eabc", "a" * 50_000, "\x00"]
    results = classify(runtime, texts).json()["results"]
    expected = reference_probabilities(shared_bundle(), "fp32", texts, temperature=1.5)
    found = np.array([[result["probabilities"][name] for name in ("noHate", "hate")] for result in results])
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_text_of_ten_thousand_words_is_read_whole(runtime: Runtime) -> None:
    """Cut at the model's length, the last words would not count."""
    [result] = classify(runtime, ["good day " * 5000]).json()["results"]
    assert result["windows"] > 400
    assert result["truncated"] is False


def test_up_to_256_texts_and_not_one_more(runtime: Runtime) -> None:
    """The limit is part of the contract."""
    assert len(classify(runtime, ["sun"] * 256).json()["results"]) == 256
    refused = classify(runtime, ["sun"] * 257)
    assert (refused.status_code, refused.json()["field"]) == (413, "texts")
    assert "256" in refused.json()["error"]


def test_variant_is_chosen_by_name(runtime: Runtime) -> None:
    """A name that is ignored compares a model with itself."""
    default, odd, even = (
        classify(runtime, ["i hate you"], **more).json() for more in ({}, {"variant": "odd"}, {"variant": "even"})
    )
    assert default == odd
    assert even["model"]["variant"] == "even"
    assert even["results"][0]["score"] != odd["results"][0]["score"]


BAD = [
    ({}, 400, "texts"),
    ({"texts": []}, 400, "texts"),
    ({"texts": "i hate you"}, 400, "texts"),
    ({"texts": ["ok", CANARY, 3]}, 400, "texts[2]"),
    ({"texts": [None]}, 400, "texts[0]"),
    ({"texts": ["ok", CANARY * 10_000]}, 413, "texts[1]"),
    ({"texts": [CANARY + "\ud800"]}, 400, "texts[0]"),
    ({"texts": [CANARY], "variant": CANARY}, 400, "variant"),
    ({"texts": [CANARY], "variant": 3}, 400, "variant"),
    ([CANARY], 400, "body"),
    (CANARY, 400, "body"),
]


@pytest.mark.parametrize(
    ("body", "status", "field"), BAD, ids=[f"{status} {field} {i}" for i, (_, status, field) in enumerate(BAD)]
)
def test_bad_input_is_refused_by_field_and_never_quoted(
    runtime: Runtime, caplog: pytest.LogCaptureFixture, body: Any, status: int, field: str
) -> None:
    """A reason that quotes the text carries it into logs and dashboards."""
    content = json.dumps(body).encode()
    answer = call(runtime, "POST", "/classify", content=content, headers={"content-type": "application/json"})
    assert answer.status_code == status
    assert answer.json()["field"] == field
    assert answer.json()["error"]
    assert CANARY not in answer.text
    assert CANARY not in caplog.text


@pytest.mark.parametrize("content", [b"", b"{", b'{"texts": ["\xff"]}', b"[" * 100_000, b'{"texts": [NaN]}'])
def test_broken_json_is_a_400(runtime: Runtime, content: bytes) -> None:
    """Deep nesting and wrong bytes raise other exceptions than a missing brace."""
    answer = call(runtime, "POST", "/classify", content=content, headers={"content-type": "application/json"})
    assert answer.status_code == 400
    assert answer.json()["field"] in ("body", "texts[0]")


def test_body_over_the_limit_is_refused(runtime: Runtime) -> None:
    """With and without a declared length: a chunked body declares none."""

    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(300):
            yield b" " * 1000

    headers = {"content-type": "application/json"}
    for content in (b" " * 300_000, chunks()):
        answer = call(runtime, "POST", "/classify", content=content, headers=headers)
        assert (answer.status_code, answer.json()["field"]) == (413, "body")
        assert answer.headers["connection"] == "close"


def test_only_json_is_taken(runtime: Runtime) -> None:
    """A form or plain text can be sent from any web page without asking; JSON cannot."""
    answer = call(runtime, "POST", "/classify", content=b'{"texts": ["sun"]}', headers={"content-type": "text/plain"})
    assert answer.status_code == 415


def test_wrong_method_names_the_right_one(runtime: Runtime) -> None:
    """A 404 would send people looking for the path."""
    answer = call(runtime, "GET", "/classify")
    assert (answer.status_code, answer.headers["allow"]) == (405, "POST")


def test_other_paths_are_handed_on(runtime: Runtime) -> None:
    """Health, metrics and the API's description are BentoML's."""
    for path in HANDED_ON:
        answer = call(runtime, "GET", path)
        assert (answer.status_code, answer.text) == (299, path)


def test_unknown_path_goes_nowhere(runtime: Runtime) -> None:
    """BentoML keeps each path as a label of its metrics: on disk, in memory, and for all who read them."""
    for number in range(100):
        answer = call(runtime, "GET", f"/{CANARY}{number}" + "x" * number)
        assert (answer.status_code, answer.json()["field"]) == (404, "path")
    assert call(runtime, "POST", "/classify/", json={"texts": [CANARY]}).status_code == 404
    assert call(runtime, "GET", f"/info?{CANARY}").status_code == 200
    assert call(runtime, "GET", f"/card?variant={CANARY}").status_code == 400
    shown = call(runtime, "GET", "/metrics").text
    assert CANARY not in shown
    assert 'evenodd_answers_total{path="other",status="404"}' in shown


def test_metrics_hold_nothing_that_a_client_sent(runtime: Runtime) -> None:
    """Methods, headers and fields would make a new label each, as paths did."""

    def labels(word: str) -> set[str]:
        headers = {"user-agent": word, "x-request-id": word, "content-type": word}
        call(runtime, "PATCH", "/classify", headers=headers)
        call(runtime, "POST", "/classify", headers=headers, content=word.encode())
        call(runtime, "POST", "/classify", json={word: word, "texts": [word], "variant": word})
        shown = call(runtime, "GET", "/metrics").text
        assert word not in shown
        return set(re.findall(r"\{.*?\}", shown))

    labels("zebra")
    assert labels(CANARY) == labels("another" + CANARY)


def test_weights_are_changes_in_score(runtime: Runtime) -> None:
    """Weights computed on other texts, or in another order, colour the wrong words."""
    text = "I hate  rain,\nnot people 東京"
    body = call(runtime, "POST", "/explain", json={"text": text}).json()
    assert [word["word"] for word in body["words"]] == ["I", "hate", "rain,", "not", "people", "東", "京"]
    without = ["hate  rain,\nnot people 東京", "I rain,\nnot people 東京", "I hate  not people 東京"]
    scores = reference_probabilities(shared_bundle(), "fp32", [text, *without], temperature=1.5)[:, 1]
    assert body["score"] == pytest.approx(scores[0], abs=1e-5)
    assert [word["weight"] for word in body["words"][:3]] == pytest.approx(list(scores[0] - scores[1:]), abs=1e-5)
    assert all(text[word["start"] : word["end"]] == word["word"] for word in body["words"])


@pytest.mark.parametrize(("text", "status"), [("", 400), ("  ", 400), ("word " * 700, 413), (7, 400)])
def test_unexplainable_text_is_refused(runtime: Runtime, text: Any, status: int) -> None:
    """There is nothing to leave out, or leaving it out costs more than a request may."""
    answer = call(runtime, "POST", "/explain", json={"text": text})
    assert (answer.status_code, answer.json()["field"]) == (status, "text")


def test_info_tells_what_runs_and_where_it_came_from(runtime: Runtime) -> None:
    """What an auditor asks for: lineage, digests, decision settings and the provider in use."""
    info = call(runtime, "GET", "/info").json()
    assert [variant["variant"] for variant in info["variants"]] == ["odd", "even"]
    assert info["model"] == info["variants"][0]
    model = info["model"]
    assert model["layer_map"] == [1, 3, 5]
    assert model["decision"]["review"] == [0.4, 0.6]
    assert model["runtime"]["provider"] == "cpu"
    assert model["runtime"]["sha256"] == model["digests"]["model.onnx"]
    assert info["corrections"] is False
    assert info["limits"]["texts"] == 256
    assert "samples" not in model


def test_card_of_each_variant(runtime: Runtime) -> None:
    """The page links to it."""
    assert call(runtime, "GET", "/card").text.startswith("# odd")
    assert call(runtime, "GET", "/card?variant=even").text.startswith("# even")
    assert call(runtime, "GET", "/card?variant=%6Fdd").text.startswith("# odd")
    assert call(runtime, "GET", "/card?variant=none").status_code == 400


def test_page_lets_nothing_in_from_outside(runtime: Runtime, tmp_path: Path) -> None:
    """Without the policy one injected script reads every text that is typed."""
    (tmp_path / "index.html").write_text("<h1>page</h1>")
    (tmp_path / "app.js").write_text("1")
    (tmp_path / "secret.py").write_text("1")
    files = read_files(tmp_path)
    assert set(files) == {"/", "/app.js"}

    async def get(path: str, **headers: str) -> httpx.Response:
        transport = httpx.ASGITransport(app=application(runtime, files))
        async with httpx.AsyncClient(transport=transport, base_url="http://service") as client:
            return await client.get(path, headers=headers)

    page = asyncio.run(get("/"))
    assert (page.status_code, page.text) == (200, "<h1>page</h1>")
    policy = page.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert asyncio.run(get("/app.js")).headers["content-type"].startswith("text/javascript")
    again = asyncio.run(get("/", **{"if-none-match": page.headers["etag"]}))
    assert (again.status_code, again.content) == (304, b"")
    assert asyncio.run(get("/secret.py")).status_code == 404


def test_the_reference_comes_from_here_alone(runtime: Runtime) -> None:
    """Swagger UI from another host's server sees every text that is tried, and is missing where there is no network."""
    page = call(runtime, "GET", "/docs")
    assert page.status_code == 200
    assert page.headers["content-security-policy"].startswith("default-src 'none'")
    assert "//" not in page.text.replace("<!--", "")
    linked = re.findall(r'(?:src|href)="([^"]+)"', page.text)
    assert {"docs/swagger-ui-bundle.js", "docs/swagger-ui.css", "docs/start.js", "docs.json"} <= set(linked)
    for path in linked:
        if path != "docs.json":
            assert call(runtime, "GET", f"/{path}").status_code == 200, path
    assert call(runtime, "POST", "/docs").status_code == 405


def test_answers_of_bentoml_are_counted_too() -> None:
    """A /readyz that says 503 to a balancer and nothing to whoever looks at the metrics."""

    async def away(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 503, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    async def scenario() -> int:
        front = Front(away, lambda: pytest.fail("asked for"))
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app=front), base_url="http://service") as client:
            return (await client.get("/readyz")).status_code

    names = {"path": "/readyz", "status": "503"}
    before = REGISTRY.get_sample_value("evenodd_answers_total", names) or 0
    assert asyncio.run(scenario()) == 503
    assert REGISTRY.get_sample_value("evenodd_answers_total", names) == before + 1


def test_shipped_page_is_whole() -> None:
    """A file with a suffix that is not served would be missing in the browser only."""
    folder = Path(__file__).parents[2] / "serving" / "page"
    names = {path.name for path in folder.iterdir() if path.is_file()}
    served = {"index.html" if path == "/" else path[1:] for path in read_files()}
    assert "index.html" in names
    assert served == names
    assert all(isinstance(file, StaticFile) for file in read_files().values())


def test_corrections_are_refused_unless_enabled(runtime: Runtime) -> None:
    """Nobody agreed to what they typed being kept."""
    answer = call(runtime, "POST", "/corrections", json={"text": CANARY, "label": "hate"})
    assert answer.status_code == 403
    assert "EVENODD_CORRECTIONS" in answer.json()["error"]


@pytest.fixture
def keeping(tmp_path: Path) -> Iterator[Runtime]:
    opened = Runtime(
        Settings(bundle=(shared_bundle(),), corrections=f"sqlite:///{tmp_path / 'c.db'}", max_corrections=2)
    )
    yield opened
    opened.close()


def correct(runtime: Runtime, text: str, **more: Any) -> httpx.Response:
    return call(runtime, "POST", "/corrections", json={"text": text, "label": "hate", **more})


def test_corrections_stand_beside_what_the_model_said(keeping: Runtime, tmp_path: Path) -> None:
    """Who can say what the model answered can make any row look like a fault of it."""
    said = {"predicted": CANARY, "score": 7, "comment": "irony", "variant": "odd"}
    assert correct(keeping, "i hate “you”", **said).json() == {"stored": True}
    [row] = open_for_review(str(tmp_path / "c.db")).rows()
    [answer] = classify(keeping, ["i hate “you”"]).json()["results"]
    assert (row["text"], row["label_text"], row["comment"]) == ("i hate “you”", "hate", "irony")
    assert (row["predicted"], row["decision"]) == (answer["label"], answer["decision"])
    assert row["score"] == pytest.approx(answer["score"])
    assert (row["version"], row["variant"], row["state"]) == ("3", "odd", "new")
    assert row["client"] == "127.0.0.1"
    assert row["created"]


def test_only_accepted_corrections_become_training_rows(
    keeping: Runtime, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """One wrong correction, taken as it comes, removes a good row by the rule on conflicts."""
    place, file = str(tmp_path / "c.db"), tmp_path / "rows.jsonl"
    assert [correct(keeping, text).status_code for text in ("sun", "rain", "full")] == [201, 201, 507]

    def run(*arguments: str) -> str:
        monkeypatch.setattr("sys.argv", ["review", place, *arguments])
        review_main()
        return capsys.readouterr().out

    assert [json.loads(line)["text"] for line in run("list").splitlines()] == ["sun", "rain"]
    run("accept", "2")
    run("refuse", "1")
    run("export", str(file))
    [row] = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    assert (row["text"], row["label_text"], row["state"]) == ("rain", "hate", "accepted")
    with pytest.raises(SystemExit, match="number=1"):
        run("accept", "1")
    assert correct(keeping, "room again").status_code == 201


def test_one_client_cannot_fill_the_store(tmp_path: Path) -> None:
    """Its rows would be the only ones, and everybody else's are refused."""
    store = open_store(str(tmp_path / "c.db"), 100, 2)
    assert store is not None
    row = {"text": "sun", "label_text": "hate"}
    for client in ("a", "a", "b"):
        store.add({**row, "client": client})
    with pytest.raises(StoreFullError, match="client"):
        store.add({**row, "client": "a"})
    store.add({**row, "client": "b"})
    assert len(store.rows()) == 4


def test_older_store_is_taken_over(tmp_path: Path) -> None:
    """A table without the newer columns would refuse every row from the update on."""
    with contextlib.closing(sqlite3.connect(tmp_path / "c.db")) as connection:
        connection.execute(
            "CREATE TABLE corrections (id INTEGER PRIMARY KEY, created TEXT, text TEXT, label_text TEXT)"
        )
        connection.execute("INSERT INTO corrections (text, label_text) VALUES ('old', 'hate')")
        connection.commit()
    store = open_store(str(tmp_path / "c.db"), 2, 2)
    assert store is not None
    store.add({"text": "new", "label_text": "hate", "client": "a"})
    assert [(row["text"], row["state"]) for row in store.rows()] == [("old", "new"), ("new", "new")]
    with pytest.raises(StoreFullError):
        store.add({"text": "more", "label_text": "hate", "client": "b"})


def test_locked_store_delays_nothing_else(keeping: Runtime, tmp_path: Path) -> None:
    """Corrections that wait for a lock stood in the way of everything."""

    async def scenario() -> tuple[list[int], float]:
        transport = httpx.ASGITransport(app=application(keeping))
        async with httpx.AsyncClient(transport=transport, base_url="http://service", timeout=30) as client:
            body = {"text": "sun", "label": "hate"}
            waiting = [asyncio.ensure_future(client.post("/corrections", json=body)) for _ in range(20)]
            await asyncio.sleep(0.3)
            started = time.perf_counter()
            assert (await client.post("/classify", json={"texts": ["sun"]})).status_code == 200
            seconds = time.perf_counter() - started
            connection.rollback()
            return [answer.status_code for answer in await asyncio.gather(*waiting)], seconds

    with contextlib.closing(sqlite3.connect(tmp_path / "c.db")) as connection:
        connection.execute("BEGIN EXCLUSIVE")
        statuses, seconds = asyncio.run(scenario())
    assert seconds < 1
    assert statuses.count(503) >= 12
    assert set(statuses) <= {201, 503, 507}


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"label": "review"}, "label"),
        ({"text": 3}, "text"),
        ({"comment": "x" * 3000}, "comment"),
    ],
)
def test_wrong_correction_is_refused_by_field(keeping: Runtime, change: dict[str, Any], field: str) -> None:
    """A label that the model does not know cannot be trained on."""
    answer = call(keeping, "POST", "/corrections", json={"text": "sun", "label": "hate", **change})
    assert (answer.status_code, answer.json()["field"]) == (400, field)


def test_lost_store_is_a_503_without_the_text(
    keeping: Runtime, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A database fault often quotes the row that it could not take."""
    with sqlite3.connect(tmp_path / "c.db") as connection:
        connection.execute("DROP TABLE corrections")
        connection.commit()
    answer = call(keeping, "POST", "/corrections", json={"text": CANARY, "label": "hate"})
    assert answer.status_code == 503
    assert CANARY not in caplog.text + answer.text


@pytest.mark.parametrize("place", ["mysql://host/db", "/no/such/folder/c.db"])
def test_store_that_cannot_be_opened_stops_the_start(place: str) -> None:
    """Found on the first correction, it would be lost."""
    with pytest.raises((ValueError, RuntimeError), match="EVENODD_CORRECTIONS"):
        open_store(place, 10, 10)


def test_database_that_is_away_prevents_no_start(tmp_path: Path) -> None:
    """Corrections would decide whether texts are classified."""
    pytest.importorskip("psycopg", reason="psycopg is not installed: pip install 'psycopg[binary]'")
    opened = Runtime(Settings(bundle=(shared_bundle(),), corrections="postgresql://127.0.0.1:1/none"))
    try:
        assert classify(opened, ["sun"]).status_code == 200
        assert correct(opened, "sun").status_code == 503
    finally:
        opened.close()


@pytest.mark.postgres
@pytest.mark.slow
def test_corrections_go_to_postgresql_and_come_back(tmp_path: Path) -> None:
    """Places for values are written otherwise there, numbers come back in other types, and a server can stop."""
    pytest.importorskip("psycopg", reason="psycopg is not installed: pip install 'psycopg[binary]'")
    with postgres_server() as folder:
        place = f"postgresql://evenodd@/postgres?host={folder}"
        opened = Runtime(Settings(bundle=(shared_bundle(),), corrections=place, max_corrections=2))
        text = "i hate “you”, it's 100 % 😀 '); DROP TABLE corrections; --"
        body = {"text": text, "label": "hate"}
        statuses = [call(opened, "POST", "/corrections", json=body).status_code for _ in range(3)]
        assert statuses == [201, 201, 507]
        store = open_for_review(place)
        assert store.review(1, "accepted")
        assert store.review(2, "accepted")
        assert write_rows(store, tmp_path / "rows.jsonl") == 2
        assert len(store.rows()) == 2
    row = json.loads((tmp_path / "rows.jsonl").read_text(encoding="utf-8").splitlines()[0])
    assert (row["text"], row["label_text"], row["variant"]) == (text, "hate", "odd")
    try:
        answer = call(opened, "POST", "/corrections", json=body)
    finally:
        opened.close()
    assert answer.status_code == 503, "the server has gone"


def test_client_that_goes_away_is_let_go(runtime: Runtime, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its texts would run for nobody."""
    monkeypatch.setattr("serving.front.WATCH_AFTER_SECONDS", 0.01)
    gone = asyncio.Event()
    sent: list[Any] = []

    async def scenario() -> None:
        body = json.dumps({"texts": ["good day " * 6000] * 3}).encode()
        messages = iter([{"type": "http.request", "body": body, "more_body": False}])

        async def receive() -> Any:
            message = next(messages, None)
            if message is not None:
                return message
            await gone.wait()
            return {"type": "http.disconnect"}

        async def send(message: Any) -> None:
            sent.append(message)

        headers = [(b"content-type", b"application/json")]
        scope = {"type": "http", "method": "POST", "path": "/classify", "headers": headers, "query_string": b""}
        asyncio.get_running_loop().call_later(0.03, gone.set)
        await asyncio.wait_for(application(runtime)(scope, receive, send), 5)

    asyncio.run(scenario())
    assert sent[0]["status"] == 499
    [answer] = classify(runtime, ["sun"]).json()["results"]
    assert answer["windows"] == 1
    assert runtime.variants["odd"].batcher.pending == 0


def test_answer_that_takes_too_long_is_a_503(monkeypatch: pytest.MonkeyPatch) -> None:
    """A client would wait for ever."""
    slow = Runtime(Settings(bundle=(shared_bundle(),), timeout=0.5))
    engine, let_go = slow.variants[slow.default].engine, threading.Event()
    scores = engine.score_windows

    def wait_and_score(*arguments: Any) -> np.ndarray:
        let_go.wait(20)
        return scores(*arguments)

    monkeypatch.setattr(engine, "score_windows", wait_and_score)
    try:
        answer = classify(slow, ["good day"])
        assert answer.status_code == 503
        assert "retry-after" in answer.headers
    finally:
        let_go.set()
        slow.close()


def test_long_text_is_explained_by_sentences_or_passages(runtime: Runtime) -> None:
    """By words, 250 of them cost 250 runs of 250 words, and words that fall into many tokens still more."""
    words = call(runtime, "POST", "/explain", json={"text": "I hate you."}).json()
    assert words["by"] == "word"
    text = "I hate people. " * 12 + "The sun is good! "
    sentences = call(runtime, "POST", "/explain", json={"text": text}).json()
    assert sentences["by"] == "sentence"
    assert [part["word"] for part in sentences["words"]][-1] == "The sun is good!"
    assert len(sentences["words"]) == 13
    for long in ("good day " * 100, "東" * 200, "! " * 200):
        passages = call(runtime, "POST", "/explain", json={"text": long}).json()
        assert passages["by"] == "passage"
        assert 2 <= len(passages["words"]) < 20
        assert "".join(part["word"] for part in passages["words"]).replace(" ", "") == long.replace(" ", "")
        assert all(long[part["start"] : part["end"]] == part["word"] for part in passages["words"])


def test_overload_is_answered_at_once_with_when_to_come_back() -> None:
    """Waiting in line for an answer that comes too late helps nobody."""
    small = Runtime(Settings(bundle=(shared_bundle(),), max_wait=0.01))

    async def scenario() -> list[httpx.Response]:
        transport = httpx.ASGITransport(app=application(small))
        async with httpx.AsyncClient(transport=transport, base_url="http://service") as client:
            body = {"texts": ["good day " * 3000]}
            return await asyncio.gather(*(client.post("/classify", json=body) for _ in range(10)))

    try:
        answers = asyncio.run(scenario())
        shown = call(small, "GET", "/metrics").text
    finally:
        small.close()
    statuses = sorted(answer.status_code for answer in answers)
    assert statuses[0] == 200
    assert statuses[-1] == 429
    assert all(int(answer.headers["retry-after"]) >= 1 for answer in answers if answer.status_code == 429)
    refused = re.findall(r'evenodd_refused_requests_total\{path="/classify",reason="(?:client|queue)"\} (\S+)', shown)
    assert sum(map(float, refused)) >= statuses.count(429)


def test_requests_count_once_they_are_read() -> None:
    """Half a request on each of a thousand idle connections would turn everybody away."""
    opened = Runtime(Settings(bundle=(shared_bundle(),)))
    app = application(opened)

    async def scenario() -> int:
        async def never() -> Any:
            await asyncio.Event().wait()

        async def nowhere(message: Any) -> None:
            pass

        headers = [(b"content-type", b"application/json"), (b"content-length", b"4000000")]
        scope = {"type": "http", "method": "POST", "path": "/classify", "headers": headers, "query_string": b""}
        idle = [asyncio.ensure_future(app({**scope}, never, nowhere)) for _ in range(3000)]
        await asyncio.sleep(0)
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://service") as client:
            status = (await client.post("/classify", json={"texts": ["sun"]})).status_code
        for task in idle:
            task.cancel()
        await asyncio.gather(*idle, return_exceptions=True)
        return status

    try:
        assert asyncio.run(scenario()) == 200
    finally:
        opened.close()


async def _send_slowly(app: Gate, chunks: AsyncIterator[bytes]) -> int:
    """The status that answers a body of which more always follows."""
    found: list[int] = []

    async def receive() -> Any:
        return {"type": "http.request", "body": await anext(chunks), "more_body": True}

    async def send(message: Any) -> None:
        found.append(message.get("status", 0))

    headers = [(b"content-type", b"application/json")]
    scope = {"type": "http", "method": "POST", "path": "/classify", "headers": headers, "query_string": b""}
    await asyncio.wait_for(app(scope, receive, send), 10)
    return found[0]


def test_body_that_never_ends_is_given_up(runtime: Runtime, monkeypatch: pytest.MonkeyPatch) -> None:
    """A byte a second holds a request, and what was sent of it, for weeks."""
    monkeypatch.setattr("serving.bodies.GRACE_SECONDS", 0.2)

    async def drops() -> AsyncIterator[bytes]:
        while True:
            await asyncio.sleep(0.02)
            yield b" " * 10

    assert asyncio.run(_send_slowly(application(runtime), drops())) == 408
    assert runtime.bodies.held == 0


def test_bodies_share_a_budget_of_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each within the limit, four hundred of them hold more than the machine has; small ones still get in."""
    opened = Runtime(Settings(bundle=(shared_bundle(),), max_held=400_000))
    monkeypatch.setattr("serving.bodies.GRACE_SECONDS", 1.0)

    async def half(size: int) -> AsyncIterator[bytes]:
        yield b" " * size
        await asyncio.Event().wait()

    async def scenario() -> tuple[list[int], int, int]:
        app = application(opened)
        sent = [asyncio.ensure_future(_send_slowly(app, half(60_000))) for _ in range(10)]
        await asyncio.sleep(0.2)
        held = opened.bodies.held
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://service") as client:
            small = (await client.post("/classify", json={"texts": ["sun"]})).status_code
        return list(await asyncio.gather(*sent)), held, small

    try:
        statuses, held, small = asyncio.run(scenario())
    finally:
        opened.close()
    assert sorted(statuses) == [408] * 3 + [503] * 7
    assert held == 180_000
    assert small == 200
    assert opened.bodies.held == 0
