"""Counterexamples: training rows for what a forum does not teach, filled into templates of their own.

`hate` and `other` hold the templates by kind, `clauses` and `slurs` further ones, `phrases` what their slots take;
`rows` fills them.
"""

from evenodd.rows.augment.rows import HATE, OTHER, WEIGHTS, counterexamples, group_terms, kind_counts

__all__ = ["HATE", "OTHER", "WEIGHTS", "counterexamples", "group_terms", "kind_counts"]
