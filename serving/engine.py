"""A bundle brought to life: texts in, decisions out, in batches that hold little padding."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from .bundle import Bundle
from .decision import Policy, calibrate, pool
from .session import DEVICES, GraphSession, choose_provider, open_session
from .settings import Settings
from .text import Windows

logger = logging.getLogger(__name__)

SAMPLE_TOLERANCE = {"fp32": 1e-3, "fp16": 1e-2, "int8": 0.05}
# Padded tokens of one run, and those of them that may be padding. A core gains little from large batches and loses
# every padded token; a GPU is the other way round.
TOKEN_BUDGET = {"cpu": 512, "cuda": 16_384, "tensorrt": 16_384}
PADDING_BUDGET = {"cpu": 24, "cuda": 8_192, "tensorrt": 8_192}
ROUND_BUDGETS = 2
WARM_UP = ((1, 8), (8, 16), (8, 64))


class Engine:
    """One graph of one bundle on one session. Not to be used by two threads at once.

    Raises:
        ValueError: the graph or the tokenizer is not what the bundle says.
        RuntimeError: the provider asked for did not come up.
    """

    def __init__(self, bundle: Bundle, settings: Settings) -> None:
        description = bundle.description
        asked = settings.provider or description.get("provider", "auto")
        self.bundle = bundle
        self.graph = settings.graph or _recommended(description, DEVICES[choose_provider(asked)])
        self.policy = Policy.from_description(description)
        self._windows = _open_tokenizer(bundle)
        path = bundle.graph_path(self.graph)
        self._session: GraphSession = open_session(path, asked=asked, threads=settings.threads)
        self.token_budget = settings.token_budget or TOKEN_BUDGET[self.provider]
        self._inputs = _check_inputs(self._session, description["inputs"], path.name)
        self._pad = int(description["pad_token_id"])
        self._temperature = float(description["decision"]["temperature"])
        self._pooling = str(description.get("pooling", "max"))

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
        return {
            "graph": self.graph,
            "sha256": self.bundle.description["files"][self.bundle.graph_path(self.graph).name]["sha256"],
            "provider": self.provider,
            "providers": self._session.providers,
            "matrix_products": self._session.placement,
            "depends_on_batch": self.depends_on_batch,
        }

    def tokenize(self, texts: Sequence[str]) -> list[list[list[int]]]:
        """For each text its windows of token ids."""
        return self._windows.split(texts)

    def score_windows(self, windows: Sequence[Sequence[int]], alone: Sequence[bool] = ()) -> np.ndarray:
        """Calibrated probabilities of each window, float64, (windows, labels), in the order given.

        Args:
            windows: token ids.
            alone: for each window whether it runs by itself; empty: none does.

        Windows are sorted by length and cut into batches that hold few tokens of padding.
        """
        rows = np.empty((len(windows), len(self.policy.labels)))
        lengths = [len(window) for window in windows]
        together = [i for i in range(len(windows)) if not (alone and alone[i])]
        batches = [[i] for i in range(len(windows)) if alone and alone[i]]
        found = batches_by_length([lengths[i] for i in together], self.token_budget, PADDING_BUDGET[self.provider])
        batches += [[together[i] for i in batch] for batch in found]
        for batch in batches:
            logits = self._session.run(self._feed([windows[i] for i in batch]))
            rows[batch] = calibrate(logits, self._temperature)
        return rows

    def pool(self, probabilities: np.ndarray) -> np.ndarray:
        """A text's probabilities, float64 (labels,), out of those of its windows (windows, labels)."""
        return pool(probabilities, self._pooling, self.policy.positive)

    def score(self, texts: Sequence[str]) -> np.ndarray:
        """Calibrated probabilities of texts of any length, float64, (texts, labels)."""
        split = self.tokenize(texts)
        rows = self.score_windows([window for windows in split for window in windows])
        ends = np.cumsum([len(windows) for windows in split])
        return np.array([self.pool(part) for part in np.split(rows, ends[:-1])])

    def check_samples(self) -> float:
        """Score the bundle's own samples. Returns the largest difference found.

        Raises:
            ValueError: a probability is further from the bundle's than the graph's precision explains.
        """
        samples = self.bundle.description["samples"]
        kind = self.graph
        usable = [sample for sample in samples if kind in sample["probabilities"]]
        if not usable:
            raise ValueError(f"bundle {self.bundle.folder}: samples hold no probabilities of the {kind} graph.")
        expected = np.array([sample["probabilities"][kind] for sample in usable], dtype=np.float64)
        found = self.score([sample["text"] for sample in usable])
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
            length = min(tokens, int(self.bundle.description["max_length"]))
            self.score_windows([[self._pad] * length] * rows)

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


def open_engine(bundle: Bundle, settings: Settings) -> Engine:
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


def _open_tokenizer(bundle: Bundle) -> Windows:
    description = bundle.description
    overlap = int(description.get("window_overlap", 0))
    return Windows(bundle.folder / "tokenizer.json", max_length=int(description["max_length"]), overlap=overlap)


def _check_inputs(opened: GraphSession, expected: Sequence[str], name: str) -> list[str]:
    found = [item.name for item in opened.session.get_inputs()]
    if sorted(found) != sorted(expected):
        raise ValueError(f"graph {name}: inputs are {found}, bundle.json says {list(expected)}. Export it again.")
    return found
