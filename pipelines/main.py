"""`main`: everything, from rows to a Bento: teacher, every named variant, compare, export, promote, package."""

from __future__ import annotations

from evenodd import tracking
from evenodd.config import Settings, resolve_settings
from pipelines.compare import compare_runs
from pipelines.export import export_version
from pipelines.fit import seed_plans
from pipelines.fit_variant import FittedRun, log_data_report
from pipelines.materials import Materials, gather
from pipelines.package import package
from pipelines.plan import Parameters
from pipelines.promote import CHAMPION, promote
from pipelines.study import Progress, fit_plans, study_plans, variant_names


def run(parameters: Parameters) -> None:
    """The whole chain; it goes on where it was stopped, as finished runs of a fingerprint are taken as they are."""
    settings = resolve_settings(parameters)
    names = variant_names(settings)
    for name in names:
        seed_plans(name, parameters, parameters)  # faults in a variant's settings are told before anything is fitted
    materials = gather(settings)
    tracking.configure(settings.experiment)
    title = f"main · {materials.corpus.name} · {', '.join(names)}"
    with tracking.start_run(title, tags={"stage": "main", "synthetic": str(materials.corpus.synthetic).lower()}):
        tracking.log_settings(settings, ("run", "data", "teacher", "evidence", "tune"))
        log_data_report(materials)
        progress = Progress(len(names) * (settings.tune.trials + settings.evidence.seeds))
        plans = study_plans(names, parameters, materials, progress)
        ship(fit_plans(plans, materials, progress, fresh=settings.run.fresh), materials, settings)


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
        stopped = error  # the chain is finished all the same: the version is there, exported and packaged
    tag = package((compared.winner_version if stopped else CHAMPION,), settings, nested=True)
    print(compared.table_text)
    print("\n".join(compared.verdict.sentences))
    print(f"\nreport     {compared.report}")
    print(f"look       make ui       http://localhost:5000, experiment '{tracking.experiment_name()}'")
    print(f"serve      make serve    http://localhost:3000 (the Bento is {tag})")
    if stopped:
        print(f"\nNOT PROMOTED: {stopped}")
