"""`ablation`: the contribution of each term of the distillation loss: a student fitted without them, one by one."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace

import pandas as pd
from matplotlib.figure import Figure

from evenodd import tracking
from evenodd.encoders.catalog import Variant, find_variant
from evenodd.flow.fit import seed_plans
from evenodd.flow.fit_variant import FittedRun
from evenodd.flow.materials import divisions, gather
from evenodd.flow.plan import Plan
from evenodd.flow.schedule.fits import Progress, fit_plans
from evenodd.settings import Layer, Request, flatten

log = logging.getLogger(__name__)

# Changed settings, by the name of the ablated variant.
ABLATIONS: dict[str, Layer] = {
    "without-soft": {"distill.soft_weight": 0.0},
    "without-label": {"distill.label_weight": 0.0},
    "without-hidden": {"distill.hidden_weight": 0.0},
    "soft-only": {"distill.label_weight": 0.0, "distill.hidden_weight": 0.0},
    "label-only": {"distill.soft_weight": 0.0, "distill.hidden_weight": 0.0},
    "temperature-1": {"distill.temperature": 1.0},
    "with-attention": {"distill.attention_weight": 1.0},
}
SCORES = ("validation/f1_macro", "validation/average_precision", "test/f1_macro", "test/average_precision")


@dataclass(frozen=True)
class Ablated:
    """One row for each loss, see `ablation_table`."""

    table: pd.DataFrame

    @property
    def text(self) -> str:
        """The table."""
        return self.table.to_string(index=False, float_format="{:.4f}".format)


def run(request: Request) -> Ablated:
    """Fits the student (`-P variants=odd`) with the full loss and with each change, over all seeds."""
    settings = request.settings
    name = (settings.run.variants or ("odd",))[0]
    if not find_variant(name).distilled:
        raise ValueError(
            f"variants={name}: this variant has no distillation terms; name a distilled student, such as odd."
        )
    plans = ablation_plans(name, request)
    materials = gather(settings)
    divisions(materials, settings)
    tracking.configure(settings.experiment)
    with tracking.start_run(f"ablation · {name} · {materials.corpus.name}", tags={"stage": "ablation"}):
        fits = fit_plans(plans, materials, Progress(len(plans)), fresh=settings.run.fresh)
        if not fits.runs:
            fits.check()
        table = ablation_table(name, fits.runs)
        tracking.log_table("ablation", table)
        tracking.log_figures({"ablation": ablation_figure(table)})
        tracking.describe(f"What each distillation term adds to `{name}`.\n\n```\n{table.to_string(index=False)}\n```")
        if fits.faults:
            log.warning("without the failed variants:\n%s", Ablated(table).text)
        fits.check()
    return Ablated(table)


def ablation_plans(name: str, request: Request) -> list[Plan]:
    """Plans of the full loss and of every ablation that differs from it, seed by seed.

    Raises:
        ValueError: the settings leave a loss without terms.
    """
    whole = seed_plans(name, request)
    given = flatten(whole[0].settings)
    by_name = [whole]
    for ablation, changes in ABLATIONS.items():
        if all(given[key] == value for key, value in changes.items()):
            log.info("ablation %s | skipped: the settings already leave this term out", ablation)
            continue
        plans = seed_plans(name, request, changes)
        variant = replace(plans[0].variant, name=f"{name}-{ablation}", summary=f"{name}, {ablation.replace('-', ' ')}")
        by_name.append([renamed(plan, variant) for plan in plans])
    return [plan for seed in zip(*by_name, strict=True) for plan in seed]


def renamed(plan: Plan, variant: Variant) -> Plan:
    """The same plan, and its plan without added rows, under another name."""
    plain = replace(plan.plain, variant=variant) if plan.plain else None
    return replace(plan, variant=variant, plain=plain)


def ablation_table(name: str, runs: list[FittedRun]) -> pd.DataFrame:
    """A row for each loss: means over seeds, and mean and spread of the difference from the full loss.

    Differences are of runs of the same seed; `difference_sd` is their standard deviation, empty for one seed.
    """
    measured = [(run, tracking.figures_of(tracking.get_run(run.run_id))) for run in runs]
    rows = [
        {
            "loss": run.variant,
            "seed": run.seed,
            **{key: figures[key] for key in SCORES},
        }
        for run, figures in measured
    ]
    frame = pd.DataFrame(rows)
    whole = frame[frame["loss"] == name].set_index("seed")[SCORES[0]]
    frame["difference"] = frame[SCORES[0]] - frame["seed"].map(whole)
    grouped = frame.groupby("loss", sort=False)
    table = grouped[list(SCORES)].mean()
    table["difference"], table["difference_sd"] = grouped["difference"].mean(), grouped["difference"].std()
    table["seeds"] = grouped.size()
    return table.reset_index()


def ablation_figure(table: pd.DataFrame) -> Figure:
    """Difference in validation macro-F1 from the full loss, with the spread over seeds."""
    figure = Figure(figsize=(6.5, 0.45 * len(table) + 1.2), layout="constrained")
    axes = figure.subplots()
    changed = table.iloc[1:]
    axes.barh(changed["loss"], changed["difference"], xerr=changed["difference_sd"].fillna(0), color="#1f6f8b")
    axes.axvline(0, color="black", linewidth=0.8)
    axes.invert_yaxis()
    axes.set_xlabel("validation macro-F1, difference from the full loss")
    return figure
