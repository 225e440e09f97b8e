"""The first screen of the report: the winner's score, its possible loss and its cost."""

from __future__ import annotations

import pandas as pd

from evenodd.evidence.verdict import Verdict
from evenodd.report.page import Highlight

OPERATIONS, PARAMETERS, LATENCY = "cost/operations_per_token", "cost/parameters", "cost/latency_p50_ms"


def highlights(verdict: Verdict, runs: pd.DataFrame) -> tuple[Highlight, ...]:
    """The winner's figures; empty if no variant may ship.

    Args:
        verdict: verdict on the runs.
        runs: one row per run: `variant` and a column per metric.
    """
    if verdict.winner is None:
        return ()
    means = runs.groupby("variant").mean(numeric_only=True)
    own, other = means.loc[verdict.winner], means.loc[str(verdict.reference)]
    shown = [
        Highlight(verdict.winner, "ships"),
        Highlight(f"{verdict.scores['f1_macro'].loc[verdict.winner]:.3f}", "macro-F1 on validation"),
        Highlight(f"{own['test/f1_macro']:.3f}", "macro-F1 on test"),
    ]
    if verdict.winner != verdict.reference:
        level = f"with {verdict.confidence:.0%} confidence"
        words = f"largest loss of macro-F1 on validation against {verdict.reference}, {level}"
        shown.append(Highlight(f"{verdict.may_lose:.3f}", words))
    for key, words in ((OPERATIONS, "operations per token"), (PARAMETERS, "parameters")):
        if key in means and own[key] == own[key]:
            share = f", {own[key] / other[key]:.0%} of {verdict.reference}'s" if own.name != other.name else ""
            shown.append(Highlight(f"{own[key] / 1e6:.1f} M", f"{words}{share}"))
    if LATENCY in means and own[LATENCY] == own[LATENCY]:
        shown.append(Highlight(f"{own[LATENCY]:.1f} ms", "for one text, measured on one thread"))
    return tuple(shown)
