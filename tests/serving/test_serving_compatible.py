"""Routes in the shapes of other services: what their clients send and read."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from serving_bundle import shared_bundle
from test_serving_http import call, classify

from serving.runtime import Runtime
from serving.settings import Settings

TEXTS = ["i hate you", "sun and rain"]


@pytest.fixture(scope="module")
def runtime() -> Iterator[Runtime]:
    opened = Runtime(Settings(bundle=(shared_bundle(), shared_bundle("even")), max_chars=1000, max_texts=8))
    yield opened
    opened.close()


def moderate(runtime: Runtime, given: Any, **more: Any) -> httpx.Response:
    return call(runtime, "POST", "/v1/moderations", json={"input": given, **more})


def predict(runtime: Runtime, given: Any, **more: Any) -> httpx.Response:
    return call(runtime, "POST", "/predict", json={"inputs": given, **more})


def test_moderations_say_what_classify_says(runtime: Runtime) -> None:
    """A client of OpenAI's reads id, model and results with these four fields, and sends a model's name of theirs."""
    plain = classify(runtime, TEXTS).json()["results"]
    body = moderate(runtime, TEXTS, model="omni-moderation-latest").json()
    assert body["id"].startswith("modr-")
    assert body["model"] == "hate-speech-odd-3"
    for found, expected in zip(body["results"], plain, strict=True):
        assert found["flagged"] is (expected["decision"] == "hate")
        assert found["categories"] == {"hate": found["flagged"]}
        assert found["category_scores"] == {"hate": expected["score"]}
        assert found["category_applied_input_types"] == {"hate": ["text"]}
        assert found["review"] is (expected["decision"] == "review")


def test_moderations_take_a_string_and_parts(runtime: Runtime) -> None:
    """The three forms of OpenAI's `input`; a picture is refused and not overlooked."""
    one = moderate(runtime, TEXTS[0]).json()["results"]
    assert one == moderate(runtime, [{"type": "text", "text": TEXTS[0]}]).json()["results"]
    refused = moderate(runtime, [{"type": "image_url", "image_url": {"url": "data:"}}])
    assert (refused.status_code, refused.json()["field"]) == (400, "input")


def test_model_may_name_a_variant(runtime: Runtime) -> None:
    """Several variants are served side by side."""
    assert moderate(runtime, TEXTS, model="even").json()["model"] == "hate-speech-even-3"


def test_without_a_positive_label_every_label_is_a_category() -> None:
    """Nothing says which of three labels is the bad one."""
    opened = Runtime(Settings(bundle=(shared_bundle("multiclass"),)))
    [result] = moderate(opened, "i hate you").json()["results"]
    assert set(result["categories"]) == set(result["category_scores"]) == {"calm", "rude", "cruel"}
    assert result["flagged"] is False
    opened.close()


def test_predict_gives_labels_best_first(runtime: Runtime) -> None:
    """One text gives a list, a batch a list of lists, as text-embeddings-inference does."""
    plain = [result["probabilities"] for result in classify(runtime, TEXTS).json()["results"]]
    batch = predict(runtime, [[text] for text in TEXTS], truncate=True, raw_scores=False).json()
    assert [{one["label"]: one["score"] for one in row} for row in batch] == plain
    assert all(row[0]["score"] >= row[1]["score"] for row in batch)
    assert predict(runtime, TEXTS[0]).json() == predict(runtime, [TEXTS[0]]).json()
    assert predict(runtime, TEXTS[0]).json()[0].keys() == {"score", "label"}


BAD = [
    ("/v1/moderations", {}, 400, "input"),
    ("/v1/moderations", {"input": []}, 400, "input"),
    ("/v1/moderations", {"input": [1]}, 400, "input[0]"),
    ("/v1/moderations", {"input": ["sun"] * 9}, 413, "input"),
    ("/v1/moderations", {"input": "a" * 1001}, 413, "input[0]"),
    ("/predict", {}, 400, "inputs"),
    ("/predict", {"inputs": ["a", "b"]}, 400, "inputs"),
    ("/predict", {"inputs": [["a", "b"]]}, 400, "inputs"),
    ("/predict", {"inputs": [["a"], "b"]}, 400, "inputs"),
    ("/predict", {"inputs": "a", "raw_scores": True}, 400, "raw_scores"),
    ("/predict", {"inputs": [["sun"]] * 9}, 413, "inputs"),
]


@pytest.mark.parametrize(("path", "body", "status", "field"), BAD)
def test_limits_and_reasons_are_those_of_classify(
    runtime: Runtime, path: str, body: dict[str, Any], status: int, field: str
) -> None:
    """A second way in must not be a way around the limits."""
    refused = call(runtime, "POST", path, json=body)
    assert (refused.status_code, refused.json()["field"]) == (status, field)
