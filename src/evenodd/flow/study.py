"""`study`: fits every named variant over every seed, after tuning if `trials` is set, and compares them.

It resumes: finished trials and finished runs with the same fingerprint are reused. A variant that fails does not stop
the others; it is left out of the comparison, and the command ends with an error.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TypeVar

from evenodd import tracking
from evenodd.encoders.catalog import find_variant
from evenodd.flow.compare import Compared, compare_runs
from evenodd.flow.findings import next_steps
from evenodd.flow.fit import seed_plans
from evenodd.flow.fit_variant import log_data_report
from evenodd.flow.materials import Materials, divisions, gather
from evenodd.flow.plan import DEFAULT_VARIANTS, Plan
from evenodd.flow.schedule.fits import Fits, Progress, fit_plans
from evenodd.flow.schedule.places import FAULTS, message_of
from evenodd.flow.tune import tune
from evenodd.settings import TEACHER, Layer, Request, Settings

log = logging.getLogger(__name__)

Result = TypeVar("Result")


def run(request: Request) -> Compared:
    """Tunes, fits and compares the teacher and every named variant."""
    return fit_variants("study", request, compare)


def compare(fits: Fits, materials: Materials, settings: Settings) -> Compared:
    """Compares the variants that have a run for every seed.

    Raises:
        RuntimeError: a fit failed; the other variants are compared first, and their comparison is logged.
    """
    if not fits.complete:
        fits.check()
    compared = compare_runs([run.run_id for run in fits.complete], materials, settings, nested=True)
    compared.carry(materials, "study", next_steps(compared.verdict, settings.data.source, settings.name))
    if fits.faults:
        log.warning("without the failed variants:\n%s", compared.text)
    fits.check()
    return compared


def fit_variants(stage: str, request: Request, finish: Callable[[Fits, Materials, Settings], Result]) -> Result:
    """Tunes and fits the teacher and every named variant within one run, and calls `finish` with the result.

    Args:
        stage: of the run.
        request: the command's settings.
        finish: called with the fits, within that run.

    Raises:
        ValueError: faults in the settings of any variant, before anything is fitted.
    """
    settings = request.settings
    names = variant_names(settings)
    for name in names:
        seed_plans(name, request)
    materials = gather(settings)
    divisions(materials, settings)
    tracking.configure(settings.experiment)
    seeds, trials = settings.evidence.seeds, settings.tune.trials
    log.info(
        "%s | model '%s', experiment '%s' | next: %s | finished fits are reused",
        stage,
        settings.name,
        settings.experiment,
        ", ".join(f"{name}{f' × {seeds} seeds' if seeds > 1 else ''}" for name in names),
    )
    title = f"{stage} · {materials.corpus.name} · {len(names)} variants × {seeds} seed{'s' if seeds > 1 else ''}"
    with tracking.start_run(title, tags={"stage": stage, "synthetic": str(materials.corpus.synthetic).lower()}):
        facts = {"seed": settings.seed, "variants": ",".join(names), **materials.parameters}
        tracking.log_settings(settings, ("run", "data", "teacher", "train", "evidence", "tune"), facts)
        log_data_report(materials)
        progress = Progress(len(names) * (trials + seeds))
        planned, untuned = study_plans(names, request, materials, progress)
        fits = fit_plans(planned, materials, progress, fresh=settings.run.fresh)
        return finish(Fits(fits.runs, untuned | fits.faults), materials, settings)


def variant_names(settings: Settings) -> tuple[str, ...]:
    """The teacher and the named variants, each once.

    Raises:
        ValueError: an unknown variant.
    """
    named = settings.run.variants or DEFAULT_VARIANTS
    return tuple(dict.fromkeys((TEACHER, *(find_variant(name).name for name in named))))


def study_plans(
    names: tuple[str, ...], request: Request, materials: Materials, progress: Progress
) -> tuple[list[Plan], dict[tuple[str, str], str]]:
    """The plans of all variants and seeds, seed by seed, with tuned settings; and the failed tunings.

    The students' teacher has the settings of the variant `teacher`.

    Raises:
        RuntimeError: the teacher cannot be tuned.
    """
    by_name: dict[str, list[Plan]] = {}
    faults: dict[tuple[str, str], str] = {}
    teacher_settings: Layer = {}
    units = request.settings.tune.trials + request.settings.evidence.seeds
    for name in names:
        try:
            found = tune_nested(name, request, materials, teacher_settings, progress)
        except FAULTS as error:
            if name == TEACHER:
                raise
            faults[name, "tuning"] = message_of(error)
            log.warning("%s | tuning failed, the variant is left out | %s", name, faults[name, "tuning"])
            progress.total -= units
            continue
        if name == TEACHER:
            teacher_settings = found
        by_name[name] = seed_plans(name, request, found, teacher_settings)
    return [plan for seed in zip(*by_name.values(), strict=True) for plan in seed], faults


def tune_nested(
    name: str, request: Request, materials: Materials, teacher_settings: Layer, progress: Progress
) -> Layer:
    """The variant's tuned settings, from a child run of the study; empty without trials."""
    trials = request.settings.tune.trials
    if not trials:
        return {}
    log.info("%s | tuning %s", progress.line(), name)
    tags = {"stage": "tuning", "tuned_variant": name}
    with tracking.start_run(f"{name} · {trials} trials", tags=tags, nested=True):
        found = tune(name, request, materials, teacher_settings=teacher_settings)
    progress.advance(trials, timed=found.ran)
    return found.settings
