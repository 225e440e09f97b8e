"""Routes compatible with other services, so that their clients work: OpenAI's moderations, and `/predict` of Hugging
Face's text-embeddings-inference.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import Any

from .jobs import Scored
from .refusals import Refused
from .runtime import Runtime, Variant


def moderation_texts(body: dict[str, Any]) -> list[Any]:
    """The texts of a request to `/v1/moderations`: `input`, a string, a list of them, or parts of the type `text`.

    Raises:
        Refused: 400, there is no input, or a part is not a text.
    """
    given = body.get("input")
    if isinstance(given, str):
        return [given]
    if not isinstance(given, list) or not given:
        raise Refused(400, "input must be a string or a list of strings", "input")
    return [_part(number, part) for number, part in enumerate(given)]


def moderation_variant(body: dict[str, Any], runtime: Runtime) -> Variant:
    """The variant that `model` names; the default one if it names one of OpenAI's models, as its clients do."""
    named = body.get("model")
    known = isinstance(named, str) and named in runtime.variants
    return runtime.variants[str(named) if known else runtime.default]


def moderation_answer(variant: Variant, scored: Sequence[Scored]) -> dict[str, Any]:
    """OpenAI's answer: a text is flagged if the decision is the positive label; without a positive label no text is.

    Each label is a category; of two labels with a positive one, only that one. `review` and `decision` are additions.
    """
    answer = variant.answer(scored)
    positive = variant.bundle.task.positive
    results = []
    for result in answer["results"]:
        scores = result["probabilities"]
        if positive is not None and len(scores) == 2:
            scores = {positive: scores[positive]}
        results.append(
            {
                "flagged": positive is not None and result["decision"] == positive,
                "categories": {name: result["decision"] == name for name in scores},
                "category_scores": scores,
                "category_applied_input_types": {name: ["text"] for name in scores},
                "decision": result["decision"],
                "review": result["decision"] == "review",
            }
        )
    return {"id": f"modr-{uuid.uuid4().hex}", "model": _name(answer["model"]), "results": results}


def predict_texts(body: dict[str, Any]) -> tuple[list[Any], bool]:
    """The texts of a request to `/predict`, and whether they are a batch: `"text"`, `["text"]` or `[["text"], ...]`.

    Raises:
        Refused: 400, another form, a pair of texts, or `raw_scores`.
    """
    if body.get("raw_scores"):
        raise Refused(400, "raw_scores is not supported: scores are always calibrated probabilities", "raw_scores")
    given = body.get("inputs")
    if isinstance(given, str):
        return [given], False
    if not isinstance(given, list) or not given:
        raise Refused(400, 'inputs must be "text", ["text"] or [["text"], ...]', "inputs")
    batch = isinstance(given[0], list)
    if not batch and len(given) > 1:
        raise Refused(400, 'inputs of two strings are a pair; send several texts as [["text"], ["text"]]', "inputs")
    return [_alone(number, one) for number, one in enumerate(given)] if batch else given, batch


def predict_answer(variant: Variant, scored: Sequence[Scored], batch: bool) -> list[Any]:
    """Labels with scores, the highest first; one such list for each text of a batch."""
    rows = [
        sorted(
            ({"score": p, "label": name} for name, p in result["probabilities"].items()), key=lambda one: -one["score"]
        )
        for result in variant.answer(scored)["results"]
    ]
    return rows if batch else rows[0]


def _part(number: int, part: Any) -> Any:
    if not isinstance(part, dict):
        return part
    if part.get("type") != "text":
        raise Refused(400, f"input[{number}] is not text, and this model accepts only text", "input")
    return part.get("text")


def _alone(number: int, one: Any) -> Any:
    if not isinstance(one, list) or len(one) != 1:
        raise Refused(400, f"inputs[{number}] must be a list of one string: this model does not accept pairs", "inputs")
    return one[0]


def _name(model: dict[str, Any]) -> str:
    return "-".join(str(model[key]) for key in ("name", "variant", "version") if model.get(key))
