"""One HTML file per comparison: verdict, table, plots, tests; opens from disk, needs nothing from outside, prints."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from string import Template

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from evenodd.evidence.counts import compare_counts
from evenodd.evidence.verdict import Verdict
from evenodd.evidence.verdict_text import NO_DIFFERENCE
from evenodd.report.comparison_plots import plot_differences
from evenodd.report.table import ComparisonTable

SYNTHETIC = "Synthetic data: these rows were made from templates. The figures say nothing about real texts."
BROAD_INCHES = 8
LONG_TEXT = 24
SHOWN_TIES = 4
LARGE = 10
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
    """A figure, what it shows for readers who do not see it, and a line beneath."""

    figure: Figure
    alt: str
    caption: str = ""


@dataclass(frozen=True)
class Section:
    """A part of the report.

    Attributes:
        title: heading.
        paragraphs: plain text, escaped when written.
        pictures: figures with their words.
        tables: (caption, table); text columns wrap, numbers are rounded to three places.
    """

    title: str
    paragraphs: tuple[str, ...] = ()
    pictures: tuple[Picture, ...] = ()
    tables: tuple[tuple[str, pd.DataFrame], ...] = ()


@dataclass(frozen=True)
class Report:
    """What the page says.

    Attributes:
        title: of the page.
        facts: shown beneath the title: data, digest, rows, encoder, seeds, date.
        table: the comparison.
        verdict: its sentences stand first.
        sections: plots, behaviour, data, cost, in the order given.
        synthetic: label the page plainly.
    """

    title: str
    facts: Mapping[str, str]
    table: ComparisonTable
    verdict: Verdict
    sections: Sequence[Section] = field(default_factory=tuple)
    synthetic: bool = False


def write_report(path: Path, report: Report) -> Path:
    """Write the page.

    Args:
        path: file to write; its folder is made.
        report: what to say.

    Returns:
        The path.
    """
    template = Template(files("evenodd.report").joinpath("report.html").read_text(encoding="utf-8"))
    sections = [
        _table_section(report),
        *map(section_html, report.sections),
        section_html(tests_section(report.verdict)),
    ]
    page = template.substitute(
        title=html.escape(report.title),
        facts=" · ".join(f"{html.escape(name)} {html.escape(value)}" for name, value in report.facts.items()),
        badge=f'<p class="synthetic">{html.escape(SYNTHETIC)}</p>' if report.synthetic else "",
        verdict=_verdict_html(report.verdict.sentences),
        body="\n".join(sections),
        footer="The winner is chosen on validation; test figures are reported once and decide nothing.",
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(page, encoding="utf-8")
    return path


def _paragraph(text: str) -> str:
    return f"<p>{html.escape(text)}</p>"


def _verdict_html(sentences: Sequence[str]) -> str:
    """The sentences, those that find no difference folded away where they are many."""
    ties = [sentence for sentence in sentences if NO_DIFFERENCE in sentence]
    if len(ties) <= SHOWN_TIES:
        return "\n".join(_paragraph(sentence) for sentence in sentences)
    told = "\n".join(_paragraph(sentence) for sentence in sentences if sentence not in ties)
    folded = "\n".join(_paragraph(sentence) for sentence in ties)
    summary = f"{len(ties)} pairs without a significant difference"
    return f"{told}\n<details><summary>{summary}</summary>\n{folded}\n</details>"


def _table_section(report: Report) -> str:
    return f'<section>\n<h2>Comparison</h2>\n<div class="wide">{report.table.to_html()}</div>\n</section>'


def section_html(section: Section) -> str:
    """A section as HTML, everything from outside escaped."""
    parts = [f"<section>\n<h2>{html.escape(section.title)}</h2>", *map(_paragraph, section.paragraphs)]
    parts += [_table_block(table, caption) for caption, table in section.tables]
    if section.pictures:
        parts += ['<div class="pictures">', *map(_picture_html, section.pictures), "</div>"]
    return "\n".join([*parts, "</section>"])


def _table_block(table: pd.DataFrame, caption: str) -> str:
    """A table that scrolls sideways; a long one opens on request."""
    if len(table) <= SHORT_TABLE:
        return f'<div class="wide">{table_html(table, caption)}</div>'
    summary = f"<summary>{html.escape(caption)} ({len(table):,} rows)</summary>"
    return f'<details>{summary}<div class="wide">{table_html(table)}</div></details>'


def _picture_html(picture: Picture) -> str:
    caption = f"<figcaption>{html.escape(picture.caption)}</figcaption>" if picture.caption else ""
    kind = ' class="broad"' if picture.figure.get_size_inches()[0] > BROAD_INCHES else ""
    return f'<figure{kind}><img src="{figure_uri(picture.figure)}" alt="{html.escape(picture.alt)}">{caption}</figure>'


def figure_uri(figure: Figure) -> str:
    """The figure as an SVG data URI, the same bytes for the same figure."""
    buffer = io.BytesIO()
    with matplotlib.rc_context({"svg.hashsalt": "evenodd", "svg.fonttype": "path"}):
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    return f"data:image/svg+xml;base64,{base64.b64encode(buffer.getvalue()).decode('ascii')}"


def table_html(table: pd.DataFrame, caption: str = "") -> str:
    """A table as HTML: numbers to the right with three places, texts to the left and wrapped."""
    columns = [table.iloc[:, i] for i in range(table.shape[1])]
    kinds = [_column_kind(column) for column in columns]
    texts = [_column_texts(column, kind) for column, kind in zip(columns, kinds, strict=True)]
    titles = zip(table.columns, kinds, strict=True)
    head = "".join(f'<th scope="col"{kind}>{html.escape(str(name))}</th>' for name, kind in titles)
    lines = []
    for first, *rest in zip(*texts, strict=True):
        cells = "".join(f"<td{kind}>{text}</td>" for text, kind in zip(rest, kinds[1:], strict=True))
        lines.append(f'<tr><th scope="row"{kinds[0]}>{first}</th>{cells}</tr>')
    words = f"<caption>{html.escape(caption)}</caption>" if caption else ""
    body = "\n".join(lines)
    return f"<table>{words}\n<thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody></table>"


def _column_kind(column: pd.Series) -> str:
    """Class attribute of a column: none for numbers, `name` for short texts, `words` for long ones."""
    if pd.api.types.is_numeric_dtype(column.dtype) and not pd.api.types.is_bool_dtype(column.dtype):
        return ""
    longest = max((len(str(value)) for value in column), default=0)
    return ' class="words"' if longest > LONG_TEXT else ' class="name"'


def _column_texts(column: pd.Series, kind: str) -> list[str]:
    """Escaped texts of a column; its numbers all have the same places."""
    if kind:
        return [html.escape(str(value)) for value in column]
    values = column.to_numpy(dtype=float)
    known = values[np.isfinite(values)]
    whole = bool((known == np.round(known)).all())
    large = bool(len(known) and np.abs(known).max() >= LARGE)
    return [number_text(value, 0 if whole else 1 if large else 3) for value in values]


def number_text(value: float, places: int = 3) -> str:
    """A number for people: separators, so many places, a dash for NaN; one too small for them is not written as 0."""
    if np.isnan(value):
        return "–"
    if np.isinf(value):
        return "∞" if value > 0 else "-∞"
    text = f"{value:,.{places}f}"
    return f"{value:.1e}" if value != 0 and float(text.replace(",", "")) == 0 else text


def tests_section(verdict: Verdict) -> Section:
    """How the variants were told apart: every pair with its tests, and why close counts are a tie."""
    example = compare_counts(451, 449, 500).text
    paragraphs = (
        "Each variant is scored on the same validation rows with the same seeds, so differences are paired. The "
        "interval (bootstrap, BCa) covers which rows were drawn and how the seeds turned out. Its p-value decides, "
        "after Holm's correction for all pairs that may win, and the seeds must agree: the sign-flip test has to be as "
        "small as so many seeds allow (2/32 for five). Average precision and McNemar's exact test on the labels stand "
        "beside them and do not decide.",
        f"Why small gaps are ties, on published counts: {example}",
    )
    if verdict.pairs.empty or "p_holm" not in verdict.pairs:
        return Section("Tests", paragraphs)
    shown = verdict.pairs[list(PAIR_COLUMNS)].rename(columns=PAIR_COLUMNS)
    alt = "Dot plot of paired differences in macro-F1 with intervals; the table above holds the same figures."
    pictures = (Picture(plot_differences(verdict.pairs), alt),)
    return Section("Tests", paragraphs, pictures, (("Every pair, on validation", shown),))
