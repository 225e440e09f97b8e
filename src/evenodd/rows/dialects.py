"""Detects the delimiter and the quoting of a delimited file, and whether its first line is a header.

Delimiters are comma, semicolon, tab and bar. Fields may be quoted with `"`, with the quotes inside them doubled or
escaped by a backslash; in files of other tools a quote is an ordinary character. The dialect under which most rows have
as many fields as the header is chosen. Excel's first line `sep=;` is obeyed.
"""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

DELIMITERS = (",", ";", "\t", "|")
NAMES = {",": "comma", ";": "semicolon", "\t": "tab", "|": "bar", "\x1f": "none"}
ONE_COLUMN = "\x1f"
SEPARATOR_LINE = re.compile(r'^"?sep=([,;\t|])"?\r?\n?$', re.IGNORECASE)
ENCLOSED_SHARE = 0.8
REPEATED_SHARE = 0.8
LONG_NAME = 40
Quotes = Literal["doubled", "escaped", "none"]
QUOTE_REMARKS = {"doubled": "", "escaped": "quotes are escaped by a backslash", "none": "quotes are ordinary signs"}
UNQUOTED_SHARE = 0.99
"""Share of rows that must have the header's width before quotes are read as ordinary characters."""


@dataclass(frozen=True)
class Dialect:
    """How a line is divided into fields.

    Attributes:
        delimiter: character between fields.
        quotes: how quotes inside a quoted field are written; `none`: fields are not quoted.
        spaced: whether blanks after a delimiter are skipped.
        skip: number of lines before the header.
    """

    delimiter: str
    quotes: Quotes = "doubled"
    spaced: bool = False
    skip: int = 0

    def records(self, lines: Iterable[str]) -> Any:
        """A `csv.reader` over the lines."""
        return csv.reader(
            lines,
            delimiter=self.delimiter,
            quoting=csv.QUOTE_NONE if self.quotes == "none" else csv.QUOTE_MINIMAL,
            doublequote=self.quotes == "doubled",
            escapechar="\\" if self.quotes == "escaped" else None,
            skipinitialspace=self.spaced,
            strict=True,
        )

    @property
    def remark(self) -> str:
        """Unusual properties, for the user; empty if there are none."""
        delimiter = "" if self.delimiter in (",", ONE_COLUMN) else f"fields are divided by {NAMES[self.delimiter]}"
        return ", ".join(part for part in (delimiter, QUOTE_REMARKS[self.quotes]) if part)


@dataclass(frozen=True)
class _Reading:
    """How well a dialect fits a file.

    Attributes:
        width: number of fields in the header.
        share: share of the rows with that number of fields.
        merged: number of rows that span several lines.
        spaced: number of rows with a blank before a field's quote.
    """

    dialect: Dialect
    width: int
    share: float
    merged: int
    spaced: int


def find_dialect(head: Sequence[str], first: str, *, whole: bool) -> Dialect:
    """Detects the dialect of a file.

    Args:
        head: first lines of the file.
        first: the delimiter that the file's name suggests; it wins if two fit equally.
        whole: whether `head` is the whole file; otherwise its last row may be cut off.
    """
    skip, said = 0, None
    if head and (match := SEPARATOR_LINE.match(head[0])):
        skip, said = 1, match[1]
    lines = head[skip:]
    order = (said,) if said else (first, *(sign for sign in DELIMITERS if sign != first))
    readings = [reading for sign in order if (reading := _best_quotes(lines, sign, skip, whole)).width > 1]
    if not readings:
        return _best_quotes(lines, said or ONE_COLUMN, skip, whole).dialect
    return max(readings, key=lambda reading: reading.share).dialect


def _best_quotes(lines: Sequence[str], delimiter: str, skip: int, whole: bool) -> _Reading:
    """The usual quoting unless another fits better."""
    usual = _read(lines, Dialect(delimiter, skip=skip), whole)
    if usual.spaced:
        spaced = _read(lines, Dialect(delimiter, spaced=True, skip=skip), whole)
        usual = max(usual, spaced, key=lambda reading: (reading.share, -reading.spaced))
    if usual.share == 1 and not usual.merged:
        return usual
    others: list[Dialect] = []
    if any('\\"' in line for line in lines):
        others.append(Dialect(delimiter, "escaped", skip=skip))
    if not _are_enclosed(lines, delimiter):
        others.append(Dialect(delimiter, "none", skip=skip))
    best = usual
    for other in (_read(lines, dialect, whole) for dialect in others):
        unquoted = other.dialect.quotes == "none"
        fits = other.width > (delimiter != ONE_COLUMN) and not (unquoted and other.share < UNQUOTED_SHARE)
        if fits and (other.share, -other.merged) > (best.share, -best.merged):
            best = other
    return best


def _read(lines: Sequence[str], dialect: Dialect, whole: bool) -> _Reading:
    records = dialect.records(lines)
    width = good = rows = merged = spaced = 0
    while True:
        start = records.line_num
        try:
            fields = next(records)
        except StopIteration:
            break
        except csv.Error:
            rows += whole or records.line_num < len(lines)
            continue
        if not fields:
            continue
        if not width:
            width = len(fields)
            continue
        rows, good = rows + 1, good + (len(fields) == width)
        merged += records.line_num - start > 1
        spaced += any(field[:1] == " " and field.lstrip()[:1] == '"' for field in fields)
    return _Reading(dialect, width, good / rows if rows else 1.0, merged, spaced)


def _are_enclosed(lines: Sequence[str], delimiter: str) -> bool:
    """Whether most fields that begin with a quote also end with one."""
    fields = [field.strip() for line in lines for field in line.split(delimiter)]
    begun = [field for field in fields if field.startswith('"')]
    return sum(len(field) > 1 and field.endswith('"') for field in begun) > ENCLOSED_SHARE * len(begun)


class RepeatedValues:
    """Values that repeat in a column, as labels do. They show whether a doubtful line is a row."""

    def __init__(self, header: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
        self.width = len(header)
        columns = list(zip(*(row for row in rows if len(row) == self.width), strict=True))
        self.values: dict[int, set[str]] = {}
        for place, column in enumerate(columns):
            often = {value: many for value, many in Counter(map(str.strip, column)).items() if many > 1 and value}
            if often and sum(often.values()) >= REPEATED_SHARE * len(column):
                self.values[place] = set(often)

    def is_row(self, line: str, delimiter: str) -> bool:
        """Whether a single line is a row with one of those values in the column."""
        fields = [field.strip().strip('"') for field in line.rstrip("\r\n").split(delimiter)]
        return len(fields) == self.width and any(fields[place] in known for place, known in self.values.items())

    def swallows(self, lines: Sequence[str], delimiter: str) -> bool:
        """Whether the lines of one row are several rows after an unclosed quote."""
        rows = sum(self.is_row(line, delimiter) for line in lines)
        return rows > 1 and rows >= len(lines) / 2

    def doubt(self, header: Sequence[str]) -> str:
        """Reason why the first line may be a data row instead of a header; empty if there is none."""
        for place, known in self.values.items():
            if header[place].strip() in known:
                return f"{header[place].strip()!r} in the first line is also a value further down"
        long = next((name for name in header if len(name) > LONG_NAME), None)
        return f"{long[:LONG_NAME]!r}… in the first line is not a name" if long else ""


def take_head(lines: Iterator[str], rows: int, size: int) -> tuple[list[str], bool]:
    """The first lines, up to limits of lines and characters, and whether these are all."""
    head: list[str] = []
    taken = 0
    for line in lines:
        if len(head) >= rows or taken >= size:
            return head, False
        head.append(line)
        taken += len(line)
    return head, True
