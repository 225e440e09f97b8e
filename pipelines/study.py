"""`study`: every named variant over every seed, tuned first when asked, and compared: the whole in one command.

It goes on where it was stopped: finished trials and finished runs of the same fingerprint are taken as they are. A
variant that fails does not stop the others; it is left out of the comparison, and the command ends with an error.
"""

from __future__ import annotations

import gc
import logging
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from mlflow.exceptions import MlflowException

from evenodd import tracking, tuning
from evenodd.config import Settings, resolve_settings
from evenodd.variants.catalog import find_variant
from pipelines.compare import compare_runs
from pipelines.fit import seed_plans
from pipelines.fit_variant import FittedRun, find_fitted, fit_variant, log_data_report
from pipelines.materials import Materials, divisions, gather
from pipelines.plan import Parameters, Plan
from pipelines.tune import tune

log = logging.getLogger(__name__)

FAULTS = (*tuning.FAULTS, MlflowException)
SHOWN_FAULTS = 5


def run(parameters: Parameters) -> None:
    """Tunes, fits and compares the teacher and every named variant."""
    fit_variants("study", parameters, compare)


def compare(fits: Fits, materials: Materials, settings: Settings) -> None:
    """Compares the variants that have a run for every seed.

    Raises:
        RuntimeError: a fit failed; the others are compared before.
    """
    if fits.complete:
        compared = compare_runs([run.run_id for run in fits.complete], materials, settings, nested=True)
        print(compared.table_text)
        print("\n".join(compared.verdict.sentences))
        print(f"\nreport: {compared.report}")
    fits.check()


def fit_variants(stage: str, parameters: Parameters, finish: Callable[[Fits, Materials, Settings], None]) -> None:
    """Tunes and fits the teacher and every named variant in a run of its own, and hands what came of it to `finish`.

    Args:
        stage: names the run.
        parameters: of the command.
        finish: what is made of the fits, within that run.

    Raises:
        ValueError: faults in the settings of any variant, told before anything is fitted.
    """
    settings = resolve_settings(parameters)
    names = variant_names(settings)
    for name in names:
        seed_plans(name, parameters, parameters)
    materials = gather(settings)
    divisions(materials, settings)
    tracking.configure(settings.experiment)
    seeds, trials = settings.evidence.seeds, settings.tune.trials
    title = f"{stage} · {materials.corpus.name} · {len(names)} variants × {seeds} seed{'s' if seeds > 1 else ''}"
    with tracking.start_run(title, tags={"stage": stage, "synthetic": str(materials.corpus.synthetic).lower()}):
        tracking.log_settings(settings, ("run", "data", "teacher", "evidence", "tune"))
        log_data_report(materials)
        progress = Progress(len(names) * (trials + seeds))
        planned, untuned = study_plans(names, parameters, materials, progress)
        fits = fit_plans(planned, materials, progress, fresh=settings.run.fresh)
        finish(Fits(fits.runs, untuned | fits.faults), materials, settings)


def variant_names(settings: Settings) -> tuple[str, ...]:
    """The teacher and the named variants, each once.

    Raises:
        ValueError: a variant that there is not.
    """
    return tuple(dict.fromkeys(("teacher", *(find_variant(name).name for name in settings.run.variants))))


@dataclass
class Progress:
    """How far a study is. One unit is one fit: a trial or a run; units that were finished before cost nothing.

    Attributes:
        total: units of the whole.
    """

    total: int
    done: int = 0
    _timed: int = 0
    _seconds: float = 0.0
    _started: float = field(default_factory=time.monotonic)

    def advance(self, units: int, *, timed: int) -> None:
        """Counts finished units; `timed` of them took the time since the last call."""
        now = time.monotonic()
        self.done += units
        if timed:
            self._timed += timed
            self._seconds += now - self._started
        self._started = now

    def line(self) -> str:
        """`7/30 | 12 min left`; without the time before anything was timed."""
        if not self._timed:
            return f"{self.done + 1}/{self.total}"
        left = self._seconds / self._timed * (self.total - self.done)
        return f"{self.done + 1}/{self.total} | {max(1, round(left / 60))} min left"


@dataclass(frozen=True)
class Fits:
    """What came of the plans.

    Attributes:
        runs: the finished ones, in the order of the plans.
        faults: why the others have none, by variant and what of it failed: `("odd", "seed 1")`.
    """

    runs: list[FittedRun]
    faults: dict[tuple[str, str], str] = field(default_factory=dict)

    @property
    def complete(self) -> list[FittedRun]:
        """Runs of the variants of which nothing failed: those that can be paired seed by seed."""
        faulty = {variant for variant, _ in self.faults}
        return [run for run in self.runs if run.variant not in faulty]

    def check(self) -> None:
        """Records the faults in the open run and ends it with them.

        Raises:
            RuntimeError: there are faults; the message holds each.
        """
        if not self.faults:
            return
        lines = [f"{variant} {what}: {fault}" for (variant, what), fault in self.faults.items()]
        tracking.log_text("\n".join(lines), "faults.txt")
        more = f" | and {len(lines) - SHOWN_FAULTS} more, see faults.txt" if len(lines) > SHOWN_FAULTS else ""
        raise RuntimeError(
            f"{len(lines)} failed and {len(self.runs)} finished | {' | '.join(lines[:SHOWN_FAULTS])}{more} | the same "
            "command tries what failed again and takes the finished runs as they are."
        )


def study_plans(
    names: tuple[str, ...], parameters: Parameters, materials: Materials, progress: Progress
) -> tuple[list[Plan], dict[tuple[str, str], str]]:
    """The plans of all variants and seeds, seed by seed, each variant with its tuned settings; and failed tunings.

    The students' teacher has the settings that the variant `teacher` has.

    Raises:
        RuntimeError: the teacher cannot be tuned.
    """
    by_name: dict[str, list[Plan]] = {}
    faults: dict[tuple[str, str], str] = {}
    teacher_parameters, settings = parameters, resolve_settings(parameters)
    units = settings.tune.trials + settings.evidence.seeds
    for name in names:
        try:
            found = tune_nested(name, parameters, materials, teacher_parameters, progress)
        except FAULTS as error:
            if name == "teacher":
                raise
            faults[name, "tuning"] = _told(error, f"{name} | tuning failed, the variant is left out")
            progress.total -= units
            continue
        if name == "teacher":
            teacher_parameters = found
        by_name[name] = seed_plans(name, found, None if name == "teacher" else teacher_parameters)
    return [plan for seed in zip(*by_name.values(), strict=True) for plan in seed], faults


def tune_nested(
    name: str, parameters: Parameters, materials: Materials, teacher_parameters: Parameters, progress: Progress
) -> Parameters:
    """The variant's tuned parameters, from a run of its own under the study's."""
    trials = resolve_settings(parameters).tune.trials
    if not trials:
        return parameters
    log.info("%s | tuning %s", progress.line(), name)
    tags = {"stage": "tuning", "tuned_variant": name}
    with tracking.start_run(f"{name} · {trials} trials", tags=tags, nested=True):
        found = tune(name, parameters, materials, teacher_parameters=teacher_parameters)
    progress.advance(trials, timed=found.ran)
    return found.parameters


def fit_plans(plans: list[Plan], materials: Materials, progress: Progress, *, fresh: bool = False) -> Fits:
    """Every plan in turn; those with a finished run are not fitted again, unless `fresh`.

    A plan that fails does not stop the others, except those whose teacher it is.
    """
    fits, broken = Fits([]), set[str]()
    for plan in plans:
        name, seed = plan.variant.name, plan.settings.seed
        divided = materials.under(plan.settings)
        fingerprint = _fingerprint(plan, divided)
        teacher = _fingerprint(plan.teacher, divided) if plan.teacher else fingerprint
        found = None if fresh else find_fitted(fingerprint)
        reused = f" | reused from run {found.run_id}" if found else ""
        log.info("%s | %s seed %d%s", progress.line(), name, seed, reused)
        try:
            found = found or _fit(plan, divided, teacher in broken)
            fits.runs.append(found)
        except FAULTS as error:
            fits.faults[name, f"seed {seed}"] = _told(error, f"{name} seed {seed} | failed, going on")
            broken |= {part for part in (fingerprint, teacher) if not find_fitted(part)}
        progress.advance(1, timed=int(found is not None and not reused))
        gc.collect()  # models lie in cycles of references, which would add up over the fits
    return fits


def _fit(plan: Plan, materials: Materials, teacher_failed: bool) -> FittedRun:
    if teacher_failed:
        raise RuntimeError("its teacher failed")
    return fit_variant(plan, materials, nested=True)


def _fingerprint(plan: Plan, materials: Materials) -> str:
    return plan.fingerprint(materials.corpus.digest, materials.encoder_digest)


def _told(error: Exception, what: str) -> str:
    """The fault in one line, logged; raised again where tracebacks are asked for."""
    if os.environ.get("EVENODD_TRACEBACK"):
        raise error
    fault = " ".join(str(error).split()) or type(error).__name__
    log.warning("%s | %s", what, fault)
    return fault
