"""Figures of a study: history, settings of the trials, importance of the settings, and the Pareto front."""

from __future__ import annotations

from typing import Any

import numpy as np
import optuna
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import FrozenTrial, TrialState

BLUE, GREY, RED = "#1f6f8b", "#b8b8b8", "#c0392b"


def study_figures(study: optuna.Study) -> dict[str, Figure]:
    """History, parallel coordinates, importances (of four trials or more) and, with latency, the Pareto front."""
    done = study.get_trials(states=(TrialState.COMPLETE,))
    figures = {"tuning_history": plot_history(study), "tuning_parallel": plot_parallel(done)}
    weights = importances(study)
    if weights:
        figures["tuning_importances"] = plot_importances(weights)
    if len(study.directions) > 1:
        figures["tuning_pareto"] = plot_trade(study, done)
    return figures


def plot_history(study: optuna.Study) -> Figure:
    """Validation macro-F1 by trial, the best so far, and the pruned and failed trials."""
    figure, axes = _figure(6.5, 3.6)
    done = study.get_trials(states=(TrialState.COMPLETE,))
    numbers, values = [trial.number for trial in done], [trial.values[0] for trial in done]
    axes.scatter(numbers, values, color=BLUE, label="completed")
    axes.step(numbers, np.maximum.accumulate(values), where="post", color=RED, label="best so far")
    pruned = [trial for trial in study.get_trials(states=(TrialState.PRUNED,)) if trial.intermediate_values]
    last = [list(trial.intermediate_values.values())[-1] for trial in pruned]
    axes.scatter([trial.number for trial in pruned], last, color=GREY, marker="v", label="pruned")
    for trial in study.get_trials(states=(TrialState.FAIL,)):
        axes.axvline(trial.number, color=GREY, linestyle=":")
    axes.set_xlabel("trial (dotted: failed)")
    axes.set_ylabel("validation macro-F1")
    axes.legend(frameon=False)
    return figure


def plot_parallel(trials: list[FrozenTrial]) -> Figure:
    """A line for each completed trial through its settings, coloured by macro-F1."""
    names = sorted({name for trial in trials for name in trial.params})
    figure, axes = _figure(1.6 * len(names) + 2, 4)
    values = [trial.values[0] for trial in trials]
    colours = ScalarMappable(Normalize(min(values, default=0), max(values, default=1)), "viridis")
    for trial in sorted(trials, key=lambda trial: trial.values[0]):
        heights = [_height(trial, name) for name in names]
        axes.plot(range(len(names)), heights, color=colours.to_rgba(trial.values[0]), alpha=0.8)
    axes.set_xticks(range(len(names)), [name.partition(".")[2] for name in names], rotation=25)
    axes.set_yticks([0, 1], ["lowest", "highest"])
    figure.colorbar(colours, ax=axes, label="validation macro-F1")
    return figure


def importances(study: optuna.Study) -> dict[str, float]:
    """Share of macro-F1's variance that each setting explains (fANOVA); empty for fewer than four trials."""
    done = study.get_trials(states=(TrialState.COMPLETE,))
    if len(done) < 4 or len({trial.values[0] for trial in done}) < 2:
        return {}
    target = (lambda trial: trial.values[0]) if len(study.directions) > 1 else None
    evaluator = optuna.importance.FanovaImportanceEvaluator(seed=0)
    found: dict[str, float] = optuna.importance.get_param_importances(study, evaluator=evaluator, target=target)
    return found


def plot_importances(weights: dict[str, float]) -> Figure:
    """Bars, the most important setting on top."""
    figure, axes = _figure(6, 0.4 * len(weights) + 1.2)
    ordered = sorted(weights.items(), key=lambda item: item[1])
    axes.barh([name for name, _ in ordered], [weight for _, weight in ordered], color=BLUE)
    axes.set_xlabel("share of the variance of macro-F1")
    return figure


def plot_trade(study: optuna.Study, trials: list[FrozenTrial]) -> Figure:
    """Macro-F1 against latency, with a line through the trials on the Pareto front."""
    figure, axes = _figure(6, 4)
    axes.scatter([trial.values[1] for trial in trials], [trial.values[0] for trial in trials], color=GREY)
    front = sorted(study.best_trials, key=lambda trial: trial.values[1])
    axes.plot([t.values[1] for t in front], [t.values[0] for t in front], "o-", color=BLUE, label="Pareto front")
    axes.set_xlabel("latency of one text, ms")
    axes.set_ylabel("validation macro-F1")
    axes.legend(frameon=False)
    return figure


def _figure(width: float, height: float) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.subplots()


def _height(trial: FrozenTrial, name: str) -> float:
    """Position of a value in its range, 0 to 1; on a logarithmic scale if the range is logarithmic."""
    if name not in trial.params:
        return float("nan")
    value: Any = trial.params[name]
    distribution = trial.distributions[name]
    if isinstance(distribution, CategoricalDistribution):
        return distribution.choices.index(value) / max(len(distribution.choices) - 1, 1)
    if not isinstance(distribution, FloatDistribution | IntDistribution) or distribution.low == distribution.high:
        return 0.5
    low, high = float(distribution.low), float(distribution.high)
    if distribution.log:
        low, high, value = np.log(low), np.log(high), np.log(value)
    return float((value - low) / (high - low))
