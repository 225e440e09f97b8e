"""Entry points that fit one variant: `teacher`, `distill_odd`, `distill_even`, `lora`, …"""

from __future__ import annotations

from dataclasses import dataclass, replace

from evenodd import tracking
from evenodd.flow.fit_variant import FittedRun, fit_variant
from evenodd.flow.materials import divisions, gather
from evenodd.flow.plan import Plan, make_plan
from evenodd.flow.schedule.fits import Progress, fit_plans
from evenodd.flow.schedule.latency import measure_latencies
from evenodd.flow.tune import tune
from evenodd.settings import Layer, Request


@dataclass(frozen=True)
class Fitted:
    """The finished runs of one variant, one per seed; empty if another worker does the final fit."""

    variant: str
    runs: tuple[FittedRun, ...]

    @property
    def text(self) -> str:
        """The result, and where to look next."""
        if not self.runs:
            return f"{self.variant}: the study's trials are done; the command without tune.worker does the final fit."
        lines = [f"{run.variant} (seed {run.seed}): version {run.version}, run {run.run_id}" for run in self.runs]
        return "\n".join([*lines, "  compare: mlflow run . -e compare --env-manager local    look: make ui"])


def run(name: str, request: Request) -> Fitted:
    """Fits a variant with `seeds` seeds, after `trials` trials if set."""
    plan = make_plan(name, request)
    materials = gather(plan.settings)
    divisions(materials, plan.settings)
    tracking.configure(plan.settings.experiment)
    seeds, trials = plan.settings.evidence.seeds, plan.settings.tune.trials
    if seeds == 1 and not trials:
        run = fit_variant(plan, materials)
        measure_latencies([run])
        return Fitted(name, (run,))
    title = " · ".join([name] + [f"{trials} trials"] * bool(trials) + [f"{seeds} seeds"] * (seeds > 1))
    with tracking.start_run(title, tags={"stage": "tuning" if trials else "seeds"}):
        tuned = tune(name, request, materials).settings
        if plan.settings.tune.worker:
            return Fitted(name, ())
        fits = fit_plans(seed_plans(name, request, tuned), materials, Progress(seeds), fresh=plan.settings.run.fresh)
        fits.check()
    return Fitted(name, tuple(fits.runs))


def seed_plans(
    name: str, request: Request, overrides: Layer | None = None, teacher_overrides: Layer | None = None
) -> list[Plan]:
    """Plans that differ only in their seed; all use the teacher of the first seed.

    With `vary_split` the splits differ too, and each plan has its own teacher: other teachers were trained on rows that
    are test rows here.
    """
    own, teachers = dict(overrides or {}), dict(teacher_overrides or {})
    first = make_plan(name, request, overrides=own, teacher_overrides=teachers)
    plans = [first]
    for step in range(1, first.settings.evidence.seeds):
        later = {"seed": first.settings.seed + step}
        if first.settings.evidence.vary_split:
            later |= {"data.split_seed": first.settings.data.split_seed + step}
            plans.append(make_plan(name, request, overrides=own | later, teacher_overrides=teachers | later))
        else:
            plans.append(_taught_by(make_plan(name, request, overrides=own | later), first.teacher))
    return plans


def _taught_by(plan: Plan, teacher: Plan | None) -> Plan:
    """The same plan with another teacher, including the teacher without added rows."""
    if teacher is None:
        return plan
    plain = replace(plan.plain, teacher=teacher.plain) if plan.plain else None
    return replace(plan, teacher=teacher, plain=plain)
