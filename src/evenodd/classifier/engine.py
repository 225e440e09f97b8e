"""Runs a bundle's graphs: scores texts in batches with little padding."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from evenodd.classifier.bundle import Bundle
from evenodd.classifier.choice import Choice, choose_faster, name_graph
from evenodd.classifier.faults import first_line
from evenodd.classifier.manifest import CHECKED, TOKENIZER
from evenodd.classifier.scoring import Reading, Scoring
from evenodd.classifier.session import DEVICES, GraphSession, choose_provider, graph_errors, open_session
from evenodd.classifier.text import Windows

logger = logging.getLogger(__name__)

SAMPLE_TOLERANCE = {"fp32": 1e-3, "fp16": 1e-2, "int8": 0.05}
WARM_UP = ((1, 8), (8, 16), (8, 64))


class Options(Protocol):
    """How graphs are run. None: the bundle and the device decide."""

    @property
    def provider(self) -> str | None:
        """`auto`, `cpu`, `cuda` or `tensorrt`."""

    @property
    def graph(self) -> str | None:
        """`checked`, `fp32`, `fp16` or `int8`."""

    @property
    def threads(self) -> int:
        """ONNX Runtime threads of one session."""

    @property
    def token_budget(self) -> int | None:
        """Maximum tokens of one run, padding included."""


@dataclass(frozen=True)
class EngineOptions:
    """See `Options`."""

    provider: str | None = None
    graph: str | None = None
    threads: int = 1
    token_budget: int | None = None


class Engine(Scoring):
    """Sessions of a bundle's graph, or of the two graphs of `checked`. It is not thread-safe.

    Args:
        bundle: a checked bundle.
        settings: how graphs are run.
        choice: the graph, if it is already chosen; None: see `choice.py`.

    Attributes:
        choice: the graph that answers, and the reason.

    Raises:
        ValueError: the graph or the tokenizer does not match the bundle's description.
        RuntimeError: the requested provider did not start.
    """

    def __init__(self, bundle: Bundle, settings: Options, choice: Choice | None = None) -> None:
        description = bundle.description
        asked = settings.provider or description.get("provider", "auto")
        self.bundle = bundle
        self.choice = choice or name_graph(bundle, settings.graph, DEVICES[choose_provider(asked)])
        sessions = _open_sessions(bundle, self.choice.graph, asked, settings.threads)
        windows = Windows(bundle.folder / TOKENIZER, max_length=bundle.max_length, overlap=bundle.window_overlap)
        reading = Reading(windows, tuple(description["inputs"]), int(description["pad_token_id"]))
        if not self.choice.settled:
            self.choice = _choose(bundle, reading, sessions, settings.token_budget)
            sessions = {kind: sessions[kind] for kind in bundle.graph_kinds(self.choice.graph)}
        self._first = next(iter(sessions.values()))
        margin = float((bundle.checked or {})["margin"]) if self.graph == CHECKED else None
        super().__init__(reading, bundle.decision, sessions, margin=margin, token_budget=settings.token_budget)

    @property
    def graph(self) -> str:
        """`checked`, `fp32`, `fp16` or `int8`."""
        return self.choice.graph

    @property
    def runtime(self) -> dict[str, Any]:
        """The runtime, as `/info` shows it."""
        files, graphs = self.bundle.description["files"], self.bundle.description["graphs"]
        return {
            "graph": self.graph,
            "why": self.choice.why,
            "sha256": files[graphs[self._kinds[0]]]["sha256"],
            "provider": self.provider,
            "providers": self._first.providers,
            "matrix_products": self._first.placement,
            "depends_on_batch": self.depends_on_batch,
            "checked": self.bundle.checked if self.graph == CHECKED else None,
        }

    def check_samples(self) -> float:
        """Scores the bundle's samples with every graph in use and returns the largest difference.

        Raises:
            ValueError: a probability differs from the bundle's by more than the graph's precision explains.
        """
        return max(self._check_samples(kind) for kind in self._kinds)

    def _check_samples(self, kind: str) -> float:
        usable = [s for s in self.bundle.description["samples"] if kind in s["probabilities"]]
        if not usable:
            raise ValueError(f"bundle {self.bundle.folder}: samples hold no probabilities of the {kind} graph.")
        expected = np.array([sample["probabilities"][kind] for sample in usable], dtype=np.float64)
        split = self.tokenize([sample["text"] for sample in usable])
        windows = [window for parts in split for window in parts]
        rows = np.empty((len(windows), len(self.decision.label_names)))
        self._run(kind, windows, ([i] for i in range(len(windows))), rows)  # each by itself, as in the export
        found = self.decision.pool_texts(rows, [len(parts) for parts in split])
        if expected.shape != found.shape:
            raise ValueError(
                f"bundle {self.bundle.folder}: samples are {expected.shape}, the graph gives {found.shape}."
            )
        difference = float(np.abs(found - expected).max())
        if not difference <= SAMPLE_TOLERANCE[kind]:
            raise ValueError(
                f"bundle {self.bundle.folder}: its samples are not reproduced by {kind} on {self.provider} (a "
                f"probability is off by {difference:.3g} > {SAMPLE_TOLERANCE[kind]}): graph, tokenizer or temperature "
                "do not match. Export it again."
            )
        return difference

    def warm_up(self) -> None:
        """Runs a few shapes, so that the first request does not pay for buffers and kernels, and the longest window.

        Raises:
            ValueError: the graph does not accept windows of the bundle's `max_length`.
        """
        longest = self.bundle.max_length
        try:
            for rows, tokens in (*WARM_UP, (1, longest)):
                windows = [[self._reading.pad] * min(tokens, longest)] * rows
                for kind in self._kinds:
                    self._run(kind, windows, [list(range(rows))], np.empty((rows, len(self.decision.label_names))))
        except graph_errors() as fault:
            raise ValueError(
                f"bundle {self.bundle.folder}: max_length={longest}: the graph does not accept such a window "
                f"({first_line(fault)}). Export it again."
            ) from None


def open_engine(bundle: Bundle, settings: Options, choice: Choice | None = None) -> Engine:
    """Opens an engine, checks its samples and warms it up.

    Args:
        bundle: a checked bundle.
        settings: how graphs are run.
        choice: as for `Engine`.

    Raises:
        ValueError: the bundle is refused.
        RuntimeError: the requested provider did not start.
    """
    engine = Engine(bundle, settings, choice)
    difference = engine.check_samples()
    engine.warm_up()
    logger.info(
        "bundle %s %s | %s on %s (%s) | samples reproduced to %.1e", bundle.variant, bundle.folder.name, engine.graph,
        engine.provider, engine.choice.why, difference,
    )  # fmt: skip
    return engine


def _open_sessions(bundle: Bundle, graph: str, provider: str, threads: int) -> dict[str, GraphSession]:
    """Sessions of the graphs that a kind consists of, by kind."""
    sessions = {}
    for kind in bundle.graph_kinds(graph):
        path = bundle.graph_path(kind)
        sessions[kind] = open_session(path, asked=provider, threads=threads, flush_denormals=True)
        _check_inputs(sessions[kind], bundle.description["inputs"], path.name)
    return sessions


def _choose(bundle: Bundle, reading: Reading, sessions: dict[str, GraphSession], token_budget: int | None) -> Choice:
    """Chooses `checked` or float32 by their times for the bundle's samples, repeated to fill a batch."""
    fast, exact = (
        Scoring(reading, bundle.decision, {kind: session}, token_budget=token_budget)
        for kind, session in sessions.items()
    )
    split = exact.tokenize([sample["text"] for sample in bundle.description["samples"]])
    windows = [window for parts in split for window in parts]
    windows *= max(exact.round_tokens // max(sum(map(len, windows)), 1), 1)
    share = float((bundle.checked or {})["share"])
    return choose_faster(lambda: fast.score_windows(windows), lambda: exact.score_windows(windows), share)


def _check_inputs(opened: GraphSession, expected: Sequence[str], name: str) -> None:
    found = [item.name for item in opened.session.get_inputs()]
    if sorted(found) != sorted(expected):
        raise ValueError(f"graph {name}: inputs are {found}, bundle.json says {list(expected)}. Export it again.")
