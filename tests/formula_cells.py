"""Cells that a spreadsheet may run, and cells that it must not be kept from reading; for each writer of CSV."""

from __future__ import annotations

# What hides a sign: joiner, word joiner, soft hyphen, controls, marks without a letter, fillers, white space.
HIDING = ("\u200d", "\u2060", "\u00ad", "\x01", "\x00", "\ufeff", "\u034f", "\ufe0f", "\u3164", "\u2800", "\u00a0", " ")
ARMED = (
    "=1+1",
    "+1+1",
    "-1+1",
    "@SUM(A1)",
    "\t=1",
    "\r=1",
    "\t1",
    " =1+1",
    "＝1+1",
    '=HYPERLINK("x")',
    "-٣+1",
    *(f"{sign}=1" for sign in HIDING),
    "".join(HIDING) + "@A1",
)
NUMBERS = ("-5", "+3.2", "-1e5", "-.5", "3.", "12")
HARMLESS = (*NUMBERS, "", "plain", "a=1", "(-5)", "' -1", "東京 = 1", "\u200d", "\u0301a-b", '"=1')
