"""Counterexamples: training rows for what a forum does not teach, filled into templates of their own.

The templates and the phrases that fill them are the YAML files of this folder; `wording` reads them, `rows` fills them.
"""

from evenodd.rows.augment.rows import LABELS, WEIGHTS, counterexamples, group_terms, kind_counts
from evenodd.rows.augment.wording import wording

__all__ = ["LABELS", "WEIGHTS", "counterexamples", "group_terms", "kind_counts", "wording"]
