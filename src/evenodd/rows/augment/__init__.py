"""Counterexamples: training rows from templates, for distinctions that a forum does not teach.

The templates and their phrases are in the YAML files of this folder; `wording` reads them, `rows` fills them.
"""

from evenodd.rows.augment.rows import LABELS, WEIGHTS, counterexamples, group_terms, kind_counts
from evenodd.rows.augment.wording import wording

__all__ = ["LABELS", "WEIGHTS", "counterexamples", "group_terms", "kind_counts", "wording"]
