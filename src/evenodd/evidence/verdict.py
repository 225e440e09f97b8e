"""Input and result of a comparison: variants with their runs and costs, and the verdict."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import pandas as pd

from evenodd.evidence.metrics import Scored

OPERATIONS, PARAMETERS = "operations_per_token", "parameters"
LATENCY, LATENCY_SPREAD = "latency_p50_ms", "latency_spread_ms"


@dataclass(frozen=True)
class Candidate:
    """One variant in a comparison.

    Attributes:
        name: name of the variant.
        runs: by seed, the scored validation rows.
        cost: `operations_per_token` and `parameters` decide what is cheaper; `latency_p50_ms` and `latency_spread_ms`
            are only reported; other entries are ignored.
        failed_gates: names of gates it did not pass; with any, it cannot win.
    """

    name: str
    runs: Mapping[int, Scored]
    cost: Mapping[str, float] = field(default_factory=dict)
    failed_gates: tuple[str, ...] = ()

    @property
    def fixed_cost(self) -> tuple[float, float]:
        """Operations per token and parameters; unknown values count as infinite."""
        return self.cost.get(OPERATIONS, float("inf")), self.cost.get(PARAMETERS, float("inf"))


@dataclass(frozen=True)
class Verdict:
    """The conclusion of a comparison.

    Attributes:
        winner: the variant to ship; None if no variant exceeds the floor, passes its gates and stays within `max_loss`.
        tie: whether several variants do not differ significantly from the best, which does not prove that they are
            equal; the winner is the cheapest of them.
        best: variant with the highest mean macro-F1 among those that may win; None if there are none.
        strongest: variant with the highest mean macro-F1 of all, including those that may not win; the cheapest of
            equal ones.
        tied: variants that do not differ significantly from the best, which is included; cheapest first.
        excluded: reasons why variants may not win, by name.
        scores: table by variant: f1_macro, f1_macro_sd, average_precision, average_precision_sd, seeds, rows.
        pairs: table by pair: first, second, difference, low, high, p_value, p_holm, significant, average_precision
            difference with its bounds and p, McNemar's counts and p, sign-flip p, seeds_agree, rows_needed, and
            more_seeds: whether that number of rows suffices only with more seeds.
        reference: the variant that losses are measured against; None if no variant may win.
        confidence: simultaneous confidence of the bounds in `losses`.
        losses: for each variant that may win, the loss of macro-F1 against the reference and at_most, its upper bound.
        sentences: the verdict in plain sentences, the headline first.
    """

    winner: str | None
    tie: bool
    best: str | None
    strongest: str
    tied: tuple[str, ...]
    excluded: Mapping[str, str]
    scores: pd.DataFrame
    pairs: pd.DataFrame
    reference: str | None = None
    confidence: float = 0.95
    losses: pd.DataFrame = field(default_factory=lambda: pd.DataFrame(columns=["loss", "at_most"]))
    sentences: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        return " ".join(self.sentences)

    @property
    def may_lose(self) -> float:
        """Upper bound of the winner's loss of macro-F1 against the reference; NaN without a winner."""
        return float(self.losses["at_most"][self.winner]) if self.winner else float("nan")
