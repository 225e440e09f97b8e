"""`/docs.json`: BentoML's specification of the API methods, and the paths that it does not know."""

from __future__ import annotations

from typing import Any

API_VERSION = "1"
REASON = {
    "type": "object",
    "required": ["error", "field"],
    "properties": {"error": {"type": "string"}, "field": {"type": "string", "nullable": True}},
}
REFUSALS = {
    "400": "Bad input; `field` names it.",
    "401": "An API key is needed.",
    "403": "The API key is not valid for this path.",
    "408": "The body arrived too slowly.",
    "413": "The body, a text, the number of texts or their tokens exceed a limit shown in `/info`.",
    "415": "The body is not `application/json`.",
    "421": "The host name is not one of the service's.",
    "429": "It would not be answered in time, or the client exceeds its rate; see `Retry-After`.",
    "503": "No answer within the timeout, or not enough memory for the body.",
}
OF_ANY_PATH = ("401", "403", "421")
SCORES = (
    "Scores come from the graph that /info names under `runtime`. `checked`: labels and decisions are those of the "
    "float32 graph, independent of concurrent requests; scores near a boundary are float32's, all others int8's, which "
    "depend slightly on the other texts and differed by at most `runtime.checked.max_abs_diff` on validation texts. "
    "`int8`: labels near a boundary may change as well. EVENODD_EXACT=1 makes scores independent of other texts."
)
CORRECTION = {
    "type": "object",
    "required": ["text", "label"],
    "properties": {
        "text": {"type": "string"},
        "label": {"type": "string", "description": "the right label"},
        "comment": {"type": "string"},
        "variant": {"type": "string"},
    },
}

FLAGGED = (
    "`flagged`: the decision is the positive label. Each label is a category; of two labels with a positive one, only "
    "that one. `model` may name a variant; other names mean the default one. `review` and `decision` are additions."
)
NUMBERS = {"type": "object", "additionalProperties": {"type": "number"}}
STRINGS = {"type": "array", "items": {"type": "string"}, "minItems": 1}
ONE_STRING = {**STRINGS, "maxItems": 1}
PART = {
    "type": "object",
    "required": ["type", "text"],
    "properties": {"type": {"enum": ["text"]}, "text": {"type": "string"}},
}
MODERATION = {
    "type": "object",
    "required": ["input"],
    "properties": {
        "input": {"oneOf": [{"type": "string"}, STRINGS, {"type": "array", "items": PART, "minItems": 1}]},
        "model": {"type": "string"},
    },
}
MODERATED = {
    "type": "object",
    "properties": {
        "id": {"type": "string"},
        "model": {"type": "string"},
        "results": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {
                    "flagged": {"type": "boolean"},
                    "categories": {"type": "object", "additionalProperties": {"type": "boolean"}},
                    "category_scores": NUMBERS,
                    "category_applied_input_types": {"type": "object", "additionalProperties": STRINGS},
                    "decision": {"type": "string"},
                    "review": {"type": "boolean"},
                },
            },
        },
    },
}
PREDICT = {
    "type": "object",
    "required": ["inputs"],
    "properties": {
        "inputs": {"oneOf": [{"type": "string"}, ONE_STRING, {"type": "array", "items": ONE_STRING, "minItems": 1}]},
        "truncate": {"type": "boolean", "description": "without effect: long texts are read in windows"},
    },
}
LABELLED = {"type": "object", "properties": {"score": {"type": "number"}, "label": {"type": "string"}}}
PREDICTED = {
    "description": "labels with their scores, the best first; for a batch a list of such lists",
    "type": "array",
    "items": {"oneOf": [LABELLED, {"type": "array", "items": LABELLED}]},
}


class Described:
    """A specification in the form of BentoML's: an object with `asdict`."""

    def __init__(self, spec: dict[str, Any]) -> None:
        self._spec = spec

    def asdict(self) -> dict[str, Any]:
        """The specification as JSON values."""
        return self._spec


def complete(spec: dict[str, Any], description: str) -> Described:
    """BentoML's specification with the refusals and paths that it does not know.

    Args:
        spec: BentoML's own, as JSON values.
        description: description of the service, which replaces BentoML's badges.
    """
    paths = dict(spec["paths"])
    for path in ("/classify", "/explain"):
        post = dict(paths[path]["post"])
        kept = {status: value for status, value in post["responses"].items() if str(status) == "200"}
        post["responses"] = {**kept, **_refusals()}
        post["description"] = f"{post.get('description', '')} {SCORES}".strip()
        paths[path] = {"post": post}
    paths["/info"] = {
        "get": _get("Models, decision settings, digests, limits, and the graph in use.", "application/json")
    }
    paths["/card"] = {"get": _get("The model card.", "text/plain")}
    paths["/card"]["get"]["responses"] |= _refusals("400") | _refusal("404", "The bundle has no card.")
    paths["/card"]["get"]["parameters"] = [{"name": "variant", "in": "query", "schema": {"type": "string"}}]
    paths["/corrections"] = {"post": _corrections()}
    paths["/v1/moderations"] = {
        "post": _post("In the format of OpenAI's moderations. " + FLAGGED, MODERATION, MODERATED)
    }
    paths["/predict"] = {"post": _post("In the format of text-embeddings-inference.", PREDICT, PREDICTED)}
    paths["/webhooks/mlflow"] = {"post": _webhook()}
    about = {"title": spec["info"]["title"], "version": API_VERSION, "description": description}
    return Described({**spec, "info": about, "paths": paths})


def _refusals(*statuses: str) -> dict[str, Any]:
    """The named refusals, or all of them."""
    found: dict[str, Any] = {}
    for status in statuses or REFUSALS:
        found |= _refusal(status, REFUSALS[status])
    return found


def _refusal(status: str, reason: str) -> dict[str, Any]:
    return {status: {"description": reason, "content": {"application/json": {"schema": REASON}}}}


def _get(description: str, content_type: str) -> dict[str, Any]:
    schema = {"type": "object"} if content_type == "application/json" else {"type": "string"}
    answer = {"description": "Success", "content": {content_type: {"schema": schema}}}
    responses = {"200": answer, **_refusals(*OF_ANY_PATH)}
    return {"description": description, "tags": ["Service APIs"], "responses": responses}


def _post(description: str, asked: dict[str, Any], answered: dict[str, Any]) -> dict[str, Any]:
    return {
        "description": description,
        "tags": ["Service APIs"],
        "requestBody": {"required": True, "content": {"application/json": {"schema": asked}}},
        "responses": {
            "200": {"description": "Success", "content": {"application/json": {"schema": answered}}},
            **_refusals(),
        },
    }


def _webhook() -> dict[str, Any]:
    answers = {"202": {"description": "Accepted."}, "403": {"description": "Webhooks are off."}}
    description = "MLflow's webhook: the service polls the registry at once. Signed with EVENODD_WEBHOOK_SECRET."
    return {**_post(description, {"type": "object"}, {}), "responses": {**answers, **_refusals()}}


def _corrections() -> dict[str, Any]:
    return {
        "description": 'Store the right label of a text ("This is wrong"). Off unless EVENODD_CORRECTIONS is set.',
        "tags": ["Service APIs"],
        "requestBody": {"required": True, "content": {"application/json": {"schema": CORRECTION}}},
        "responses": {
            "201": {"description": "Kept."},
            **_refusals(),
            **_refusal("403", "Corrections are off, or the API key is not valid for this path."),
            **_refusal("507", "The store is full."),
        },
    }
