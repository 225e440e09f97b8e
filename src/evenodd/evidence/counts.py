"""Tests whether two published counts of correct answers differ, and how many rows would show it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.stats import fisher_exact, norm

UNTELLABLE_ROWS = 1_000_000


def rows_in_words(rows: float, seeds: int = 0) -> str:
    """The number of rows needed to tell two variants apart, as the end of a sentence.

    Args:
        rows: infinity if there is no difference at all.
        seeds: number of seeds that does not suffice; 0: the seeds suffice.
    """
    if rows > UNTELLABLE_ROWS:
        return "it would take over a million rows to tell them apart"
    more = f" and more than {seeds} seed{'s' if seeds > 1 else ''}" if seeds else ""
    return f"it would take about {int(float(f'{rows:.2g}')):,} rows{more} to tell them apart"


@dataclass(frozen=True)
class CountComparison:
    """Comparison of two counts of correct answers on equally many rows, without the rows themselves."""

    p_value: float
    least_p_value: float
    low: float
    high: float
    rows_needed: float
    text: str


def compare_counts(right_first: int, right_second: int, rows: int, *, alpha: float = 0.05) -> CountComparison:
    """Tests whether two counts of correct answers differ, for published figures without their rows.

    Args:
        right_first, right_second: correct answers, 0..rows.
        rows: number of rows that both were measured on.
        alpha: two-sided level.

    Returns:
        p_value: Fisher's exact test, rows unpaired. least_p_value: McNemar's test with all differences in one
        direction, the smallest p that any pairing can give: above alpha, it is a tie for any rows.
        low, high: Newcombe's interval of the difference in accuracy. rows_needed: unpaired, at a power of .8.

    Source: Newcombe 1998, method 10.
    """
    if not (0 <= right_first <= rows and 0 <= right_second <= rows and rows > 0):
        raise ValueError(f"right {right_first} and {right_second} of {rows}: counts lie in 0..rows, rows above 0.")
    table = [[right_first, rows - right_first], [right_second, rows - right_second]]
    p_value = float(fisher_exact(table).pvalue)
    least = min(1.0, 2 * 0.5 ** abs(right_first - right_second))
    low, high = _newcombe(right_first / rows, right_second / rows, rows, float(norm.ppf(1 - alpha / 2)))
    needed = _unpaired_rows(right_first / rows, right_second / rows, alpha)
    called = "differ" if p_value < alpha else "are a tie"
    called += ", whichever rows they got right" if p_value >= alpha and least >= alpha else ""
    gap = 100 * (right_first - right_second) / rows
    text = (
        f"{right_first} and {right_second} right of {rows} {called}: the difference is {gap:+.1f} points, its "
        f"{100 * (1 - alpha):.3g} % interval {100 * low:+.1f} to {100 * high:+.1f} (Fisher's exact p {p_value:.2g})"
    )
    if p_value >= alpha:
        text += f"; {rows_in_words(needed)}"
    return CountComparison(p_value, least, low, high, needed, text + ".")


def _newcombe(first: float, second: float, rows: int, z: float) -> tuple[float, float]:
    """Interval of a difference of two proportions, from their Wilson intervals."""
    lows, highs = zip(*(_wilson(share, rows, z) for share in (first, second)), strict=True)
    gap = first - second
    low = gap - np.hypot(first - lows[0], highs[1] - second)
    high = gap + np.hypot(highs[0] - first, second - lows[1])
    return float(low), float(high)


def _wilson(share: float, rows: int, z: float) -> tuple[float, float]:
    centre, scale = share + z**2 / (2 * rows), 1 + z**2 / rows
    reach = z * np.sqrt(share * (1 - share) / rows + z**2 / (4 * rows**2))
    return float((centre - reach) / scale), float((centre + reach) / scale)


def _unpaired_rows(first: float, second: float, alpha: float, power: float = 0.8) -> float:
    reach = float(norm.ppf(1 - alpha / 2) + norm.ppf(power)) ** 2
    spread = first * (1 - first) + second * (1 - second)
    return float(np.ceil(reach * spread / (first - second) ** 2)) if first != second else float("inf")
