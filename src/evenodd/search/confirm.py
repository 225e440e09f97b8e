"""Confirmation of the best trials: they are fitted again with seeds that were not used to select them.

The best of many trials on one seed owes part of its score to that seed: on a forum corpus, settings that led by .010
macro-F1 with the seed of the search trailed by .007 over three seeds.
"""

from __future__ import annotations

import statistics

import optuna
from optuna.trial import FrozenTrial, TrialState

FINALISTS = 2
GIVEN = "given"
PREFIX = "confirmed"


def finalists(study: optuna.Study) -> list[FrozenTrial]:
    """The two best completed trials and the one with the given settings; empty if that one is the best.

    Args:
        study: has macro-F1 as its only objective.
    """
    completed = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    ranked = sorted(completed, key=lambda trial: -trial.values[0])
    given = [trial for trial in ranked if trial.user_attrs.get(GIVEN)]
    if ranked[:1] == given[:1]:
        return []
    return ranked[:FINALISTS] + [trial for trial in given if trial not in ranked[:FINALISTS]]


def keep_confirmation(study: optuna.Study, trial: FrozenTrial, seed: int, f1_macro: float) -> None:
    """Stores the macro-F1 of a trial's settings with another seed in the study's database."""
    study.set_user_attr(f"{PREFIX} {trial.number} {seed}", f1_macro)


def confirmations(study: optuna.Study) -> dict[int, dict[int, float]]:
    """Macro-F1 by trial number and seed."""
    found: dict[int, dict[int, float]] = {}
    for key, value in study.user_attrs.items():
        if key.startswith(f"{PREFIX} "):
            number, seed = map(int, key.split()[1:])
            found.setdefault(number, {})[seed] = float(value)
    return found


def confirmed_means(study: optuna.Study) -> dict[int, float]:
    """Mean macro-F1 by trial number; only finalists that were fitted with all of the confirming seeds."""
    found = confirmations(study)
    seeds = set().union(*found.values()) if found else set()
    numbers = {trial.number for trial in finalists(study)} if found else set()
    return {
        number: statistics.fmean(scores.values())
        for number, scores in sorted(found.items())
        if number in numbers and set(scores) == seeds
    }
