"""`main`: everything, from rows to a Bento: teacher, every named variant, compare, export, promote, package."""

from __future__ import annotations

import logging
import time

from evenodd import tracking
from evenodd.config import Settings, resolve_settings
from evenodd.variants import find_variant
from pipelines.compare import compare_runs
from pipelines.export import export_version
from pipelines.fit import seed_plans
from pipelines.fit_variant import FittedRun, fit_variant, log_data_report
from pipelines.materials import Materials, gather
from pipelines.package import package
from pipelines.plan import Parameters, Plan
from pipelines.promote import CHAMPION, promote

log = logging.getLogger(__name__)


def run(parameters: Parameters) -> None:
    """The whole chain; it goes on where it was stopped, as finished runs of a fingerprint are taken as they are."""
    settings = resolve_settings(parameters)
    names = ("teacher", *(name for name in settings.run.variants if name != "teacher"))
    plans = [plan for name in names for plan in seed_plans(find_variant(name).name, parameters, parameters)]
    materials = gather(settings)
    tracking.configure(settings.experiment)
    title = f"main · {materials.corpus.name} · {', '.join(names)}"
    with tracking.start_run(title, tags={"stage": "main", "synthetic": str(materials.corpus.synthetic).lower()}):
        tracking.log_settings(settings, ("run", "data", "teacher", "evidence"))
        log_data_report(materials)
        runs = fit_all(plans, materials, fresh=settings.run.fresh)
        ship(runs, materials, settings)


def fit_all(plans: list[Plan], materials: Materials, *, fresh: bool = False) -> list[FittedRun]:
    """Every plan in turn, with the time left for the whole."""
    started, runs = time.monotonic(), []
    for number, plan in enumerate(plans):
        left = (time.monotonic() - started) / number * (len(plans) - number) if number else None
        eta = f" | about {left / 60:.0f} min left for all fits" if left is not None else ""
        log.info("fit %d/%d | %s seed %d%s", number + 1, len(plans), plan.variant.name, plan.settings.seed, eta)
        runs.append(fit_variant(plan, materials, nested=True, reuse=not fresh))
    return runs


def ship(runs: list[FittedRun], materials: Materials, settings: Settings) -> None:
    """Compares the runs, and exports, promotes and packages the winner.

    Raises:
        RuntimeError: no variant may be shipped, parity does not hold, or a gate stopped the promotion.
    """
    compared = compare_runs([run.run_id for run in runs], materials, settings, nested=True)
    if compared.winner_version is None:
        raise RuntimeError(compared.verdict.text)
    export_version(compared.winner_version, settings, materials, nested=True)
    stopped = None
    try:
        promote(compared.winner_version, "winner of the comparison", settings, nested=True)
    except RuntimeError as error:
        stopped = error
    tag = package((compared.winner_version if stopped else CHAMPION,), settings, nested=True)
    print(compared.table_text)
    print("\n".join(compared.verdict.sentences))
    print(f"\nreport     {compared.report}")
    print(f"look       make ui       http://localhost:5000, experiment '{tracking.experiment_name()}'")
    print(f"serve      make serve    http://localhost:3000 (the Bento is {tag})")
    if stopped:
        raise stopped
