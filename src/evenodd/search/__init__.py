"""Hyperparameter search: search spaces and the Optuna study, which several workers can share."""

from evenodd.search.confirm import GIVEN, confirmations, confirmed_means, finalists, keep_confirmation
from evenodd.search.space import Space, check_objective, search_space
from evenodd.search.storage import shared_url
from evenodd.search.study import (
    FAULTS,
    Evaluate,
    Pruned,
    Report,
    best_trial,
    best_yaml,
    check_open,
    enqueue_given,
    fail_interrupted,
    given_trial,
    is_running,
    open_study,
    run_trials,
    study_name,
    trials_left,
    trials_table,
)

__all__ = [
    "FAULTS",
    "GIVEN",
    "Evaluate",
    "Pruned",
    "Report",
    "Space",
    "best_trial",
    "best_yaml",
    "check_objective",
    "check_open",
    "confirmations",
    "confirmed_means",
    "enqueue_given",
    "fail_interrupted",
    "finalists",
    "given_trial",
    "is_running",
    "keep_confirmation",
    "open_study",
    "run_trials",
    "search_space",
    "shared_url",
    "study_name",
    "trials_left",
    "trials_table",
]
