"""`study`: every named variant over every seed, tuned first when asked, and compared: the whole in one command.

It goes on where it was stopped: finished trials and finished runs of the same fingerprint are taken as they are.
"""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass, field

from evenodd import tracking
from evenodd.config import Settings, resolve_settings
from evenodd.variants.catalog import find_variant
from pipelines.compare import compare_runs
from pipelines.fit import seed_plans
from pipelines.fit_variant import FittedRun, find_fitted, fit_variant
from pipelines.materials import Materials, gather
from pipelines.plan import Parameters, Plan
from pipelines.tune import tune

log = logging.getLogger(__name__)


def run(parameters: Parameters) -> None:
    """Tunes, fits and compares the teacher and every named variant."""
    settings = resolve_settings(parameters)
    names = variant_names(settings)
    for name in names:
        seed_plans(name, parameters, parameters)  # faults in a variant's settings are told before anything is fitted
    materials = gather(settings)
    tracking.configure(settings.experiment)
    seeds, trials = settings.evidence.seeds, settings.tune.trials
    title = f"study · {materials.corpus.name} · {len(names)} variants × {seeds} seeds"
    with tracking.start_run(title, tags={"stage": "study", "synthetic": str(materials.corpus.synthetic).lower()}):
        tracking.log_settings(settings, ("run", "data", "teacher", "evidence", "tune"))
        progress = Progress(len(names) * (trials + seeds))
        plans = study_plans(names, parameters, materials, progress)
        runs = fit_plans(plans, materials, progress, fresh=settings.run.fresh)
        compared = compare_runs([run.run_id for run in runs], materials, settings, nested=True)
    print(compared.table_text)
    print("\n".join(compared.verdict.sentences))
    print(f"\nreport: {compared.report}")


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


def study_plans(names: tuple[str, ...], parameters: Parameters, materials: Materials, progress: Progress) -> list[Plan]:
    """The plans of all variants and seeds, seed by seed, each variant with its tuned settings.

    The students' teacher is the one of the first seed, with the settings that the variant `teacher` has.
    """
    by_name: dict[str, list[Plan]] = {}
    teacher_parameters = parameters
    for name in names:
        found = tune_nested(name, parameters, materials, teacher_parameters, progress)
        if name == "teacher":
            teacher_parameters = found
        by_name[name] = seed_plans(name, found, None if name == "teacher" else teacher_parameters)
    return [plan for seed in zip(*by_name.values(), strict=True) for plan in seed]


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


def fit_plans(plans: list[Plan], materials: Materials, progress: Progress, *, fresh: bool = False) -> list[FittedRun]:
    """Every plan in turn; those with a finished run are not fitted again, unless `fresh`."""
    runs = []
    for plan in plans:
        fingerprint = plan.fingerprint(materials.corpus.digest, materials.encoder_digest)
        found = None if fresh else find_fitted(fingerprint)
        reused = f" | reused from run {found.run_id}" if found else ""
        log.info("%s | %s seed %d%s", progress.line(), plan.variant.name, plan.settings.seed, reused)
        runs.append(found or fit_variant(plan, materials, nested=True))
        progress.advance(1, timed=0 if found else 1)
    return runs
