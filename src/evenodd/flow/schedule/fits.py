"""Runs the fits of many plans: their order, their number at a time, the remaining time, and their failures."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass, field

from evenodd import tracking
from evenodd.flow.fit_variant import FittedRun, find_fitted, lease_key
from evenodd.flow.materials import Materials
from evenodd.flow.plan import Plan
from evenodd.flow.schedule.latency import measure_latencies
from evenodd.flow.schedule.places import Held, Outcome, Places, fits_at_once, open_places
from evenodd.flow.schedule.runtime import cluster_of
from evenodd.settings import RunSettings

log = logging.getLogger(__name__)

SHOWN_FAULTS = 5
POLL_SECONDS = 2.0
"""How often leases of other processes are looked at."""


@dataclass
class Progress:
    """Progress of a study. One unit is one fit: a trial or a run. Units that were finished before take no time.

    Attributes:
        total: number of units.
        places: number of concurrent units.
    """

    total: int
    done: int = 0
    places: int = 1
    _timed: int = 0
    _seconds: float = 0.0
    _last: float = field(default_factory=lambda: time.monotonic())
    _begun: dict[int, float] = field(default_factory=dict)

    def begin(self, number: int) -> None:
        """Records that a unit has started."""
        self._begun[number] = time.monotonic()

    def advance(self, units: int, *, timed: int, number: int | None = None) -> None:
        """Counts finished units; `timed` of them took the time since the last call, or since the start."""
        now = time.monotonic()
        self.done += units
        if timed:
            self._timed += timed
            self._seconds += now - (self._last if number is None else self._begun[number])
        if number is not None:
            self._begun.pop(number, None)
        self._last = now

    def drop(self, number: int) -> None:
        """A unit that was begun is not done here after all."""
        self._begun.pop(number, None)

    def line(self) -> str:
        """`7/30 | 12 min left`: number of the next unit, and the time for all units that are not finished.

        Only the number before any unit was timed.
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
    """Outcome of the plans.

    Attributes:
        runs: the finished runs, in the order of the plans.
        faults: reasons of the failures, by variant and part: `("odd", "seed 1")`.
    """

    runs: list[FittedRun]
    faults: dict[tuple[str, str], str] = field(default_factory=dict)

    @property
    def complete(self) -> list[FittedRun]:
        """Runs of the variants without failures, which can be paired by seed."""
        faulty = {variant for variant, _ in self.faults}
        return [run for run in self.runs if run.variant not in faulty]

    def check(self) -> None:
        """Records the faults in the open run and raises them.

        Raises:
            RuntimeError: there are faults; the message lists them.
        """
        if not self.faults:
            return
        lines = [f"{variant} {what}: {fault}" for (variant, what), fault in self.faults.items()]
        tracking.log_text("\n".join(lines), "faults.txt")
        more = f" | and {len(lines) - SHOWN_FAULTS} more, see faults.txt" if len(lines) > SHOWN_FAULTS else ""
        raise RuntimeError(
            f"{len(lines)} failed and {len(self.runs)} finished | {' | '.join(lines[:SHOWN_FAULTS])}{more} | the same "
            "command repeats the failed fits and reuses the finished runs."
        )


def fit_plans(plans: list[Plan], materials: Materials, progress: Progress, *, fresh: bool = False) -> Fits:
    """Fits every plan, `run.jobs` at a time. Plans with a finished run are not fitted again, unless `fresh` is set.

    A student waits for its teacher, which is fitted first if no plan does. A plan that fails does not stop the others,
    except those that need it as their teacher. A plan that another process is fitting, on whatever host, is left to it
    while others are open; its run is then reused.
    """
    board = Board(plans, materials, fresh=fresh)
    progress.total += len(board.plans) - len(plans)
    for number, fingerprint in enumerate(board.fingerprints):
        found = find_fitted(fingerprint) if board.reuse(number) else None
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
    """Fits the waiting plans. A teacher that all others wait for gets the whole machine, unless there is a cluster."""
    cluster = cluster_of(settings)
    progress.places = fits_at_once(settings.jobs, len(board.waiting), cluster)
    if progress.places > 1 and not cluster:
        with open_places(1) as whole_machine:
            while len(board.ready()) == 1:
                _fit_next(board, whole_machine, progress)
    if board.open:
        with open_places(min(progress.places, board.open), cluster) as places:
            while board.open:
                _fit_next(board, places, progress)


def _fit_next(board: Board, places: Places, progress: Progress) -> None:
    """Starts all fits that can start, and waits for one of them, or for one of another process."""
    while places.is_free and (number := board.next()) is not None:
        log.info("%s | %s", progress.line(), board.name(number))
        if board.lost_its_teacher(number):
            progress.advance(1, timed=0)
            _settle(board, number, "its teacher failed")
        else:
            board.running.add(number)
            progress.begin(number)
            places.start(number, board.plans[number], board.materials[number], reuse=board.reuse(number))
    if board.running:
        _take(board, places.wait(POLL_SECONDS if board.held and places.is_free else None), progress)
    elif board.held:
        if not board.is_waiting:
            log.info("%s | %s | another process is working on it: waiting", progress.line(), board.name(board.held[0]))
        board.is_waiting = True
        time.sleep(POLL_SECONDS)
    _look_elsewhere(board, progress)


def _take(board: Board, ended: tuple[int, Outcome | Held] | None, progress: Progress) -> None:
    """Takes the outcome of a fit that was started here."""
    if ended is None:
        return
    number, outcome = ended
    if isinstance(outcome, Held):
        log.info("%s | another process is working on it: others first", board.name(number))
        progress.drop(number)
        board.postpone(number)
    else:
        progress.advance(1, timed=1, number=number)
        _settle(board, number, outcome)


def _look_elsewhere(board: Board, progress: Progress) -> None:
    """Reuses what other processes have finished, and opens again what they have left unfinished."""
    for number in board.released():
        found = find_fitted(board.fingerprints[number])
        if found is None:
            board.reopen(number)
        else:
            log.info("%s | %s | reused from run %s", progress.line(), board.name(number), found.run_id)
            progress.advance(1, timed=0)
            board.settle(number, found)


def _settle(board: Board, number: int, outcome: Outcome) -> None:
    board.settle(number, outcome)
    if isinstance(outcome, str):
        log.warning("%s | failed; the others continue | %s", board.name(number), outcome)


def _name_last(board: Board, fitted: list[int]) -> None:
    """Points each variant's alias to the last of its plans that was fitted now, regardless of which ended last."""
    for number in sorted(fitted):
        outcome = board.outcomes[number]
        if not isinstance(outcome, str):
            tracking.set_alias(board.plans[number].settings.name, outcome.variant, outcome.version)


class Board:
    """Waiting plans, running plans, plans that other processes fit, and the outcomes of the others, by number.

    Args:
        plans: plans in the order in which they start, as far as their teachers are ready. Teachers that no plan fits
            are appended and start first.
        materials: materials of the command; each plan uses those of its splits.
        fresh: see `fit_plans`.

    Attributes:
        held: plans that other processes fit.
        is_waiting: whether nothing else was left to fit.
    """

    def __init__(self, plans: list[Plan], materials: Materials, *, fresh: bool = False) -> None:
        self.fresh = fresh
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
        self.held: list[int] = []
        self.is_waiting = False
        self.heard = tracking.Silence()
        self.outcomes: dict[int, Outcome] = {}
        self.broken: set[str] = set()

    def name(self, number: int) -> str:
        """`odd seed 0`."""
        plan = self.plans[number]
        return f"{plan.variant.name} seed {plan.settings.seed}"

    @property
    def open(self) -> int:
        """Number of plans without an outcome."""
        return len(self.waiting) + len(self.running) + len(self.held)

    def reuse(self, number: int) -> bool:
        """Whether a finished run is taken: always that of a teacher that was not requested."""
        return not self.fresh or number >= self.asked

    def ready(self) -> list[int]:
        """The plans that wait for no other plan."""
        unsettled = {self.fingerprints[number] for number in (*self.waiting, *self.running, *self.held)}
        return [number for number in self.waiting if self.teachers[number] not in unsettled]

    def next(self) -> int | None:
        """Removes and returns the first plan that waits for no other."""
        number = next(iter(self.ready()), None)
        if number is not None:
            self.waiting.remove(number)
        return number

    def postpone(self, number: int) -> None:
        """Leaves a plan to the process that fits it."""
        self.running.discard(number)
        self.held.append(number)

    def released(self) -> list[int]:
        """The plans that no other process fits any more."""
        return [n for n in self.held if not tracking.is_held(lease_key(self.fingerprints[n]), self.heard)]

    def reopen(self, number: int) -> None:
        """Puts a plan back that another process has not finished."""
        self.held.remove(number)
        self.waiting.append(number)
        self.is_waiting = False

    def lost_its_teacher(self, number: int) -> bool:
        """Whether the fit of its teacher failed."""
        return (self.teachers[number] or self.fingerprints[number]) in self.broken

    def settle(self, number: int, outcome: Outcome) -> None:
        """Records a plan's outcome. Without a run, plans that need it as their teacher fail too."""
        self.outcomes[number] = outcome
        self.running.discard(number)
        for numbers in (self.waiting, self.held):
            if number in numbers:
                numbers.remove(number)
        if isinstance(outcome, str):
            parts = self.fingerprints[number], self.teachers[number]
            self.broken |= {part for part in parts if part and not find_fitted(part)}

    def fits(self) -> Fits:
        """Outcome of all plans in their order; of teachers that were not requested, only the faults."""
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
