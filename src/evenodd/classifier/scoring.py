"""Texts to probabilities over any session: windows, batches that hold little padding, calibration, pooling."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from evenodd.classifier.manifest import EXACT
from evenodd.classifier.text import Windows
from evenodd.task import Decision

# Padded tokens of one run, and those of them that may be padding. A core gains little from large batches and loses
# every padded token; a GPU is the other way round.
TOKEN_BUDGET = {"cpu": 512, "cuda": 16_384, "tensorrt": 16_384}
PADDING_BUDGET = {"cpu": 12, "cuda": 8_192, "tensorrt": 8_192}
ROUND_BUDGETS = 2


class Session(Protocol):
    """A model that gives logits for padded token ids: an ONNX graph, or a torch model."""

    @property
    def provider(self) -> str:
        """`cpu`, `cuda` or `tensorrt`: what it really runs on."""

    @property
    def depends_on_batch(self) -> bool:
        """Whether a row's logits depend a little on the rows beside it."""

    def run(self, feed: dict[str, np.ndarray]) -> np.ndarray:
        """Logits, float32, (rows, labels), of int64 inputs (rows, tokens)."""


@dataclass(frozen=True)
class Reading:
    """How texts become a model's inputs.

    Attributes:
        windows: cuts texts into windows of token ids.
        inputs: names of the model's inputs.
        pad: token id that fills short rows.
    """

    windows: Windows
    inputs: tuple[str, ...]
    pad: int


class Scoring:
    """Calibrated probabilities of texts. Not to be used by two threads at once.

    Args:
        reading: texts to inputs.
        decision: calibration and pooling.
        sessions: by kind of graph, the one that answers first in front; with a margin, `fp32` is behind it.
        margin: log-odds; windows nearer than this to a boundary are run again in `fp32`. None: no window is.
        token_budget: padded tokens of one run at most; None: what suits the device.
    """

    def __init__(
        self,
        reading: Reading,
        decision: Decision,
        sessions: Mapping[str, Session],
        *,
        margin: float | None = None,
        token_budget: int | None = None,
    ) -> None:
        self.decision = decision
        self.run_again = 0
        self._reading = reading
        self._sessions = dict(sessions)
        self._kinds = tuple(sessions)
        self._margin = margin
        self.token_budget = token_budget or TOKEN_BUDGET[self.provider]

    @property
    def _fast(self) -> Session:
        return self._sessions[self._kinds[0]]

    @property
    def provider(self) -> str:
        """`cpu`, `cuda` or `tensorrt`: what the first session really runs on."""
        return self._fast.provider

    @property
    def depends_on_batch(self) -> bool:
        """Whether a text's score depends a little on the texts beside it; see Session."""
        return self._fast.depends_on_batch

    @property
    def round_tokens(self) -> int:
        """Tokens that a round of the batcher gathers: more than one run holds, so that sorting has a choice."""
        return ROUND_BUDGETS * self.token_budget

    def tokenize(self, texts: Sequence[str]) -> list[list[list[int]]]:
        """For each text its windows of token ids."""
        return self._reading.windows.split(texts)

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
        return self.score_split(self.tokenize(texts))

    def score_split(self, split: Sequence[Sequence[Sequence[int]]], *, exact: bool = False) -> np.ndarray:
        """The same for texts that are tokenised already: for each text its windows of token ids.

        Args:
            split: windows by text.
            exact: no score depends on the texts beside it; see Session.depends_on_batch.
        """
        every = exact and self.depends_on_batch
        alone = [every or self.needs_exact([len(parts)]) for parts in split for _ in parts]
        rows = self.score_windows([window for parts in split for window in parts], alone)
        return self.decision.pool_texts(rows, [len(parts) for parts in split])

    def _feed(self, windows: Sequence[Sequence[int]]) -> dict[str, np.ndarray]:
        """Padded int64 inputs, (windows, tokens of the longest), of those that the graph has."""
        longest = max(len(window) for window in windows)
        ids = np.full((len(windows), longest), self._reading.pad, dtype=np.int64)
        mask = np.zeros_like(ids)
        for row, window in enumerate(windows):
            ids[row, : len(window)] = window
            mask[row, : len(window)] = 1
        feed = {"input_ids": ids, "attention_mask": mask}
        if "token_type_ids" in self._reading.inputs:
            feed["token_type_ids"] = np.zeros_like(ids)
        return {name: feed[name] for name in self._reading.inputs}


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
