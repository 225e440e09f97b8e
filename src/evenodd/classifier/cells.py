"""Protects cells of CSV files from being run as formulas by spreadsheets.

It applies the same rule as `serving/page/csv.js`; a test checks both with the same cells.
"""

from __future__ import annotations

import re
import unicodedata

SIGNS = frozenset("=+-@\uff1d\uff0b\uff0d\uff20")
BREAKS = ("\t", "\r", "\n")
BLANK_LETTERS = frozenset("\u115f\u1160\u3164\uffa0\u2800")
"""Invisible characters that are letters or symbols by category: fillers and the empty braille cell."""
PLAIN_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)(e[+-]?[0-9]+)?", re.IGNORECASE)


def disarm(text: str) -> str:
    """Prefixes a cell with an apostrophe if a spreadsheet could read it as a formula; numbers are not changed.

    Spreadsheets skip leading invisible characters before they look for a formula: white space, controls, joiners, soft
    hyphens, marks without a letter, fillers.
    """
    if PLAIN_NUMBER.fullmatch(text):
        return text
    first = next((sign for sign in text if not _shows_nothing(sign)), "")
    return f"'{text}" if (first in SIGNS and first) or text.startswith(BREAKS) else text


def _shows_nothing(sign: str) -> bool:
    return unicodedata.category(sign)[0] in "CZM" or sign in BLANK_LETTERS
