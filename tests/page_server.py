"""A small stand-in for the service: the page's own files and headers, and a model made of a word list.

It answers the paths of the service in its shapes, so that tests of the page can have any number of variants or labels
without a graph.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from evenodd.evidence.suites.own import own_page
from serving.page import read_files

GROUPS = {"women", "muslims", "immigrants", "gays", "jews", "foreigners"}
HOSTILE = {"hate": 1.6, "vermin": 2.4, "disgusting": 1.9, "sick": 1.1, "driven": 0.7, "kill": 1.2}
BIAS = {"odd": 0.0, "even": 0.3, "lora": -0.9}
LIMITS = {"texts": 256, "chars": 20_000, "body_bytes": 1 << 20, "tokens": 131_072}
WHOLE = {"truncated": False, "windows": 1}
LAYERS = {"odd": [1, 3, 5], "even": [2, 4, 6]}
FIGURES = {
    "test/f1_macro": 0.781,
    "test/average_precision": 0.64,
    "floor/majority_accuracy": 0.888,
    "cost/parameters": 17_392_898,
}
WORD = re.compile(r"\S+")


def _strength(word: str) -> float:
    bare = re.sub(r"\W", "", word.lower())
    if bare in GROUPS:
        return 2.2
    if bare in HOSTILE:
        return HOSTILE[bare]
    return (hashlib.sha256(bare.encode()).digest()[0] - 128) / 400


@dataclass
class FakeService:
    """What the stand-in pretends to be, and what it was sent.

    Attributes:
        variants: names of the models, the default one first.
        labels: two labels with `hate` positive, or more without a positive one.
        corrections: whether corrections are kept.
        synthetic: whether the models say that their data is synthetic.
        warnings: why the models would not be promoted.
        words: what the bundle says for the page; None: those of the project's own suite, for its two labels.
    """

    variants: tuple[str, ...] = ("odd",)
    labels: tuple[str, ...] = ("noHate", "hate")
    corrections: bool = True
    synthetic: bool = True
    warnings: tuple[str, ...] = ()
    words: dict[str, Any] | None = None
    stored: list[dict[str, Any]] = field(default_factory=list)
    chunks: list[int] = field(default_factory=list)

    @property
    def positive(self) -> str | None:
        """The label that scores are about."""
        return "hate" if len(self.labels) == 2 else None

    @property
    def page(self) -> dict[str, Any] | None:
        """What the page says of the task."""
        return self.words or (own_page("hate", "noHate") if self.positive else None)

    def result(self, text: str, variant: str) -> dict[str, Any]:
        """One text's answer."""
        logit = sum(map(_strength, WORD.findall(text))) - 3.6 + BIAS.get(variant, 0.0)
        if self.positive is None:
            return self._many(logit)
        score = 1 / (1 + math.exp(-logit))
        decision = "review" if 0.35 <= score < 0.6 else "hate" if score >= 0.45 else "noHate"
        label = "hate" if score > 0.5 else "noHate"
        shares = {"noHate": 1 - score, "hate": score}
        return {
            "label": label,
            "decision": decision,
            "score": score,
            "probabilities": shares,
            **WHOLE,
        }

    def _many(self, logit: float) -> dict[str, Any]:
        weights = [math.exp(math.sin(logit * (number + 2)) * 2) for number in range(len(self.labels))]
        shares = dict(zip(self.labels, (weight / sum(weights) for weight in weights), strict=True))
        label = max(shares, key=shares.__getitem__)
        decision = "review" if shares[label] < 0.5 else label
        return {
            "label": label,
            "decision": decision,
            "score": shares[label],
            "probabilities": shares,
            **WHOLE,
        }

    def explanation(self, text: str, variant: str) -> dict[str, Any]:
        """A weight per word by leaving it out; places are counted in code points, as Python does."""
        whole = self.result(text, variant)
        words = []
        for match in WORD.finditer(text):
            rest = self.result(text[: match.start()] + text[match.end() :].lstrip(), variant)
            weight = whole["score"] - rest["probabilities"][self.positive or whole["label"]]
            words.append({"word": match.group(), "start": match.start(), "end": match.end(), "weight": weight})
        return {"words": words, **whole}

    def model(self, variant: str) -> dict[str, Any]:
        """One entry of /info."""
        decision: dict[str, Any] = {"temperature": 1.21, "threshold": 0.45, "review": [0.35, 0.6], "target": "f1_macro"}
        if self.positive is None:
            decision |= {"threshold": None, "review": [0.0, 0.5]}
        return {
            "name": "hate-speech",
            "variant": variant,
            "version": "3",
            "run_id": "8c1f0e7d5a2b49d6b3f1a7e2c4d59f60",
            "created": "2026-11-20T09:30:00Z",
            "task": "binary" if self.positive else "multiclass",
            "labels": list(self.labels),
            "positive": self.positive,
            "max_length": 128,
            "pooling": "max",
            "window_overlap": 32,
            "teacher": "minilm",
            "layer_map": LAYERS.get(variant),
            "metrics": FIGURES,
            "decision": decision,
            "data": {"name": "sample", "digest": "9d1c44f0ab37e5d2" * 4, "synthetic": self.synthetic},
            "limits": ["English only.", "Irony and quoted hate are often misread."],
            "warnings": list(self.warnings),
            "page": self.page,
            "digests": {"model.onnx": "1f" * 32, "tokenizer.json": "be" * 32},
            "runtime": {"graph": "fp32", "provider": "cpu", "providers": ["CPUExecutionProvider"]},
        }

    @property
    def info(self) -> dict[str, Any]:
        """The body of /info."""
        models = [self.model(variant) for variant in self.variants]
        return {"model": models[0], "variants": models, "corrections": self.corrections, "limits": LIMITS}

    def answer(self, path: str, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        """Status and body for a POST."""
        variant = body.get("variant") or self.variants[0]
        if variant not in self.variants:
            return 400, {"error": "variant is unknown", "field": "variant"}
        if path == "/classify":
            return self._classify(body["texts"], variant)
        if path == "/explain":
            return 200, self.explanation(body["text"], variant)
        self.stored.append(body)
        return 201, {"stored": True}

    def _classify(self, texts: list[str], variant: str) -> tuple[int, dict[str, Any]]:
        if not 0 < len(texts) <= LIMITS["texts"]:
            return 413, {"error": f"texts holds {len(texts)}", "field": "texts"}
        for number, text in enumerate(texts):
            if "\x07" in text:
                return 400, {"error": f"texts[{number}] rings a bell", "field": f"texts[{number}]"}
        self.chunks.append(len(texts))
        return 200, {
            "results": [self.result(text, variant) for text in texts],
            "model": {"variant": variant, "version": "3"},
        }


def _handler(service: FakeService) -> type[BaseHTTPRequestHandler]:
    files = read_files()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, format: str, *args: object) -> None:
            """Keep the test's output quiet."""

        def reply(self, status: int, kind: str, body: bytes) -> None:
            self.send_response(status)
            self.send_header("content-type", kind)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def do_GET(self) -> None:
            path = self.path.split("?")[0]
            if path in files:
                self.send_response(200)
                for name, value in files[path].whole.raw_headers:
                    self.send_header(name.decode(), value.decode())
                self.end_headers()
                self.wfile.write(files[path].whole.body)
            elif path == "/info":
                self.reply(200, "application/json", json.dumps(service.info).encode())
            elif path == "/card":
                self.reply(200, "text/markdown; charset=utf-8", b"# hate-speech\n")
            else:
                self.reply(404, "application/json", b'{"error": "not found"}')

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            status, answer = service.answer(self.path, body)
            self.reply(status, "application/json", json.dumps(answer).encode())

    return Handler


@contextlib.contextmanager
def serve(service: FakeService) -> Iterator[str]:
    """The stand-in on a free port; gives its address, without a slash at the end."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(service))
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
