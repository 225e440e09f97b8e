"""The metrics of a run: which figures they are, their order, and their names in the store.

MLflow sorts metrics and their charts by name. In the store the groups are numbered, `1_test/f1_macro`, so that they
are listed in reading order; everywhere else the name is `test/f1_macro`. Its comparison of runs shows seven metrics
without scrolling: average precision and macro-F1 of test and validation, latency, operations and parameters.
"""

from __future__ import annotations

import re

GROUPS = ("test", "validation", "cost", "behaviour", "decision", "floor", "slices", "train")
"""Groups of metrics in the store, in reading order."""
SCORES = ("f1_macro", "average_precision")
DECISION = {
    f"test/{name}": f"decision/test_{name.removeprefix('decision_')}"
    for name in ("accuracy", "decision_precision", "decision_recall", "review_share", "automated_accuracy", "ece")
}
"""Figures of the test split that are stored in a separate group."""
RENAMED = DECISION | {"cost/latency_spread_ms": "cost/spread_of_latency_ms"}
"""Figures with another name in the store."""
METRICS = (
    *(f"{split}/{name}" for split in ("test", "validation") for name in SCORES),
    *("cost/latency_p50_ms", "cost/latency_spread_ms", "cost/parameters", "cost/operations_per_token"),
    *("cost/trainable_parameters", "cost/train_seconds"),
    *(f"behaviour/{name}" for name in ("balanced_accuracy", "recall", "specificity", "group_gap", "direct")),
    "behaviour/neutral_mention",
    *DECISION,
    *("floor/tfidf_f1_macro", "floor/tfidf_average_precision"),
    *("slices/max_gap", "slices/max_false_positive_rate"),
    "train/loss",
)
"""The figures of a fit that are metrics, 40 at most with the curves; the others are in an artifact."""
CURVES = {
    "train/loss": "train/loss_by_step",
    "train/learning_rate": "train/learning_rate_by_step",
    "validation/f1_macro": "train/validation_f1_macro_by_step",
    "validation/average_precision": "train/validation_average_precision_by_step",
}
"""Metrics over the steps of a fit, and their names, which differ from those of the final figures."""
_CALLED = {name: figure for figure, name in RENAMED.items()}
_NUMBER = re.compile(r"^\d_(?=[a-z]+/)")


def stored(figure: str) -> str:
    """The name in the tracking store: with the number of its group, without characters that the store refuses."""
    name = RENAMED.get(figure, figure)
    group, slash, _ = name.partition("/")
    number = f"{GROUPS.index(group) + 1}_" if slash and group in GROUPS else ""
    return number + "".join(c if c.isalnum() or c in "_-./ " else "_" for c in name)


def called(name: str) -> str:
    """The name everywhere else."""
    plain = _NUMBER.sub("", name)
    return _CALLED.get(plain, plain)
