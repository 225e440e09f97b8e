"""`main`: the whole chain from rows to a Bento: teacher, every named variant, compare, export, promote, package."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from evenodd import tracking
from evenodd.flow.compare import Compared, compare_runs
from evenodd.flow.export import export_version
from evenodd.flow.findings import describe, steps_of_shipped
from evenodd.flow.materials import Materials
from evenodd.flow.package import package
from evenodd.flow.promote import CHAMPION, NotPromotedError, promote
from evenodd.flow.schedule.fits import Fits
from evenodd.flow.study import fit_variants
from evenodd.settings import Request, Settings


@dataclass(frozen=True)
class Shipped:
    """The comparison, the Bento of its winner, the page in MLflow's UI, and the reason if nothing was promoted.

    If no variant may ship, the Bento holds the strongest one, so that it can be tried.
    """

    compared: Compared
    bundle: Path
    bento: str
    look: str
    stopped: str | None = None

    @property
    def exit_code(self) -> int:
        """Exit code of the command; not 0 if nothing was promoted."""
        return NotPromotedError.exit_code if self.stopped else 0

    @property
    def text(self) -> str:
        """Table, verdict and the next commands."""
        lines = [
            self.compared.text,
            f"look       make ui       {self.look}",
            f"serve      make serve{f' MODEL={self.bundle}' if self.stopped else ''}    http://localhost:3000",
            f"container  make image    from the Bento {self.bento}",
        ]
        return "\n".join(lines + ([f"\nNOT PROMOTED: {self.stopped}"] if self.stopped else []))


def run(request: Request) -> Shipped:
    """Runs the whole chain; finished parts are reused."""
    return fit_variants("main", request, ship)


def ship(fits: Fits, materials: Materials, settings: Settings) -> Shipped:
    """Compares the runs, and exports, promotes and packages the winner.

    Raises:
        RuntimeError: a fit failed, or parity does not hold.
    """
    fits.check()
    compared = compare_runs([run.run_id for run in fits.runs], materials, settings, nested=True)
    compared.carry(materials, "main")
    version = compared.winner_version or compared.strongest_version
    exported = export_version(version, settings, materials, nested=True)
    stopped = why_not_promoted(compared, settings)  # without a promotion, the chain is still completed
    tag = package((version if stopped else CHAMPION,), settings, nested=True)
    steps = steps_of_shipped(settings.name, None if stopped else CHAMPION)
    describe(compared.verdict, compared.shown, steps, stopped)
    return Shipped(compared, exported.bundle, tag, tracking.experiment_page(), stopped)


def why_not_promoted(compared: Compared, settings: Settings) -> str | None:
    """Promotes the winner. Returns the reason of a refusal, or None."""
    if compared.winner_version is None:
        strongest = compared.verdict.strongest
        return f"no variant may ship. {strongest} has the highest score and is exported and packaged for trying out."
    try:
        promote(compared.winner_version, "winner of the comparison", settings, nested=True)
    except NotPromotedError as error:
        return str(error)
    return None
