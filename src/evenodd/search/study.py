"""Tuning: the Optuna study, which several workers can share and resume.

This module does not know how a variant is fitted: `run_trials` takes a function that scores one set of settings.
"""

from __future__ import annotations

import hashlib
import json
import logging
import socket
import time
import warnings
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

import optuna
import pandas as pd
import psutil
import yaml
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
    distribution_to_json,
)
from optuna.exceptions import UpdateFinishedTrialError
from optuna.samplers import BaseSampler, TPESampler
from optuna.storages import fail_stale_trials
from optuna.trial import FrozenTrial, Trial, TrialState

from evenodd.search.confirm import GIVEN, confirmed_means
from evenodd.search.space import Space
from evenodd.search.storage import open_storage, queue_again

log = logging.getLogger(__name__)

Report = Callable[[float, int], None]
Evaluate = Callable[[int, dict[str, Any], Report], tuple[float, ...]]
Pruned = optuna.TrialPruned

DIRECTIONS: dict[str, Literal["maximize", "minimize"]] = {"f1": "maximize", "latency": "minimize"}
FAULTS = (RuntimeError, ValueError, ArithmeticError, MemoryError, OSError)
F1_GIVEN_UP = 0.01
POLL_SECONDS = 2.0
CLOCK_SHIFT_SECONDS = 2.0  # a process's creation time is derived from the clock, which may have been set since


def study_name(variant: str, fingerprint: str, space: Space, objective: tuple[str, ...]) -> str:
    """Name of a study: equal for equal variant, settings, rows, encoder, space and objective."""
    about = [fingerprint, {name: distribution_to_json(d) for name, d in space.items()}, objective]
    return f"{variant}-{hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()[:16]}"


def open_study(name: str, storage: str, *, seed: int, objective: tuple[str, ...] = ("f1",)) -> optuna.Study:
    """Opens a study or creates it; running trials of a process that has died are marked as failed.

    Args:
        name: see `study_name`.
        storage: URL of the database, shared by all workers; see `open_storage`.
        seed: a trial's settings depend on it, on the trial's number and on the earlier trials, not on the worker.
        objective: names from `DIRECTIONS`.

    Raises:
        ValueError: `storage` is not a URL.
        RuntimeError: the database cannot be opened.
    """
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(
        study_name=name,
        storage=open_storage(storage),
        sampler=SeededByTrial(seed),
        pruner=optuna.pruners.MedianPruner(n_startup_trials=5, n_warmup_steps=2),
        directions=[DIRECTIONS[part] for part in objective],
        load_if_exists=True,
    )
    fail_interrupted(study)
    return study


def enqueue_given(study: optuna.Study, space: Space, given: Mapping[str, Any]) -> None:
    """Makes the given settings the first trial of a study, so that tuning never returns a worse result.

    Args:
        study: see `open_study`.
        space: see `search_space`.
        given: dotted settings; those that are None are sampled.
    """
    if _has_given(study):
        return
    known = {name: given[name] for name in space if given.get(name) is not None}
    study.enqueue_trial(known, user_attrs={GIVEN: True})


def _has_given(study: optuna.Study) -> bool:
    """Whether the trial with the given settings is queued, running or finished."""
    return any(
        trial.user_attrs.get(GIVEN) and not _was_interrupted(trial) for trial in study.get_trials(deepcopy=False)
    )


def given_trial(study: optuna.Study) -> FrozenTrial | None:
    """The trial with the given settings; None if it was not completed."""
    completed = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    return next((trial for trial in completed if trial.user_attrs.get(GIVEN)), None)


def run_trials(
    study: optuna.Study, space: Space, count: int, evaluate: Evaluate, *, timeout: float | None = None
) -> int:
    """Runs trials until the study has `count` of them, together with other workers on the same study.

    Args:
        study: see `open_study`.
        space: see `search_space`.
        count: number of finished trials of all workers, including pruned and failed ones. Workers that start the last
            trial at the same moment may exceed it by one each.
        evaluate: maps (trial number, settings, report) to the values of the objective. It calls report(macro-F1, epoch)
            after each epoch, which raises `Pruned` for a poor trial. If it raises one of `FAULTS`, the trial fails.
        timeout: seconds after which no further trial is started.

    Returns:
        The number of trials run by this call.

    Raises:
        RuntimeError: no trial was completed; the message includes the last fault.
    """
    end, ran = time.monotonic() + timeout if timeout else float("inf"), 0
    while time.monotonic() < end:
        fail_interrupted(study)
        if trials_left(study, count):
            ran += _optimize(study, space, evaluate)
        elif is_running(study):
            time.sleep(POLL_SECONDS)
        else:
            break
    if not study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,)):
        faults = [trial.user_attrs["fault"] for trial in study.get_trials() if "fault" in trial.user_attrs]
        raise RuntimeError(f"tuning {study.study_name}: no trial was completed. {faults[-1] if faults else ''}")
    return ran


def trials_left(study: optuna.Study, count: int) -> int:
    """Number of trials that a study still lacks; running ones are not lacking."""
    return max(count - _counted(study.get_trials(deepcopy=False)), 0)


def _optimize(study: optuna.Study, space: Space, evaluate: Evaluate) -> int:
    """Runs a trial: 1, or 0 if another worker took this process for dead meanwhile and the result is ignored."""
    begun: list[int] = []

    def objective(trial: Trial) -> tuple[float, ...] | float:
        begun.append(trial.number)
        return _run_trial(trial, space, evaluate)

    try:
        study.optimize(objective, n_trials=1, catch=FAULTS, gc_after_trial=True)
    except (UpdateFinishedTrialError, ValueError):  # the latter: `tell` refuses a trial that is finished
        if not begun or study.get_trials(deepcopy=False)[begun[0]].state != TrialState.FAIL:
            raise
        log.warning("trial %d was given up while this process was stopped: its result is ignored", begun[0])
        return 0
    return 1


def check_open(study: optuna.Study, number: int) -> None:
    """Checks that no other worker has given up a trial while this process was stopped.

    Raises:
        RuntimeError: the trial is finished.
    """
    if study.get_trials(deepcopy=False)[number].state.is_finished():
        raise RuntimeError(f"trial {number} was given up while this process was stopped.")


def is_running(study: optuna.Study) -> bool:
    """Whether a worker is running a trial."""
    return bool(study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)))


def fail_interrupted(study: optuna.Study) -> None:
    """Marks trials of dead processes as failed: at once on this machine, on others after their heartbeat stopped.

    The trial with the given settings is queued again.
    """
    for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        if _process_is_gone(trial.user_attrs.get("process", "")):
            with suppress(UpdateFinishedTrialError, ValueError):  # another worker was first
                study.tell(trial.number, state=TrialState.FAIL)
                log.info("trial %d was interrupted and is not counted", trial.number)
                queue_again(study, trial)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        fail_stale_trials(study)


def best_trial(study: optuna.Study) -> FrozenTrial:
    """The trial with the highest macro-F1; over the confirming seeds, if there are any.

    With latency as an objective, the fastest trial whose macro-F1 is at most 0.01 below the highest.
    """
    if len(study.directions) == 1:
        means = confirmed_means(study)
        return study.trials[max(means, key=lambda number: means[number])] if means else study.best_trial
    front = study.best_trials
    best = max(trial.values[0] for trial in front)
    return min((trial for trial in front if trial.values[0] >= best - F1_GIVEN_UP), key=lambda trial: trial.values[1])


def best_yaml(study: optuna.Study, variant: str, base: Path | None = None) -> str:
    """The best trial's settings as YAML for `-P config=`, restricted to this variant.

    Args:
        study: has at least one completed trial.
        variant: its name.
        base: the config file of the study; its settings are kept except for the tuned ones.
    """
    trial = best_trial(study)
    tree: dict[str, Any] = (yaml.safe_load(base.read_text(encoding="utf-8")) if base else None) or {}
    of_variant = tree.setdefault("variants", {}).setdefault(variant, {})
    for path, value in sorted(trial.params.items()):
        section, _, key = path.partition(".")
        of_variant.setdefault(section, {})[key] = value
    values = ", ".join(f"{value:.4f}" for value in trial.values)
    head = f"# Trial {trial.number} of study {study.study_name}: validation macro-F1 and other objectives: {values}\n"
    return head + yaml.safe_dump(tree, sort_keys=True)


def trials_table(study: optuna.Study, objective: tuple[str, ...]) -> pd.DataFrame:
    """One row per trial: `trial`, `state`, the objective, `confirmed_f1` (mean over the confirming seeds),
    `epochs_seen`, `seconds`, `fault`, and its settings."""
    rows, means = [], confirmed_means(study) if len(objective) == 1 else {}
    for trial in study.get_trials():
        values = trial.values if trial.state == TrialState.COMPLETE else [None] * len(objective)
        rows.append(
            {
                "trial": trial.number,
                "state": trial.state.name.lower(),
                **dict(zip(objective, values, strict=True)),
                "confirmed_f1": means.get(trial.number),
                "epochs_seen": len(trial.intermediate_values),
                "seconds": trial.user_attrs.get("seconds"),
                "fault": trial.user_attrs.get("fault"),
                **trial.params,
            }
        )
    return pd.DataFrame(rows)


class SeededByTrial(BaseSampler):
    """TPE with random numbers from a seed and the trial's number, so that workers do not sample the same settings."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.inner: BaseSampler = TPESampler(seed=seed)

    def before_trial(self, study: optuna.Study, trial: FrozenTrial) -> None:
        digest = hashlib.sha256(f"{self.seed} {trial.number}".encode()).digest()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            self.inner = TPESampler(
                seed=int.from_bytes(digest[:4], "big"), n_startup_trials=8, multivariate=True, constant_liar=True
            )
        self.inner.before_trial(study, trial)

    def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        return self.inner.infer_relative_search_space(study, trial)

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        return self.inner.sample_relative(study, trial, search_space)

    def sample_independent(
        self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        return self.inner.sample_independent(study, trial, param_name, param_distribution)


def _run_trial(trial: Trial, space: Space, evaluate: Evaluate) -> tuple[float, ...] | float:
    trial.set_user_attr("process", _process_name())
    settings = {name: _suggest(trial, name, distribution) for name, distribution in space.items()}
    multiple = len(trial.study.directions) > 1

    def report(f1_macro: float, epoch: int) -> None:
        if not multiple:
            trial.report(f1_macro, epoch)
            if trial.should_prune():
                raise Pruned(f"macro-F1 {f1_macro:.4f} after epoch {epoch} is below the median")

    start = time.perf_counter()
    try:
        values = evaluate(trial.number, settings, report)
    except FAULTS as error:
        trial.set_user_attr("fault", " ".join(str(error).split())[:500] or type(error).__name__)
        log.warning("trial %d failed | %s", trial.number, trial.user_attrs["fault"])
        raise
    finally:
        trial.set_user_attr("seconds", round(time.perf_counter() - start, 1))
    return values if multiple else values[0]


def _suggest(trial: Trial, name: str, distribution: BaseDistribution) -> Any:
    if isinstance(distribution, FloatDistribution):
        return trial.suggest_float(name, distribution.low, distribution.high, log=distribution.log)
    if isinstance(distribution, IntDistribution):
        return trial.suggest_int(name, distribution.low, distribution.high, log=distribution.log)
    if isinstance(distribution, CategoricalDistribution):
        return trial.suggest_categorical(name, distribution.choices)
    raise ValueError(f"{name}: {type(distribution).__name__} cannot be searched.")


def _counted(trials: list[FrozenTrial]) -> int:
    """Number of trials that count: completed, pruned, running, or failed without being interrupted."""
    return sum(trial.state != TrialState.WAITING and not _was_interrupted(trial) for trial in trials)


def _was_interrupted(trial: FrozenTrial) -> bool:
    return trial.state == TrialState.FAIL and "fault" not in trial.user_attrs


def _process_name() -> str:
    process = psutil.Process()
    return f"{socket.gethostname()}:{process.pid}:{process.create_time():.2f}"


def _process_is_gone(name: str) -> bool:
    host, _, rest = name.rpartition(":")[0].rpartition(":")
    created = name.rpartition(":")[2]
    if not host or host != socket.gethostname():
        return False
    try:
        return abs(psutil.Process(int(rest)).create_time() - float(created)) > CLOCK_SHIFT_SECONDS
    except psutil.NoSuchProcess:
        return True
