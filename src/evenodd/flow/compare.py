"""`compare`: compares finished runs: tests their differences on validation, and names a winner or a tie."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from evenodd import __version__, tracking
from evenodd.evidence.floors import mean_floors
from evenodd.evidence.verdict import LATENCY, LATENCY_SPREAD, OPERATIONS, PARAMETERS, Candidate, Verdict
from evenodd.evidence.winner import choose_winner
from evenodd.flow.findings import carry, next_steps
from evenodd.flow.materials import Materials, divisions, gather
from evenodd.flow.plan import NOT_THE_RESULT
from evenodd.flow.report import PAGE, Comparison, Shown, present, table_of
from evenodd.flow.runs import FinishedRun, newest_runs, read_run
from evenodd.flow.slices import with_slices
from evenodd.release.gates import Gate, failed, gates_of_fit
from evenodd.rows import Corpus
from evenodd.settings import Request, Settings, flatten
from evenodd.storage import DamagedError, digest_of

log = logging.getLogger(__name__)

COST = {f"cost/{name}": name for name in (OPERATIONS, PARAMETERS, LATENCY, LATENCY_SPREAD, "train_seconds")}


@dataclass(frozen=True)
class Compared:
    """A finished comparison.

    Attributes:
        winner_version: of the variant that ships; None if none may.
        strongest_version: of the variant with the highest macro-F1 on validation, even if it may not ship.
    """

    run_id: str
    winner_version: str | None
    strongest_version: str
    found: Comparison
    shown: Shown

    @property
    def verdict(self) -> Verdict:
        """The verdict: which variant ships, and why."""
        return self.found.verdict

    @property
    def report(self) -> Path:
        """Path of the report."""
        return self.shown.page

    @property
    def text(self) -> str:
        """Table, verdict and path of the report."""
        return "\n".join([self.shown.table.to_text(), *self.verdict.sentences, "", f"report     {self.report}"])

    def carry(self, materials: Materials, stage: str, steps: Sequence[str] = ()) -> None:
        """Logs the comparison to the open run."""
        tracking.set_tags({"winner_version": self.winner_version or ""})
        carry(self.found, self.shown, materials, stage, steps)


def run(request: Request) -> Compared:
    """Compares the newest finished run of every variant and seed on these rows, or of the variants that are named."""
    settings = request.settings
    tracking.configure(settings.experiment)
    materials = gather(settings)
    seeds = range(settings.seed, settings.seed + settings.evidence.seeds) if settings.evidence.vary_split else [None]
    found = [
        run
        for seed, divided in zip(seeds, divisions(materials, settings), strict=True)
        for run in newest_runs(divided.corpus.digest, settings.run.variants, seed)
    ]
    return compare_runs(found, materials, settings)


def compare_named(run_ids: Sequence[str], request: Request) -> Compared:
    """Compares these finished runs."""
    settings = request.settings
    tracking.configure(settings.experiment)
    return compare_runs(run_ids, gather(settings), settings)


def compare_runs(run_ids: Sequence[str], materials: Materials, settings: Settings, *, nested: bool = False) -> Compared:
    """Table, tests, verdict, plots and report of finished runs, logged as a separate run.

    Raises:
        ValueError: the runs cannot be paired, because the variants have different seeds or rows.
    """
    corpus = materials.corpus
    runs = [with_slices(read_run(run_id), corpus) for run_id in run_ids]
    positive = corpus.task.positive_index
    divided = divisions(materials, settings)
    floors = mean_floors([each.floors for each in divided])
    floor = max(floors.best("validation"), 0.0)
    shipped = {name: best_run(found, corpus.digest) for name, found in by_variant(runs).items()}
    gates = {name: gates_of_fit(run.metrics, settings.gates) for name, run in shipped.items()}
    verdict = choose_winner(candidates(runs, gates), settings.evidence, floor=floor, positive=positive)
    best = shipped[verdict.winner] if verdict.winner else None
    tags = {
        "stage": "compare",
        "data_digest": corpus.digest,
        "winner_version": best.version if best else "",
        "synthetic": str(corpus.synthetic).lower(),
    }
    tests = [each.corpus.test for each in divided]
    found = Comparison(runs, verdict, gates, floors, tests, counterparts(runs))
    tags["fingerprint"] = fingerprint_of(found, settings, corpus)
    earlier = find_compared(tags["fingerprint"], settings) if nested else None
    if earlier is None:
        with tracking.start_run(f"compare · {corpus.name}", tags=tags, nested=nested) as run_id:
            tracking.log_settings(settings, ("evidence", "gates"), materials.parameters)
            shown = present(found, materials, settings, settings.home / "reports" / run_id)
            carry(found, shown, materials, "compare", next_steps(verdict, settings.data.source, settings.name))
    else:
        run_id, page = earlier
        shown = Shown(table_of(found, corpus), page)
        log.info("compare | reused from run %s", run_id)
    strongest = shipped[verdict.strongest].version
    return Compared(run_id, best.version if best else None, strongest, found, shown)


def fingerprint_of(compared: Comparison, settings: Settings, corpus: Corpus) -> str:
    """Same runs, rows, evidence and gates: same fingerprint."""
    flat = flatten(settings)
    chosen = {key: str(value) for key, value in flat.items() if key.partition(".")[0] in ("evidence", "gates")}
    rows = [corpus.name, corpus.digest, [test.digest for test in compared.tests], settings.data.slices]
    runs = [[run.run_id for run in group] for group in (compared.runs, compared.counterparts)]
    return digest_of([runs, rows, chosen, __version__])[:20]


def find_compared(fingerprint: str, settings: Settings) -> tuple[str, Path] | None:
    """The newest comparison and its page; None if it has another fingerprint, or a damaged page.

    An older comparison is never reused: `export` takes the winner of the newest one.
    """
    newest = next(iter(tracking.find_runs({"stage": "compare"})), None)
    if newest is None or newest.data.tags.get("fingerprint") != fingerprint:
        return None
    run_id = newest.info.run_id
    try:
        return run_id, tracking.download(run_id, PAGE, settings.home / "reports" / run_id)
    except (ValueError, DamagedError) as fault:
        log.warning("%s The comparison is repeated.", fault)
        return None


def by_variant(runs: Sequence[FinishedRun]) -> dict[str, list[FinishedRun]]:
    """The runs of each variant, in the order in which the variants appear."""
    found: dict[str, list[FinishedRun]] = {}
    for run in runs:
        found.setdefault(run.variant, []).append(run)
    return found


def best_run(runs: Sequence[FinishedRun], data_digest: str) -> FinishedRun:
    """The run of a variant that ships: the one on these splits with the highest macro-F1 on validation.

    Scores on other splits are not comparable, and parity is checked on these.
    """
    here = [run for run in runs if run.tags["data_digest"] == data_digest]
    return max(here or runs, key=lambda run: run.metrics["validation/f1_macro"])


def candidates(runs: Sequence[FinishedRun], gates: Mapping[str, Sequence[Gate]]) -> list[Candidate]:
    """One candidate per variant: its runs by seed, mean costs, and the gates that its best run fails.

    Raises:
        ValueError: the variants share no seed.
    """
    by_name = by_variant(runs)
    shared = set.intersection(*({run.seed for run in found} for found in by_name.values()))
    if not shared:
        seeds = ", ".join(f"{name}: {sorted(run.seed for run in found)}" for name, found in by_name.items())
        raise ValueError(f"the variants share no seed ({seeds}): fit them with the same -P seed or -P seeds.")
    return [
        Candidate(
            name,
            {run.seed: run.validation for run in found if run.seed in shared},
            {short: _mean(found, key) for key, short in COST.items() if all(key in run.metrics for run in found)},
            failed(gates[name]),
        )
        for name, found in by_name.items()
    ]


def counterparts(runs: Sequence[FinishedRun]) -> list[FinishedRun]:
    """Finished runs that differ from one of these only in their counterexamples, newest first."""
    return [read_run(run_id) for run in runs for run_id in _counterparts_of(run)]


def _counterparts_of(run: FinishedRun) -> list[str]:
    own = _settings_of(tracking.get_run(run.run_id).data.params)
    found: dict[tuple[str, ...], str] = {tuple(own[1]): run.run_id}
    alike = {key: run.tags[key] for key in ("variant", "seed", "validation_digest")}  # only training rows differ
    for other in tracking.find_runs(alike):
        settings, augment = _settings_of(other.data.params)
        if "model_uri" in other.data.tags and settings == own[0]:
            found.setdefault(tuple(augment), other.info.run_id)
    return [run_id for run_id in found.values() if run_id != run.run_id]


def _settings_of(params: Mapping[str, str]) -> tuple[dict[str, str], list[str]]:
    """The unusual settings of a fit, and separately those of its counterexamples."""
    dotted = {key: value for key, value in params.items() if "." in key and key not in NOT_THE_RESULT}
    augment = {key: dotted.pop(key) for key in sorted(dotted) if key.startswith("data.augment")}
    return dotted, [f"{key}={value}" for key, value in augment.items()] if "data.augment" in augment else []


def _mean(runs: Sequence[FinishedRun], key: str) -> float:
    return sum(run.metrics[key] for run in runs) / len(runs)
