"""The HTML report of a comparison: one self-contained, printable file with verdict, table, plots and tests."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import matplotlib
import pandas as pd
from matplotlib.figure import Figure

from evenodd.evidence.counts import compare_counts
from evenodd.evidence.verdict import Verdict
from evenodd.evidence.verdict_text import NO_DIFFERENCE
from evenodd.report.comparison_plots import plot_differences
from evenodd.report.render import render, render_part
from evenodd.report.table import ComparisonTable
from evenodd.report.tables import grid

SYNTHETIC = "Synthetic data: these rows were made from templates. The figures say nothing about real texts."
BROAD_INCHES = 8
SHOWN_TIES = 4
SHORT_TABLE = 12
PAIR_COLUMNS = {
    "first": "first",
    "second": "second",
    "difference": "macro-F1 difference",
    "low": "low",
    "high": "high",
    "p_holm": "p (Holm)",
    "average_precision": "average precision difference",
    "average_precision_p": "p",
    "only_first_right": "only first right",
    "only_second_right": "only second right",
    "mcnemar_p": "McNemar p",
    "sign_flip_p": "sign-flip p",
    "rows_needed": "rows needed",
}


@dataclass(frozen=True)
class Picture:
    """A figure with its alternative text and a caption."""

    figure: Figure
    alt: str
    caption: str = ""


@dataclass(frozen=True)
class Section:
    """A part of the report.

    Attributes:
        title: heading.
        paragraphs: plain text, escaped when written.
        pictures: figures with alternative text.
        tables: (caption, table); text columns wrap, numbers are rounded to three places.
    """

    title: str
    paragraphs: tuple[str, ...] = ()
    pictures: tuple[Picture, ...] = ()
    tables: tuple[tuple[str, pd.DataFrame], ...] = ()


@dataclass(frozen=True)
class Highlight:
    """A number of the first screen with its description."""

    value: str
    words: str


@dataclass(frozen=True)
class Report:
    """Content of the page.

    Attributes:
        title: page title.
        facts: shown beneath the title: data, digest, rows, encoder, seeds, date.
        table: the comparison.
        verdict: its sentences come first.
        sections: plots, behaviour, data, cost, in the given order.
        synthetic: whether to label the page as synthetic data.
        highlights: numbers of the first screen.
    """

    title: str
    facts: Mapping[str, str]
    table: ComparisonTable
    verdict: Verdict
    sections: Sequence[Section] = field(default_factory=tuple)
    synthetic: bool = False
    highlights: Sequence[Highlight] = ()


def write_report(path: Path, report: Report) -> Path:
    """Writes the page.

    Args:
        path: file to write; its folder is created.
        report: content of the page.

    Returns:
        The path.
    """
    page = render(
        "report.html",
        title=report.title,
        facts=report.facts,
        synthetic=SYNTHETIC if report.synthetic else "",
        verdict=_verdict(report.verdict.sentences),
        highlights=report.highlights,
        table=report.table,
        sections=[_shown(section) for section in (*report.sections, tests_section(report.verdict))],
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(page, encoding="utf-8")
    return path


def _verdict(sentences: Sequence[str]) -> dict[str, Any]:
    """Headline, reasons, and the sentences that find no difference, which are collapsed if there are many."""
    headline, *others = sentences
    ties = [sentence for sentence in others if NO_DIFFERENCE in sentence]
    folded = ties if len(ties) > SHOWN_TIES else []
    return {"headline": headline, "reasons": [each for each in others if each not in folded], "folded": folded}


def section_html(section: Section) -> str:
    """A section as HTML, with all external text escaped."""
    return render_part("section", _shown(section))


def _shown(section: Section) -> dict[str, Any]:
    """A section as input of the template; long tables are collapsed."""
    return {
        "title": section.title,
        "paragraphs": section.paragraphs,
        "tables": [(caption, grid(table), len(table) > SHORT_TABLE) for caption, table in section.tables],
        "pictures": [
            {
                "uri": figure_uri(picture.figure),
                "alt": picture.alt,
                "caption": picture.caption,
                "broad": picture.figure.get_size_inches()[0] > BROAD_INCHES,
            }
            for picture in section.pictures
        ],
    }


def figure_uri(figure: Figure) -> str:
    """The figure as an SVG data URI, the same bytes for the same figure."""
    buffer = io.BytesIO()
    with matplotlib.rc_context({"svg.hashsalt": "evenodd", "svg.fonttype": "path"}):
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    return f"data:image/svg+xml;base64,{base64.b64encode(buffer.getvalue()).decode('ascii')}"


def tests_section(verdict: Verdict) -> Section:
    """The section about tests: every pair with its tests, and why close counts are a tie."""
    example = compare_counts(451, 449, 500).text
    paragraphs = (
        "Each variant is scored on the same validation rows with the same seeds, so differences are paired. The "
        "interval (bootstrap, BCa) covers the sampling of rows and the variation over seeds. Its p-value decides, "
        "after Holm's correction for all pairs that may win, and the seeds must agree: the p-value of the sign-flip "
        "test has to be as small as the number of seeds allows (2/32 for five). Average precision and McNemar's exact "
        "test on the labels are reported and do not decide.",
        f"Why small gaps are ties, on published counts: {example}",
    )
    if verdict.pairs.empty or "p_holm" not in verdict.pairs:
        return Section("Tests", paragraphs)
    shown = verdict.pairs[list(PAIR_COLUMNS)].rename(columns=PAIR_COLUMNS)
    alt = "Dot plot of paired differences in macro-F1 with intervals; the table above holds the same figures."
    pictures = (Picture(plot_differences(verdict.pairs), alt),)
    return Section("Tests", paragraphs, pictures, (("Every pair, on validation", shown),))
