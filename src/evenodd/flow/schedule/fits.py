"""Fits of many plans: in which order, how many at once, how long it takes, and what is told of those that fail."""

from __future__ import annotations

import logging
import os
import time
from dataclasses import dataclass, field

from evenodd import tracking
from evenodd.flow.fit_variant import FittedRun, find_fitted
from evenodd.flow.materials import Materials
from evenodd.flow.plan import Plan
from evenodd.flow.schedule.latency import measure_latencies
from evenodd.flow.schedule.places import Outcome, Places, fits_at_once, open_places
from evenodd.settings import RunSettings

log = logging.getLogger(__name__)

SHOWN_FAULTS = 5


@dataclass
class Progress:
    """How far a study is. One unit is one fit: a trial or a run; units that were finished before cost nothing.

    Attributes:
        total: units of the whole.
        places: units that are worked on at once.
    """

    total: int
    done: int = 0
    places: int = 1
    _timed: int = 0
    _seconds: float = 0.0
    _last: float = field(default_factory=lambda: time.monotonic())
    _begun: dict[int, float] = field(default_factory=dict)

    def begin(self, number: int) -> None:
        """One unit is worked on from now."""
        self._begun[number] = time.monotonic()

    def advance(self, units: int, *, timed: int, number: int | None = None) -> None:
        """Counts finished units; `timed` of them took the time since the last call, or since this one's begin."""
        now = time.monotonic()
        self.done += units
        if timed:
            self._timed += timed
            self._seconds += now - (self._last if number is None else self._begun[number])
        if number is not None:
            self._begun.pop(number, None)
        self._last = now

    def line(self) -> str:
        """`7/30 | 12 min left`: the next unit and the time for it, those under way and those after it.

        Before any was timed, its number alone.
        """
        number = self.done + len(self._begun) + 1
        if not self._timed:
            return f"{number}/{self.total}"
        each, now = self._seconds / self._timed, time.monotonic()
        under_way = sum(max(each - (now - begun), 0.0) for begun in self._begun.values())
        left = (each * (self.total - self.done - len(self._begun)) + under_way) / self.places
        return f"{number}/{self.total} | {max(1, round(left / 60))} min left"


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


def fit_plans(plans: list[Plan], materials: Materials, progress: Progress, *, fresh: bool = False) -> Fits:
    """Every plan, as many at once as `run.jobs` says; those with a finished run are not fitted again, unless `fresh`.

    A student waits for its teacher, which is fitted first where no plan makes it. A plan that fails does not stop the
    others, except those whose teacher it is.
    """
    board = Board(plans, materials)
    progress.total += len(board.plans) - len(plans)
    for number, fingerprint in enumerate(board.fingerprints):
        found = None if fresh and number < len(plans) else find_fitted(fingerprint)
        if found is not None:
            log.info("%s | %s | reused from run %s", progress.line(), board.name(number), found.run_id)
            board.settle(number, found)
            progress.advance(1, timed=0)
    left = list(board.waiting)
    if left:
        _fit_waiting(board, progress, plans[0].settings.run)
        _name_last(board, left)
    fits = board.fits()
    measure_latencies(fits.runs)
    return fits


def _fit_waiting(board: Board, progress: Progress, settings: RunSettings) -> None:
    """Fits what waits. A teacher that all others wait for gets the whole machine, unless there is a cluster."""
    cluster = settings.engine or os.environ.get("RAY_ADDRESS") or None
    progress.places = fits_at_once(settings.jobs, [board.plans[number] for number in board.waiting], cluster)
    if progress.places > 1 and not cluster:
        with open_places(1) as whole_machine:
            while len(board.ready()) == 1:
                _fit_next(board, whole_machine, progress)
    if board.waiting or board.running:
        with open_places(min(progress.places, len(board.waiting)), cluster) as places:
            while board.waiting or board.running:
                _fit_next(board, places, progress)


def _fit_next(board: Board, places: Places, progress: Progress) -> None:
    """Starts what can be started, and waits for one fit."""
    while places.is_free and (number := board.next()) is not None:
        log.info("%s | %s", progress.line(), board.name(number))
        if board.lost_its_teacher(number):
            progress.advance(1, timed=0)
            _settle(board, number, "its teacher failed")
        else:
            board.running.add(number)
            progress.begin(number)
            places.start(number, board.plans[number], board.materials[number])
    if board.running:
        number, outcome = places.wait()
        progress.advance(1, timed=1, number=number)
        _settle(board, number, outcome)


def _settle(board: Board, number: int, outcome: Outcome) -> None:
    board.settle(number, outcome)
    if isinstance(outcome, str):
        log.warning("%s | failed, going on | %s", board.name(number), outcome)


def _name_last(board: Board, fitted: list[int]) -> None:
    """Points each variant's alias to the last of its plans that was fitted now, whichever ended last."""
    for number in sorted(fitted):
        outcome = board.outcomes[number]
        if not isinstance(outcome, str):
            tracking.set_alias(board.plans[number].settings.name, outcome.variant, outcome.version)


class Board:
    """Plans that wait, that are being fitted, and what came of the others; all by their number.

    Args:
        plans: in the order in which they are taken, as far as what they need is there. Teachers that none of them
            makes stand behind them and are taken first.
        materials: of the command; each plan has those of its division of the rows.
    """

    def __init__(self, plans: list[Plan], materials: Materials) -> None:
        self.asked, self.plans = len(plans), list(plans)
        self.materials = [materials.under(plan.settings) for plan in plans]
        self.fingerprints = [self._fingerprint(number, plan) for number, plan in enumerate(plans)]
        self.teachers = [plan.teacher and self._fingerprint(number, plan.teacher) for number, plan in enumerate(plans)]
        for number, plan in enumerate(plans):
            needed = self.teachers[number]
            if plan.teacher and needed and needed not in self.fingerprints:
                self.plans.append(plan.teacher)
                self.materials.append(self.materials[number])
                self.fingerprints.append(needed)
                self.teachers.append(None)
        self.waiting = [*range(self.asked, len(self.plans)), *range(self.asked)]
        self.running: set[int] = set()
        self.outcomes: dict[int, Outcome] = {}
        self.broken: set[str] = set()

    def name(self, number: int) -> str:
        """`odd seed 0`."""
        plan = self.plans[number]
        return f"{plan.variant.name} seed {plan.settings.seed}"

    def ready(self) -> list[int]:
        """The plans that wait for no other."""
        unsettled = {self.fingerprints[number] for number in (*self.waiting, *self.running)}
        return [number for number in self.waiting if self.teachers[number] not in unsettled]

    def next(self) -> int | None:
        """The first plan that waits for no other; it waits no more."""
        number = next(iter(self.ready()), None)
        if number is not None:
            self.waiting.remove(number)
        return number

    def lost_its_teacher(self, number: int) -> bool:
        """Whether its teacher was to be fitted and failed."""
        return (self.teachers[number] or self.fingerprints[number]) in self.broken

    def settle(self, number: int, outcome: Outcome) -> None:
        """Notes what came of a plan. One without a run, and its teacher if that has none either, are lost to others."""
        self.outcomes[number] = outcome
        self.running.discard(number)
        if number in self.waiting:
            self.waiting.remove(number)
        if isinstance(outcome, str):
            parts = self.fingerprints[number], self.teachers[number]
            self.broken |= {part for part in parts if part and not find_fitted(part)}

    def fits(self) -> Fits:
        """What came of all, in the order of the plans; of teachers that were not asked for, faults alone."""
        ordered = [(number, self.outcomes[number]) for number in range(len(self.plans))]
        runs = [outcome for _, outcome in ordered[: self.asked] if not isinstance(outcome, str)]
        faults = {
            (self.plans[number].variant.name, f"seed {self.plans[number].settings.seed}"): outcome
            for number, outcome in ordered
            if isinstance(outcome, str)
        }
        return Fits(runs, faults)

    def _fingerprint(self, number: int, plan: Plan) -> str:
        divided = self.materials[number]
        return plan.fingerprint(divided.corpus.digest, divided.encoder_digest)
