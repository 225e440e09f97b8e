"""Entry points that fit one variant: `teacher`, `distill_odd`, `distill_even`, `lora`, …"""

from __future__ import annotations

from dataclasses import replace

from evenodd import tracking
from evenodd.encoders import VARIANTS
from evenodd.flow.fit_variant import FittedRun, fit_variant
from evenodd.flow.materials import divisions, gather
from evenodd.flow.plan import Parameters, Plan, about_teacher, make_plan
from evenodd.flow.schedule.fits import Progress, fit_plans
from evenodd.flow.tune import tune


def run(entry: str, parameters: Parameters) -> None:
    """Fits the variant of an entry point: after `trials` trials and over `seeds` seeds when asked."""
    name = next(variant.name for variant in VARIANTS.values() if variant.entry == entry)
    plan = make_plan(name, parameters)
    materials = gather(plan.settings)
    divisions(materials, plan.settings)
    tracking.configure(plan.settings.experiment)
    seeds, trials = plan.settings.evidence.seeds, plan.settings.tune.trials
    if seeds == 1 and not trials:
        print(summary(fit_variant(plan, materials)))
        return
    title = " · ".join([name] + [f"{trials} trials"] * bool(trials) + [f"{seeds} seeds"] * (seeds > 1))
    with tracking.start_run(title, tags={"stage": "tuning" if trials else "seeds"}):
        tuned = tune(name, parameters, materials).parameters
        if plan.settings.tune.worker:
            print(f"{name}: the study's trials are done; the final fit is left to the worker without tune.worker.")
            return
        plans = seed_plans(name, tuned)
        fits = fit_plans(plans, materials, Progress(seeds), fresh=plan.settings.run.fresh)
        for run in fits.runs:
            print(summary(run))
        fits.check()


def seed_plans(name: str, parameters: Parameters, teacher_parameters: Parameters | None = None) -> list[Plan]:
    """Plans that differ in their seed alone; the teacher of all is the first seed's.

    With `vary_split` the division of the rows differs as well, and each has a teacher of its own: another's was
    trained on rows that are test rows here.
    """
    first = make_plan(name, parameters, teacher_parameters=teacher_parameters)
    plans = [first]
    for step in range(1, first.settings.evidence.seeds):
        later = {"seed": str(first.settings.seed + step)}
        teacher = first.teacher
        if first.settings.evidence.vary_split:
            later |= {"data.split_seed": str(first.settings.data.split_seed + step)}
            about = teacher_parameters or about_teacher(parameters)
            teacher = make_plan("teacher", {**about, **later}) if teacher else None
        plan = make_plan(name, {**parameters, **later})
        plans.append(_taught_by(plan, teacher))
    return plans


def _taught_by(plan: Plan, teacher: Plan | None) -> Plan:
    """The same plan with another teacher, also where nothing was added to the rows."""
    if teacher is None:
        return plan
    plain = replace(plan.plain, teacher=teacher.plain) if plan.plain else None
    return replace(plan, teacher=teacher, plain=plain)


def summary(run: FittedRun) -> str:
    """Where to look next."""
    return (
        f"{run.variant} (seed {run.seed}): version {run.version}, run {run.run_id}\n"
        f"  compare: mlflow run . -e compare --env-manager local    look: make ui"
    )
