"""The choice of the winner: the cheapest variant that is not significantly worse than the best, and its possible loss.

Only validation is used. Macro-F1 decides, by its paired interval over rows and seeds with Holm's correction. The seeds
must agree too: the p-value of the sign-flip test has to be below alpha, or as small as the number of seeds allows.
Average precision and McNemar's test are only reported. Cost is measured by figures that do not vary from run to run:
operations per token, then parameters. Of variants with equal cost, the one with the highest macro-F1 ships. Measured
latency is reported and decides nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pandas as pd

from evenodd.evidence.pairs import compare_pairs, correct_pairs, loss_bounds, pair_row
from evenodd.evidence.resampling import align
from evenodd.evidence.verdict import Candidate, Verdict
from evenodd.evidence.verdict_text import sentences
from evenodd.settings import EvidenceSettings


def choose_winner(
    candidates: Sequence[Candidate],
    settings: EvidenceSettings,
    *,
    floor: float = 0.0,
    positive: int | None = None,
    reference: str = "teacher",
) -> Verdict:
    """Compares variants on validation and selects the one to ship.

    Args:
        candidates: at least one; rows are paired by seed and row id.
        settings: alpha, bootstrap_samples and max_loss.
        floor: highest validation macro-F1 of the floors; a variant that does not exceed it cannot win.
        positive: index of the label for average precision; None: the mean over all labels.
        reference: the variant that losses are measured against; if it is not a candidate, the best variant is used.

    Raises:
        ValueError: there are no candidates, a name repeats, or rows cannot be paired (see `align`).
    """
    names = [c.name for c in candidates]
    if len(set(names)) != len(names):
        raise ValueError(f"candidates={names}: name every variant once.")
    tested = compare_pairs(align({c.name: c.runs for c in candidates}), settings, positive=positive)
    scores, excluded = tested.scores, _excluded(candidates, tested.scores, floor)
    losses = pd.DataFrame(columns=["loss", "at_most"])
    eligible = [c.name for c in candidates if c.name not in excluded]
    held_against = reference if reference in names else _best(scores, eligible)
    if held_against:
        losses = loss_bounds(tested, eligible, held_against, settings.alpha)
        excluded |= _loses_too_much(losses, held_against, settings.max_loss)
    eligible = [name for name in eligible if name not in excluded]
    pairs = correct_pairs(tested.pairs, set(eligible), settings.alpha)
    best = _best(scores, eligible)
    left = [c for c in candidates if c.name in eligible and not _worse(pairs, c.name, str(best))]
    tied = tuple(c.name for c in sorted(left, key=lambda c: (*c.fixed_cost, -_score(scores, c.name), c.name)))
    winner = tied[0] if tied else None
    strongest = min(candidates, key=lambda c: (-_score(scores, c.name), *c.fixed_cost, c.name)).name
    verdict = Verdict(
        winner, len(tied) > 1, best, strongest, tied, excluded, scores, pairs, held_against, 1 - settings.alpha, losses
    )
    return replace(verdict, sentences=sentences(verdict, candidates, settings))


def _best(scores: pd.DataFrame, names: Sequence[str]) -> str | None:
    return str(scores.loc[list(names), "f1_macro"].idxmax()) if names else None


def _score(scores: pd.DataFrame, name: str) -> float:
    return float(scores["f1_macro"].loc[name])


def _excluded(candidates: Sequence[Candidate], scores: pd.DataFrame, floor: float) -> dict[str, str]:
    reasons = {}
    for candidate in candidates:
        score = _score(scores, candidate.name)
        if not score > floor:
            reasons[candidate.name] = f"validation macro-F1 {score:.3f} does not exceed the floor {floor:.3f}"
        elif candidate.failed_gates:
            reasons[candidate.name] = f"gates not passed: {', '.join(candidate.failed_gates)}"
    return reasons


def _loses_too_much(losses: pd.DataFrame, reference: str, most: float | None) -> dict[str, str]:
    """Variants whose loss may exceed `max_loss`, with the reason; empty if `max_loss` is not set."""
    if most is None:
        return {}
    words = f"macro-F1 on validation against {reference}, and evidence.max_loss={most:g}"
    too_much = losses[losses["at_most"] > most]
    return {str(name): f"it may lose up to {bound:.3f} {words}" for name, bound in too_much["at_most"].items()}


def _worse(pairs: pd.DataFrame, name: str, best: str) -> bool:
    """Whether a variant is significantly worse than the best one."""
    return name != best and bool(pair_row(pairs, name, best)["significant"])
