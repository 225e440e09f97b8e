"""What is compared and what is found: variants with their runs and costs, and the verdict on them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import pandas as pd

from evenodd.evidence.metrics import Scored

OPERATIONS, PARAMETERS = "operations_per_token", "parameters"
LATENCY, LATENCY_SPREAD = "latency_p50_ms", "latency_spread_ms"


@dataclass(frozen=True)
class Candidate:
    """One variant, as the verdict sees it.

    Attributes:
        name: of the variant.
        runs: by seed, the scored validation rows.
        cost: `operations_per_token` and `parameters` decide what is cheaper; `latency_p50_ms` and `latency_spread_ms`
            are told; other entries are carried along.
        failed_gates: names of gates it did not pass; with any, it cannot win.
    """

    name: str
    runs: Mapping[int, Scored]
    cost: Mapping[str, float] = field(default_factory=dict)
    failed_gates: tuple[str, ...] = ()

    @property
    def fixed_cost(self) -> tuple[float, float]:
        """Operations per token and parameters; what is not known counts as infinite."""
        return self.cost.get(OPERATIONS, float("inf")), self.cost.get(PARAMETERS, float("inf"))


@dataclass(frozen=True)
class Verdict:
    """What the evidence says.

    Attributes:
        winner: the variant to ship; None when none is above the floor, through its gates and within `max_loss`.
        tie: several variants cannot be told apart from the best, which is no proof that they are equal; the winner is
            the cheapest of them.
        best: highest mean macro-F1 among those that may win; None when none may.
        strongest: highest mean macro-F1 of all, those that may not win too; of equals the cheapest.
        tied: all that cannot be told apart from the best, itself included, cheapest first.
        excluded: why a variant may not win, by name.
        scores: table by variant: f1_macro, f1_macro_sd, average_precision, average_precision_sd, seeds, rows.
        pairs: table by pair: first, second, difference, low, high, p_value, p_holm, significant, average_precision
            difference with its bounds and p, McNemar's counts and p, sign-flip p, seeds_agree, rows_needed, and
            more_seeds: that many rows would do it only with more seeds.
        reference: the variant that losses are counted from; None when no variant may win.
        confidence: with which the bounds of `losses` hold together.
        losses: table by variant that may win: loss of macro-F1 against the reference, and at_most, its upper bound.
        sentences: the verdict in plain words, one thought each.
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
        """Macro-F1 that the winner loses at most against the reference; NaN without a winner."""
        return float(self.losses["at_most"][self.winner]) if self.winner else float("nan")
