"""Search space of each kind of variant, and the objectives that it allows."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from evenodd.encoders.catalog import Variant

Space = dict[str, BaseDistribution]

LEARNING_RATES = {"teacher": (1e-5, 5e-4), "student": (3e-5, 1e-3), "lora": (1e-4, 5e-3)}


def search_space(
    variant: Variant, *, depth: int | None = None, said: Collection[str] = (), given: Mapping[str, Any] | None = None
) -> Space:
    """The search space of a variant: dotted settings and their ranges.

    Args:
        variant: teacher, student or LoRA, distilled or not.
        depth: maximum number of student layers if the depth is searched too; None: it is not searched.
        said: dotted settings that the user has set; they are not searched.
        given: dotted settings of a fit without tuning; ranges are widened to include them.

    Raises:
        ValueError: nothing is left to search.
    """
    space: Space = {
        "train.learning_rate": FloatDistribution(*LEARNING_RATES[variant.family], log=True),
        "train.epochs": IntDistribution(2, 6),
        "train.weight_decay": FloatDistribution(0, 0.1),
        "train.class_weight": CategoricalDistribution(("none", "sqrt", "balanced")),
    }
    if variant.distilled:
        space["distill.temperature"] = FloatDistribution(1, 8)
        space["distill.soft_weight"] = FloatDistribution(0.1, 1)
        space["distill.label_weight"] = FloatDistribution(0, 1)
        space["distill.hidden_weight"] = FloatDistribution(0, 2)
    if variant.adapters:
        space["lora.rank"] = IntDistribution(2, 32, log=True)
        space["lora.alpha"] = IntDistribution(4, 64, log=True)
        space["lora.dropout"] = FloatDistribution(0, 0.3)
    if depth is not None and variant.layers:
        space["variant.depth"] = IntDistribution(1, depth)
    known = given or {}
    space = {name: _holding(ranged, known.get(name)) for name, ranged in space.items() if name not in said}
    if not space:
        raise ValueError(f"trials: you have set every setting that is searched for '{variant.name}'; leave one out.")
    return space


def check_objective(objective: tuple[str, ...], variant: Variant) -> None:
    """Raises ValueError for an objective that cannot be searched."""
    if "f1" not in objective or len(set(objective)) != len(objective):
        raise ValueError(f"objective={','.join(objective)}: allowed are f1 and f1,latency.")
    if "latency" in objective and not variant.layers:
        raise ValueError(
            f"objective={','.join(objective)}: no setting of '{variant.name}' changes its latency; pass f1."
        )


def _holding(distribution: BaseDistribution, value: Any) -> BaseDistribution:
    """The range, widened to include the value."""
    if value is None:
        return distribution
    if isinstance(distribution, CategoricalDistribution):
        extra = () if value in distribution.choices else (value,)
        return CategoricalDistribution((*distribution.choices, *extra))
    if isinstance(distribution, FloatDistribution):
        low, high = min(distribution.low, value), max(distribution.high, value)
        return FloatDistribution(low, high, log=distribution.log)
    if isinstance(distribution, IntDistribution):
        low, high = min(distribution.low, value), max(distribution.high, value)
        return IntDistribution(low, high, log=distribution.log)
    return distribution
