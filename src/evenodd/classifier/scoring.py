"""From texts to probabilities with any session: windows, batches with little padding, calibration, pooling."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from evenodd.classifier.manifest import EXACT
from evenodd.classifier.text import Windows
from evenodd.task import Decision

# Maximum number of tokens in one run, and of padding tokens among them. On a CPU large batches gain little and padding
# is expensive; on a GPU it is the reverse.
TOKEN_BUDGET = {"cpu": 512, "cuda": 16_384, "tensorrt": 16_384}
PADDING_BUDGET = {"cpu": 12, "cuda": 8_192, "tensorrt": 8_192}
ROUND_BUDGETS = 2


class Session(Protocol):
    """A model that gives logits for padded token ids: an ONNX graph, or a torch model."""

    @property
    def provider(self) -> str:
        """`cpu`, `cuda` or `tensorrt`: the active provider."""

    @property
    def depends_on_batch(self) -> bool:
        """Whether a row's logits depend slightly on the other rows."""

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
    """Calibrated probabilities of texts. Not thread-safe.

    Args:
        reading: texts to inputs.
        decision: calibration and pooling.
        sessions: by kind of graph; the first one answers, and with a margin `fp32` follows.
        margin: log-odds; windows nearer than this to a boundary are repeated in `fp32`. None: none are.
        token_budget: maximal padded tokens of one run; None: depends on the device.
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
        """`cpu`, `cuda` or `tensorrt`: the first session's active provider."""
        return self._fast.provider

    @property
    def depends_on_batch(self) -> bool:
        """Whether a text's score depends slightly on the other texts; see Session."""
        return self._fast.depends_on_batch

    @property
    def round_tokens(self) -> int:
        """Tokens of a round of the batcher: more than in one run, so that sorting by length saves padding."""
        return ROUND_BUDGETS * self.token_budget

    def tokenize(self, texts: Sequence[str]) -> list[list[list[int]]]:
        """Windows of token ids of each text."""
        return self._reading.windows.split(texts)

    def score_windows(self, windows: Sequence[Sequence[int]], exact: Sequence[bool] = ()) -> np.ndarray:
        """Calibrated probabilities of each window, float64, (windows, labels), in the order given.

        Windows are sorted by length and split into batches with little padding. With the graph `checked`, windows
        near a boundary are repeated in float32, and `run_again` counts them.

        Args:
            windows: token ids.
            exact: for each window, whether its score must not depend on others: then it runs alone, or with `checked`
            in float32. Empty: for none.
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
        """Indices of the chosen windows, in batches of similar length."""
        lengths = [len(windows[i]) for i in chosen]
        for batch in batches_by_length(lengths, self.token_budget, PADDING_BUDGET[self.provider]):
            yield [chosen[i] for i in batch]

    def _run(self, kind: str, windows: Sequence[Sequence[int]], batches: Iterable[list[int]], rows: np.ndarray) -> None:
        """Computes the probabilities of the batches with one graph."""
        for batch in batches:
            logits = self._sessions[kind].run(self._feed([windows[i] for i in batch]))
            rows[batch] = self.decision.probabilities(logits)

    def needs_exact(self, counts: Sequence[int]) -> bool:
        """Whether texts with these numbers of windows must be scored exactly to get the float32 graph's labels.

        If every window is on the same side of a boundary in both graphs, so is their maximum, but not necessarily
        their mean.
        """
        highest = self.decision.pooling == "max" and self.decision.positive is not None
        return self._margin is not None and not highest and max(counts, default=0) > 1

    def score(self, texts: Sequence[str]) -> np.ndarray:
        """Calibrated probabilities of texts of any length, float64, (texts, labels)."""
        return self.score_split(self.tokenize(texts))

    def score_split(self, split: Sequence[Sequence[Sequence[int]]], *, exact: bool = False) -> np.ndarray:
        """The same for tokenised texts: the windows of token ids of each text.

        Args:
            split: windows by text.
            exact: scores do not depend on the other texts; see Session.depends_on_batch.
        """
        every = exact and self.depends_on_batch
        alone = [every or self.needs_exact([len(parts)]) for parts in split for _ in parts]
        rows = self.score_windows([window for parts in split for window in parts], alone)
        return self.decision.pool_texts(rows, [len(parts) for parts in split])

    def _feed(self, windows: Sequence[Sequence[int]]) -> dict[str, np.ndarray]:
        """Padded int64 inputs of the graph, (windows, tokens of the longest)."""
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
