"""`main`: everything, from rows to a Bento: teacher, every named variant, compare, export, promote, package."""

from __future__ import annotations

from evenodd import tracking
from evenodd.flow.compare import compare_runs
from evenodd.flow.export import export_version
from evenodd.flow.materials import Materials
from evenodd.flow.package import package
from evenodd.flow.plan import Parameters
from evenodd.flow.promote import CHAMPION, promote
from evenodd.flow.schedule.fits import Fits
from evenodd.flow.study import fit_variants
from evenodd.settings import Settings


def run(parameters: Parameters) -> None:
    """The whole chain; it goes on where it was stopped, as finished runs of a fingerprint are taken as they are."""
    fit_variants("main", parameters, ship)


def ship(fits: Fits, materials: Materials, settings: Settings) -> None:
    """Compares the runs, and exports, promotes and packages the winner.

    Raises:
        RuntimeError: a fit failed, no variant may be shipped, or parity does not hold.
    """
    fits.check()
    compared = compare_runs([run.run_id for run in fits.runs], materials, settings, nested=True)
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
