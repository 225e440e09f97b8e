"""The verdict in sentences: first the winner and its possible loss, then the reason, then the other variants."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from evenodd.evidence.counts import rows_in_words
from evenodd.evidence.pairs import pair_row
from evenodd.evidence.verdict import LATENCY, LATENCY_SPREAD, OPERATIONS, PARAMETERS, Candidate, Verdict
from evenodd.settings import EvidenceSettings

NO_DIFFERENCE = "no significant difference"
COST_WORDS = {OPERATIONS: "operations per token", PARAMETERS: "parameters"}


def sentences(verdict: Verdict, candidates: Sequence[Candidate], settings: EvidenceSettings) -> tuple[str, ...]:
    """The sentences of a verdict; the first is the headline."""
    if verdict.winner is None:
        return _no_winner(verdict.excluded)
    by_name = {c.name: c for c in candidates}
    seeds = int(verdict.scores["seeds"].iloc[0])
    lines = [_headline(verdict, by_name, seeds), _reason(verdict, by_name)]
    lines += [_tie_sentence(verdict, name, settings, seeds) for name in verdict.tied if name != verdict.best]
    worse = [name for name in by_name if name not in verdict.tied and name not in verdict.excluded]
    lines += [_worse_sentence(verdict, name) for name in worse]
    lines += [f"{name} may not ship: {reason}." for name, reason in verdict.excluded.items()]
    lines += _latency_sentence(candidates)
    if seeds == 1:
        lines.append(
            "One seed: the intervals cover the sampling of rows, not how much a repeated training would differ; "
            "-P seeds=5 measures that."
        )
    return tuple(lines)


def _no_winner(excluded: Mapping[str, str]) -> tuple[str, ...]:
    reasons = "; ".join(f"{name}: {reason}" for name, reason in excluded.items())
    return ("No winner: no variant may ship.", f"{reasons[0].upper()}{reasons[1:]}.")


def _headline(verdict: Verdict, by_name: Mapping[str, Candidate], seeds: int) -> str:
    """The winner with its score, its possible loss and its cost."""
    winner, reference = str(verdict.winner), str(verdict.reference)
    rows = int(verdict.scores["rows"].iloc[0])
    score = f"validation macro-F1 {_score(verdict, winner):.3f} on {rows:,} rows and {seeds} seed{'s'[: seeds > 1]}"
    loss = ""
    if winner != reference:
        level = f"{100 * verdict.confidence:.3g} % confidence"
        loss = f" It loses at most {verdict.may_lose:.3f} macro-F1 on validation against {reference}, with {level}."
    return f"{winner} ships: {score}.{loss}{_cost_words(by_name[winner], by_name[reference])}"


def _cost_words(candidate: Candidate, reference: Candidate) -> str:
    known = [key for key in COST_WORDS if key in candidate.cost]
    if not known:
        return ""
    own = " and ".join(f"{candidate.cost[key] / 1e6:.1f} M {COST_WORDS[key]}" for key in known)
    if reference is candidate or not all(key in reference.cost for key in known):
        return f" It costs {own}."
    other = " and ".join(f"{reference.cost[key] / 1e6:.1f} M" for key in known)
    return f" It costs {own}; {reference.name} {other}."


def _reason(verdict: Verdict, by_name: Mapping[str, Candidate]) -> str:
    """The reason for this winner."""
    winner = by_name[str(verdict.winner)]
    if len(verdict.scores) - len(verdict.excluded) == 1:
        return "No other variant may ship."
    if not verdict.tie:
        return "Every other variant that may ship is significantly worse."
    others = [name for name in verdict.tied if name != winner.name]
    reason = (
        f"{winner.name} is the cheapest of {_listed(sorted(verdict.tied))}, which do not differ significantly; that "
        "does not prove that they are equal."
    )
    alike = [name for name in others if by_name[name].fixed_cost == winner.fixed_cost]
    if alike:
        reason += f" {_listed(sorted(alike))} cost{'s'[: len(alike) == 1]} the same and did not score higher."
    return reason


def _tie_sentence(verdict: Verdict, name: str, settings: EvidenceSettings, seeds: int) -> str:
    row = pair_row(verdict.pairs, name, str(verdict.best))
    sign = 1 if row["first"] == verdict.best else -1
    low, high = sorted((sign * row["low"], sign * row["high"]))
    level = 100 * (1 - settings.alpha)
    split = "" if row["seeds_agree"] else ", and the seeds do not agree on which is better"
    return (
        f"On validation {verdict.best} scores {sign * row['difference']:+.3f} macro-F1 against {name}, with a "
        f"{level:.3g} % interval of {low:+.3f} to {high:+.3f} (Holm-corrected {_p_words(row['p_holm'])}): "
        f"{NO_DIFFERENCE}{split}; {rows_in_words(float(row['rows_needed']), seeds if row['more_seeds'] else 0)}."
    )


def _worse_sentence(verdict: Verdict, name: str) -> str:
    row = pair_row(verdict.pairs, name, str(verdict.best))
    gap = abs(float(row["difference"]))
    return (
        f"{name} is significantly worse than {verdict.best} on validation, by {gap:.3f} macro-F1 "
        f"({min(abs(row['low']), abs(row['high'])):.3f} to {max(abs(row['low']), abs(row['high'])):.3f}; "
        f"Holm-corrected {_p_words(row['p_holm'])})."
    )


def _latency_sentence(candidates: Sequence[Candidate]) -> list[str]:
    """The measured latencies; empty if there are none."""
    words = []
    for candidate in candidates:
        if LATENCY in candidate.cost:
            spread = candidate.cost.get(LATENCY_SPREAD)
            around = "" if spread is None else f" ± {spread:.2g}"
            words.append(f"{candidate.name} {candidate.cost[LATENCY]:.3g}{around} ms")
    return [f"Measured latency of one text, which decides nothing: {', '.join(words)}."] if words else []


def _score(verdict: Verdict, name: str) -> float:
    return float(verdict.scores["f1_macro"].loc[name])


def _p_words(value: float) -> str:
    return f"p {value:.2g}" if value >= 0.001 else "p below .001"


def _listed(names: Sequence[str]) -> str:
    return " and ".join([", ".join(names[:-1]), names[-1]]) if len(names) > 1 else names[0]
