"""Cells of CSV files that no spreadsheet runs.

The rule of `serving/page/csv.js`, for what is written here; a test holds both against the same cells.
"""

from __future__ import annotations

import re
import unicodedata

SIGNS = frozenset("=+-@\uff1d\uff0b\uff0d\uff20")
BREAKS = ("\t", "\r", "\n")
BLANK_LETTERS = frozenset("\u115f\u1160\u3164\uffa0\u2800")
"""Fillers and the empty braille cell: letters and a symbol by category, and nothing to be seen."""
PLAIN_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)(e[+-]?[0-9]+)?", re.IGNORECASE)


def disarm(text: str) -> str:
    """The cell with an apostrophe before it where a spreadsheet could take it for a formula; numbers stay numbers.

    Spreadsheets skip signs that show nothing before they look for one of theirs: white space, controls, joiners, soft
    hyphens, marks without a letter, fillers.
    """
    if PLAIN_NUMBER.fullmatch(text):
        return text
    first = next((sign for sign in text if not _shows_nothing(sign)), "")
    return f"'{text}" if (first in SIGNS and first) or text.startswith(BREAKS) else text


def _shows_nothing(sign: str) -> bool:
    return unicodedata.category(sign)[0] in "CZM" or sign in BLANK_LETTERS
