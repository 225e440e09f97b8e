"""A bundle brought to life: texts in, decisions out, in batches that hold little padding."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from evenodd.classifier.bundle import CHECKED, EXACT, TOKENIZER, Bundle
from evenodd.classifier.session import DEVICES, GraphSession, choose_provider, open_session
from evenodd.classifier.text import Windows

logger = logging.getLogger(__name__)

SAMPLE_TOLERANCE = {"fp32": 1e-3, "fp16": 1e-2, "int8": 0.05}
# Padded tokens of one run, and those of them that may be padding. A core gains little from large batches and loses
# every padded token; a GPU is the other way round.
TOKEN_BUDGET = {"cpu": 512, "cuda": 16_384, "tensorrt": 16_384}
PADDING_BUDGET = {"cpu": 12, "cuda": 8_192, "tensorrt": 8_192}
ROUND_BUDGETS = 2
WARM_UP = ((1, 8), (8, 16), (8, 64))


class Options(Protocol):
    """How graphs are run. None leaves the choice to the bundle and the device."""

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
        """Padded tokens of one run at most."""


@dataclass(frozen=True)
class EngineOptions:
    """See `Options`."""

    provider: str | None = None
    graph: str | None = None
    threads: int = 1
    token_budget: int | None = None


class Engine:
    """One bundle's graph, or the two of `checked`, in sessions. Not to be used by two threads at once.

    Raises:
        ValueError: the graph or the tokenizer is not what the bundle says.
        RuntimeError: the provider asked for did not come up.
    """

    def __init__(self, bundle: Bundle, settings: Options) -> None:
        description = bundle.description
        asked = settings.provider or description.get("provider", "auto")
        self.bundle = bundle
        self.graph = settings.graph or _recommended(description, DEVICES[choose_provider(asked)])
        self.decision = bundle.decision
        self.run_again = 0
        tokenizer = bundle.folder / TOKENIZER
        self._windows = Windows(tokenizer, max_length=bundle.max_length, overlap=bundle.window_overlap)
        self._kinds = bundle.graph_kinds(self.graph)
        self._margin = float((bundle.checked or {})["margin"]) if self.graph == CHECKED else None
        paths = {kind: bundle.graph_path(kind) for kind in self._kinds}
        self._sessions: dict[str, GraphSession] = {
            kind: open_session(path, asked=asked, threads=settings.threads) for kind, path in paths.items()
        }
        self._session = self._sessions[self._kinds[0]]
        self.token_budget = settings.token_budget or TOKEN_BUDGET[self.provider]
        self._inputs = description["inputs"]
        for kind, path in paths.items():
            _check_inputs(self._sessions[kind], self._inputs, path.name)
        self._pad = int(description["pad_token_id"])

    @property
    def provider(self) -> str:
        """`cpu`, `cuda` or `tensorrt`: what the session really runs on."""
        return self._session.provider

    @property
    def depends_on_batch(self) -> bool:
        """Whether a text's score depends a little on the texts beside it; see GraphSession."""
        return self._session.depends_on_batch

    @property
    def round_tokens(self) -> int:
        """Tokens that a round of the batcher gathers: more than one run holds, so that sorting has a choice."""
        return ROUND_BUDGETS * self.token_budget

    @property
    def runtime(self) -> dict[str, Any]:
        """What runs, as `/info` shows it."""
        files, graphs = self.bundle.description["files"], self.bundle.description["graphs"]
        return {
            "graph": self.graph,
            "sha256": files[graphs[self._kinds[0]]]["sha256"],
            "provider": self.provider,
            "providers": self._session.providers,
            "matrix_products": self._session.placement,
            "depends_on_batch": self.depends_on_batch,
            "checked": self.bundle.checked if self.graph == CHECKED else None,
        }

    def tokenize(self, texts: Sequence[str]) -> list[list[list[int]]]:
        """For each text its windows of token ids."""
        return self._windows.split(texts)

    def score_windows(self, windows: Sequence[Sequence[int]], exact: Sequence[bool] = ()) -> np.ndarray:
        """Calibrated probabilities of each window, float64, (windows, labels), in the order given.

        Windows are sorted by length and cut into batches that hold few tokens of padding. In the graph `checked`, those
        that come out too near a boundary are run again in float32, and `run_again` counts them.

        Args:
            windows: token ids.
            exact: for each window whether its score may depend on no other: it runs by itself, or in `checked` in
                float32. Empty: none.
        """
        rows = np.empty((len(windows), len(self.decision.label_names)))
        apart = [i for i in range(len(windows)) if exact and exact[i]]
        together = [i for i in range(len(windows)) if not (exact and exact[i])]
        fast = self._kinds[0]
        self._run(fast, windows, self._batches(windows, together), rows)
        if self._margin is None:
            self._run(fast, windows, [[i] for i in apart], rows)
            return rows
        near = self.decision.near_boundary(rows[together], self._margin)
        again = [*apart, *(i for i, close in zip(together, near, strict=True) if close)]
        self._run(EXACT, windows, self._batches(windows, again), rows)
        self.run_again += len(again)
        return rows

    def _batches(self, windows: Sequence[Sequence[int]], chosen: Sequence[int]) -> Iterable[list[int]]:
        """Numbers of the windows chosen, in batches of like length."""
        lengths = [len(windows[i]) for i in chosen]
        for batch in batches_by_length(lengths, self.token_budget, PADDING_BUDGET[self.provider]):
            yield [chosen[i] for i in batch]

    def _run(self, kind: str, windows: Sequence[Sequence[int]], batches: Iterable[list[int]], rows: np.ndarray) -> None:
        """Fills the rows of the batches with one graph's probabilities."""
        for batch in batches:
            logits = self._sessions[kind].run(self._feed([windows[i] for i in batch]))
            rows[batch] = self.decision.probabilities(logits)

    def needs_exact(self, counts: Sequence[int]) -> bool:
        """Whether texts of so many windows have to be scored exactly for their labels to be the float32 graph's.

        A boundary kept by every window is kept by the highest of them; it need not be by their mean.
        """
        highest = self.decision.pooling == "max" and self.decision.positive is not None
        return self._margin is not None and not highest and max(counts, default=0) > 1

    def score(self, texts: Sequence[str]) -> np.ndarray:
        """Calibrated probabilities of texts of any length, float64, (texts, labels)."""
        split = self.tokenize(texts)
        exact = [self.needs_exact([len(parts)]) for parts in split for _ in parts]
        rows = self.score_windows([window for parts in split for window in parts], exact)
        return self.decision.pool_texts(rows, [len(parts) for parts in split])

    def check_samples(self) -> float:
        """Score the bundle's own samples with every graph in use. Returns the largest difference found.

        Raises:
            ValueError: a probability is further from the bundle's than the graph's precision explains.
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
        self._run(kind, windows, ([i] for i in range(len(windows))), rows)  # as they were exported: each by itself
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
                "do not belong together. Export it again."
            )
        return difference

    def warm_up(self) -> None:
        """Run a few shapes, so that the first request does not pay for buffers and kernels."""
        for rows, tokens in WARM_UP:
            windows = [[self._pad] * min(tokens, self.bundle.max_length)] * rows
            for kind in self._kinds:
                self._run(kind, windows, [list(range(rows))], np.empty((rows, len(self.decision.label_names))))

    def _feed(self, windows: Sequence[Sequence[int]]) -> dict[str, np.ndarray]:
        """Padded int64 inputs, (windows, tokens of the longest), of those that the graph has."""
        longest = max(len(window) for window in windows)
        ids = np.full((len(windows), longest), self._pad, dtype=np.int64)
        mask = np.zeros_like(ids)
        for row, window in enumerate(windows):
            ids[row, : len(window)] = window
            mask[row, : len(window)] = 1
        feed = {"input_ids": ids, "attention_mask": mask}
        if "token_type_ids" in self._inputs:
            feed["token_type_ids"] = np.zeros_like(ids)
        return {name: feed[name] for name in self._inputs}


def open_engine(bundle: Bundle, settings: Options) -> Engine:
    """An engine that has reproduced its samples and is warm.

    Raises:
        ValueError: the bundle is refused.
        RuntimeError: the provider asked for did not come up.
    """
    engine = Engine(bundle, settings)
    difference = engine.check_samples()
    engine.warm_up()
    logger.info(
        "bundle %s %s | %s on %s | samples reproduced to %.1e", bundle.variant, bundle.folder.name, engine.graph,
        engine.provider, difference,
    )  # fmt: skip
    return engine


def batches_by_length(lengths: Sequence[int], token_budget: int, padding_budget: int) -> Iterable[list[int]]:
    """Indices in batches of similar length, longest first, so that a batch is padded to its first row.

    A batch holds at most `token_budget` tokens with padding and at most `padding_budget` tokens of padding, or one row.
    """
    order = sorted(range(len(lengths)), key=lambda i: -lengths[i])
    batch: list[int] = []
    padding = 0
    for i in order:
        longest = lengths[batch[0]] if batch else lengths[i]
        padding += longest - lengths[i]
        if batch and (padding > padding_budget or (len(batch) + 1) * longest > token_budget):
            yield batch
            batch, padding = [], 0
        batch.append(i)
    if batch:
        yield batch


def _recommended(description: dict[str, Any], device: str) -> str:
    graphs = description["graphs"]
    return str(description["recommended"].get(device) or ("fp32" if "fp32" in graphs else next(iter(graphs))))


def _check_inputs(opened: GraphSession, expected: Sequence[str], name: str) -> None:
    found = [item.name for item in opened.session.get_inputs()]
    if sorted(found) != sorted(expected):
        raise ValueError(f"graph {name}: inputs are {found}, bundle.json says {list(expected)}. Export it again.")
