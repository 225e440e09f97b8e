"""`promote`: checks the gates and moves the `champion` alias; `to=previous` rolls back. MLflow keeps every move."""

from __future__ import annotations

import getpass
import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from evenodd import tracking
from evenodd.evidence import Scored
from evenodd.evidence.resampling import align, f1_macro_draws, resample
from evenodd.evidence.significance import difference
from evenodd.flow.export import newest_winner
from evenodd.flow.measure import read_scores
from evenodd.release.gates import Gate, Move, audit_entry, check_gates
from evenodd.settings import Request, Settings

log = logging.getLogger(__name__)

CHAMPION = "champion"
PREVIOUS = "previous"
ROLLED_BACK = "rolled_back"


class NotPromotedError(RuntimeError):
    """The promotion was refused; everything else has been done."""

    exit_code = 3


@dataclass(frozen=True)
class Promoted:
    """The version with the alias, and its checked gates; no gates if it had the alias already."""

    version: str
    variant: str
    gates: tuple[Gate, ...] = ()

    @property
    def text(self) -> str:
        """The champion, and each gate with its figure."""
        lines = [f"  {'passed' if gate.passed else 'FAILED'}  {gate.text}" for gate in self.gates]
        return "\n".join([f"champion: version {self.version} ({self.variant})", *lines])


def run(request: Request) -> Promoted:
    """Promotes `model`, or what `to` names; by default the winner of the newest comparison."""
    settings = request.settings
    tracking.configure(settings.experiment)
    if settings.run.to == PREVIOUS:
        reference, why = previous_champion(settings.name), "rolled back to the previous champion"
    else:
        reference = settings.run.to or settings.run.model or newest_winner()
        why = "requested by name" if settings.run.to or settings.run.model else "winner of the newest comparison"
    return promote(reference, why, settings)


def promote(reference: str, why: str, settings: Settings, *, nested: bool = False) -> Promoted:
    """Moves the alias if all gates pass. A rollback logs the gates and moves it in any case.

    Raises:
        ValueError: no such version.
        RuntimeError: the version's files are missing or damaged, a gate failed, or the champion changed meanwhile.
    """
    found = find_candidate(reference, settings.name)
    before = tracking.aliases(settings.name).get(CHAMPION)
    if before == found.version:
        log.info("champion | version %s (%s) holds the alias already", found.version, found.tags["variant"])
        return Promoted(found.version, found.tags["variant"])
    back = settings.run.to == PREVIOUS
    tags = {"stage": "promote", "candidate": found.version, "variant": found.tags["variant"]}
    with tracking.start_run(f"promote · {found.tags['variant']} version {found.version}", tags=tags, nested=nested):
        tracking.log_settings(settings, ("gates",))
        tracking.load_model(found.uri)
        champion = None if back else rival(found, find_champion(before, settings))
        figures = figures_of(found) | against(found, champion, settings)
        gates = check_gates(figures, settings.gates, figures_of(champion) if champion else None)
        for gate in gates:
            log.info("gate | %s | %s", "passed" if gate.passed else "FAILED", gate.text)
        failed = [gate for gate in gates if not gate.passed]
        if failed and not back:
            stopped = "; ".join(gate.text for gate in failed)
            raise NotPromotedError(f"version {found.version} is not promoted: {stopped}")
        with tracking.lease(f"promotion {settings.name}", f"promoting version {found.version}"):
            move = Move(CHAMPION, before, found.version, getpass.getuser(), why)
            _move(move, settings, gates, figures)
            tracking.set_tags({ROLLED_BACK: str(back).lower()})
    log.info("champion | version %s (%s) | before: %s", found.version, found.tags["variant"], before or "none")
    return Promoted(found.version, found.tags["variant"], tuple(gates))


def _move(move: Move, settings: Settings, gates: list[Gate], figures: Mapping[str, Any]) -> None:
    now = tracking.aliases(settings.name).get(move.alias)
    if now != move.old_version:
        raise NotPromotedError(
            f"the champion changed from version {move.old_version} to {now} while the gates were checked: "
            "run promote again."
        )
    tracking.log_json(audit_entry(move, gates, figures, datetime.now(UTC)), "audit.json")
    tracking.set_tags({"from_version": move.old_version or "none", "to_version": move.new_version, "why": move.why})
    tracking.set_alias(settings.name, move.alias, move.new_version)
    tracking.set_tags({"promoted": "true", "registered_name": settings.name})


def figures_of(found: tracking.Version) -> dict[str, Any]:
    """All figures of a version: of its run, and of its newest export."""
    run = tracking.get_run(found.run_id)
    figures: dict[str, Any] = {**tracking.figures_of(run)}
    figures["validation_digest"] = run.data.tags.get("validation_digest", "")
    for export in tracking.find_runs({"stage": "export", "source_run_id": found.run_id})[:1]:
        measured = tracking.figures_of(export)
        figures |= {key: value for key, value in measured.items() if key.startswith(("cost/", "parity/"))}
    return figures


def find_candidate(reference: str, registered_name: str) -> tracking.Version:
    """The fitted version that a reference names.

    Raises:
        ValueError: there is none, or it is an exported one.
    """
    found = tracking.find_version(reference, registered_name)
    if found.tags.get("kind") == "onnx":
        raise ValueError(
            f"model='{reference}': an ONNX version; promote the torch version {found.tags['torch_version']}."
        )
    return found


def find_champion(version: str | None, settings: Settings) -> tracking.Version | None:
    """The current champion; None if there is none.

    Raises:
        RuntimeError: the alias points to a version whose run or files are missing.
    """
    if version is None:
        return None
    try:
        found = tracking.find_version(version, settings.name)
        tracking.get_run(found.run_id)
        tracking.model_metadata(found.uri)
    except (ValueError, RuntimeError) as error:
        raise NotPromotedError(
            f"the champion alias is corrupted: {error} Point it at a sound version in the MLflow UI, "
            "then run promote again."
        ) from error
    return found


def rival(found: tracking.Version, champion: tracking.Version | None) -> tracking.Version | None:
    """The champion to compare with; None if only the champion was fitted on the synthetic sample."""
    synthetic = champion is not None and champion.tags.get("synthetic") == "true"
    if synthetic and found.tags.get("synthetic") == "false":
        log.info("the champion was fitted on synthetic texts: it is replaced without a comparison")
        return None
    return champion


def against(found: tracking.Version, champion: tracking.Version | None, settings: Settings) -> dict[str, float]:
    """Upper bound of the interval of macro-F1 minus the champion's; empty if their validation rows differ."""
    if champion is None or champion.run_id == found.run_id:
        return {}
    digests = [tracking.get_run(version.run_id).data.tags.get("validation_digest") for version in (found, champion)]
    if digests[0] is None or digests[0] != digests[1]:
        return {}
    runs = {name: {0: validation_scores(v)} for name, v in (("candidate", found), ("champion", champion))}
    aligned = align(runs)
    drawn = resample(aligned, f1_macro_draws, samples=settings.evidence.bootstrap_samples)
    gap = difference(drawn["candidate"], drawn["champion"], rows=len(aligned.labels), alpha=settings.evidence.alpha)
    return {
        "champion/difference": gap.estimate,
        "champion/difference_low": gap.low,
        "champion/difference_high": gap.high,
    }


def validation_scores(version: tracking.Version) -> Scored:
    """The scored validation rows of a version's run."""
    return read_scores(tracking.download(version.run_id, "scores/validation.npz"))


def previous_champion(registered_name: str) -> str:
    """The version that a rollback restores: the one before the current champion in the audit trail.

    A rollback undoes the newest move that was not undone yet, so a second rollback goes further back. If the alias
    does not point to the trail's last version, because it was moved by hand or is damaged, that version is restored.

    Raises:
        ValueError: there is none.
    """
    present = tracking.aliases(registered_name).get(CHAMPION)
    standing: list[str] = []
    for found in reversed(_moves(registered_name)):
        before, after = found.data.tags["from_version"], found.data.tags["to_version"]
        if found.data.tags.get(ROLLED_BACK) == "true" and after in standing:
            while standing[-1] != after:
                standing.pop()
            continue
        if before != "none" and standing[-1:] != [before]:
            standing.append(before)
        standing.append(after)
    if standing[-1:] == [present]:
        standing.pop()
    if not standing:
        raise ValueError(f"to=previous: the audit trail has no earlier champion of '{registered_name}'.")
    return standing[-1]


def _moves(registered_name: str) -> list[Any]:
    """Runs that moved the alias, newest first."""
    return tracking.find_runs({"stage": "promote", "promoted": "true", "registered_name": registered_name})


def read_audit(registered_name: str) -> list[dict]:
    """The audit trail, newest first."""
    texts = [tracking.artifact_text(found.info.run_id, "audit.json") for found in _moves(registered_name)]
    return [json.loads(text) for text in texts if text]
