"""One run of one variant: build, fit, measure, log, register."""

from __future__ import annotations

import logging
import subprocess
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from evenodd import tracking
from evenodd.encoders import parameter_counts, state_digest
from evenodd.evidence import check_teacher
from evenodd.flow.adapters import merge_adapters, rank_views
from evenodd.flow.build import Built
from evenodd.flow.fit_model import Job, fit_model
from evenodd.flow.materials import Materials
from evenodd.flow.measure import Measured, measure, scores_to_bytes
from evenodd.flow.plan import Plan
from evenodd.flow.present import card_facts, describe_run, fit_figures, history_frame, model_entry
from evenodd.flow.runs import read_run
from evenodd.release.torch_session import reading_facts
from evenodd.report.card import model_card
from evenodd.report.data_plot import plot_data
from evenodd.settings import Request, TrainSettings
from evenodd.storage import discard
from evenodd.training import AfterEachStep, Fit, mix_weights, operations_per_token

log = logging.getLogger(__name__)

TEACHER_METRIC = "validation/f1_macro"
MORE = 3
"""Factor in the advice to train a teacher longer that has learned nothing."""
READ_BACK = ("scores/", "tables/history.csv", "decision.json", "layer_map.json", "figures.json", "settings.yaml")


@dataclass(frozen=True)
class FittedRun:
    """A finished run of a variant."""

    run_id: str
    model_uri: str
    version: str
    variant: str
    seed: int


def fit_variant(
    plan: Plan,
    materials: Materials,
    *,
    nested: bool = False,
    reuse: bool = False,
    parent: str | None = None,
    wait: bool = True,
) -> FittedRun:
    """Fits, measures and registers a variant; an interrupted fit with the same fingerprint is resumed.

    If another process is working on the same fit, its run is awaited and reused.

    Args:
        plan: variant and settings.
        materials: rows and encoder.
        nested: as a child of the open run, or of `parent`.
        reuse: reuse a finished run with the same fingerprint.
        parent: id of a parent run that another process has opened.
        wait: whether to wait for another process at the same fit.

    Raises:
        LeaseHeldError: another process is at the same fit, and `wait` is not set.
        RuntimeError: the teacher does not beat the no-skill floor, or the loss is not a number.
    """
    fingerprint = plan.fingerprint(materials.corpus.digest, materials.encoder_digest)
    found = find_fitted(fingerprint) if reuse else None
    if found is None:
        what = f"fitting {plan.variant.name}, seed {plan.settings.seed}"
        with tracking.lease(lease_key(fingerprint), what, wait=wait) as held:
            found = find_fitted(fingerprint) if reuse or held.waited else None
            if found is None:
                tracking.close_abandoned(fingerprint)
                return _fit_variant(plan, materials, fingerprint, held.check, nested, parent)
    log.info("%s | seed %d | reused from run %s", plan.variant.name, plan.settings.seed, found.run_id)
    return found


def lease_key(fingerprint: str) -> str:
    """Key of the lease of a fit."""
    return f"fit {fingerprint}"


def _fit_variant(
    plan: Plan,
    materials: Materials,
    fingerprint: str,
    check: Callable[[], None],
    nested: bool,
    parent: str | None,
) -> FittedRun:
    name = f"{plan.variant.name} · {materials.corpus.name} · seed {plan.settings.seed}"
    tags = _tags(plan, materials, fingerprint)
    with tracking.start_run(name, tags=tags, nested=nested, parent=parent) as run_id:
        log_parameters(plan, materials)
        log_rows(materials)
        if not nested:
            log_data_report(materials)
        teacher = _ensure_teacher(plan, materials, parent)
        plain = _ensure_plain(plan, materials, parent)
        folder = plan.settings.home / "fits" / fingerprint
        built, fitted, measured = _fit_and_measure(plan, materials, (teacher, plain), folder, check)
        check()
        result = _log_and_register(plan, materials, built, fitted, measured, run_id)
    tracking.set_alias(plan.settings.name, plan.variant.name, result.version)
    discard(folder)
    return result


def find_fitted(fingerprint: str) -> FittedRun | None:
    """The newest finished run with this fingerprint and undamaged files; damaged ones are logged."""
    for run in tracking.find_runs({"fingerprint": fingerprint}):
        tags = run.data.tags
        if "model_uri" in tags and _is_sound(run):
            seed = int(tags["seed"])
            return FittedRun(run.info.run_id, tags["model_uri"], tags["version"], tags["variant"], seed)
    return None


def _is_sound(run: Any) -> bool:
    """Whether scores, history and decision of a run are undamaged, and its model if it is on this machine.

    A remote model would have to be downloaded; it is checked when it is loaded.
    """
    try:
        tracking.check_artifacts(run, READ_BACK)
        if run.info.artifact_uri.startswith(("/", "file:")):
            tracking.sound_files(run.data.tags["model_uri"])
    except tracking.StoreUnreachableError:
        raise
    except (ValueError, RuntimeError) as fault:
        log.warning("%s is not reused: %s", run.data.tags["variant"], fault)
        return False
    return True


def _ensure_teacher(plan: Plan, materials: Materials, parent: str | None) -> FittedRun | None:
    """The fitted teacher of a distilled variant, fitted if necessary, and checked by the guard."""
    if plan.teacher is None:
        return None
    teacher = fit_variant(plan.teacher, materials, nested=True, reuse=True, parent=parent)
    metrics = tracking.figures_of(tracking.get_run(teacher.run_id))
    longer = _longer(plan.teacher.settings.train, teacher)
    check_teacher({TEACHER_METRIC: metrics[TEACHER_METRIC]}, materials.floors, longer=longer)
    tracking.set_tags({"teacher_run_id": teacher.run_id})
    return teacher


def _longer(settings: TrainSettings, teacher: FittedRun) -> str:
    """The setting that trains a teacher longer: `min_steps` if it determined the steps, otherwise the epochs."""
    steps = int(read_run(teacher.run_id).history["step"].max())
    if settings.min_steps and steps < 2 * settings.min_steps:
        return f"teacher.min_steps={MORE * steps}"
    return f"teacher.epochs={MORE * settings.epochs}"


def _ensure_plain(plan: Plan, materials: Materials, parent: str | None) -> FittedRun | None:
    """The same fit without added rows, whose weights are mixed in; fitted if necessary."""
    if plan.plain is None:
        return None
    without = materials.under(plan.plain.settings)
    plain = fit_variant(plan.plain, without, nested=True, reuse=True, parent=parent)
    tracking.set_tags({"plain_run_id": plain.run_id})
    return plain


def plain_teacher_uri(teacher: FittedRun | None) -> str | None:
    """The model of the fit without added rows that is mixed into a teacher; None if there is none."""
    tags = tracking.get_run(teacher.run_id).data.tags if teacher else {}
    return tracking.get_run(tags["plain_run_id"]).data.tags["model_uri"] if "plain_run_id" in tags else None


def _fit_and_measure(
    plan: Plan,
    materials: Materials,
    others: tuple[FittedRun | None, FittedRun | None],
    folder: Path,
    check: Callable[[], None],
) -> tuple[Built, Fit, Measured]:
    """Fits and measures the variant; `others` are its teacher and its fit without added rows."""
    teacher, plain = others
    uris = teacher.model_uri if teacher else None, plain_teacher_uri(teacher)
    settings = plan.settings
    log.info(
        "%s | fitting | %s rows | %d epochs | learning rate %g | seed %d",
        plan.variant.name,
        f"{len(materials.corpus.train):,}",
        settings.train.epochs,
        settings.train.learning_rate,
        settings.seed,
    )
    job = Job(plan, materials, uris, folder)
    built, fitted = fit_model(job, tracking.log_curves, (AfterEachStep(check),))
    trainable = parameter_counts(built.model)[1]
    if plan.variant.adapters:
        drawn, tables = rank_views(plan, built.model)
        built.figures.update(drawn)
        built.tables.update(tables)
        built.model, figures = merge_adapters(built.model, built.tokenizer, materials)
        fitted.figures.update(figures)
    total = parameter_counts(built.model)[0]
    fitted.figures["cost/trainable_parameters"] = float(trainable)
    fitted.figures["cost/trainable_share"] = trainable / total
    fitted.figures["cost/parameters"] = float(total)
    fitted.figures["cost/operations_per_token"] = operations_per_token(built.model)
    built.model.to("cpu")
    if plain:
        _check_same_layers(built, plain)
        mix = settings.data.augment_mix
        mix_weights(built.model, tracking.load_model(plain.model_uri)[0], 1 - mix)
        log.info("%s | weights: %g of this fit, %g of run %s", plan.variant.name, mix, round(1 - mix, 6), plain.run_id)
    return built, fitted, measure(built.model, built.tokenizer, materials, settings)


def _check_same_layers(built: Built, plain: FittedRun) -> None:
    """Refuses to mix weights that come from different teacher layers."""
    kept = layers_in_words(built)
    others = tracking.get_run(plain.run_id).data.params.get("layers", "")
    if kept != others:
        raise RuntimeError(
            f"layers {kept} were chosen with counterexamples and {others} without: their weights cannot be "
            "mixed. Name the layers (-P layers=…), or pass -P data.augment_mix=1."
        )


def _log_and_register(
    plan: Plan, materials: Materials, built: Built, fitted: Fit, measured: Measured, run_id: str
) -> FittedRun:
    figures = measured.metrics | fitted.figures | materials.floors.to_metrics() | {"train/loss": fitted.train_loss}
    figures["cost/model_mb"] = figures["cost/parameters"] * 4 / 1e6
    tracking.flush()
    history = history_frame(fitted.history, plan.variant.name, plan.settings.seed)
    tracking.log_text(history.to_csv(index=False), "tables/history.csv")
    tracking.log_figures(fit_figures(fitted, measured, materials.corpus, plan))
    _log_details(built, measured)
    tracking.describe(describe_run(plan, materials.corpus, figures, built.layer_map))
    lengths = {"max_length": plan.settings.data.max_length, "window_overlap": plan.settings.decision.window_overlap}
    reading = reading_facts(built.model, built.tokenizer, **lengths)
    entry = model_entry(plan, materials.corpus, figures, measured.decision, built.layer_map, reading)
    tracking.log_text(model_card(card_facts(entry, plan, materials.corpus, figures, run_id)), "model_card.md")
    uri = tracking.log_model(built.model, built.tokenizer, entry)
    tracking.log_measured(figures, model_uri=uri)
    tracking.log_json(lineage(materials, built), "lineage.json")
    version = tracking.register(uri, entry)
    tracking.set_tags({"model_uri": uri, "version": version})
    log.info(
        "%s | test macro-F1 %.3f, average precision %.3f | %s version %s | %.0f s",
        plan.variant.name,
        figures["test/f1_macro"],
        figures["test/average_precision"],
        entry.registered_name,
        version,
        figures["cost/train_seconds"],
    )
    return FittedRun(run_id, uri, version, plan.variant.name, plan.settings.seed)


def _log_details(built: Built, measured: Measured) -> None:
    tracking.log_json(measured.decision.to_dict(), "decision.json")
    if measured.behaviour:
        tracking.log_table("functionalities", measured.behaviour.by_functionality.reset_index())
        tracking.log_table("behaviour_groups", measured.behaviour.by_group.reset_index())
    tracking.log_parameters({"layers": layers_in_words(built)})
    if built.layer_map:
        tracking.log_json({"teacher_layers": built.layer_map, "sha256": built.tensor_digests}, "layer_map.json")
    tracking.log_figures(built.figures)
    for name, table in built.tables.items():
        tracking.log_table(name, table)
    with tempfile.TemporaryDirectory() as folder:
        for name, scored in measured.scored.items():
            path = Path(folder) / f"{name}.npz"
            path.write_bytes(scores_to_bytes(scored))
            tracking.log_file(path, "scores")
        if measured.behaviour:
            path, cases = Path(folder) / "behaviour.npz", measured.behaviour.cases
            ids, called = cases["case_id"].to_numpy(str), cases["predicted_positive"].to_numpy(bool)
            np.savez_compressed(path, case_id=ids, predicted_positive=called)
            tracking.log_file(path, "scores")


def log_data_report(materials: Materials) -> None:
    """Logs the data report: tables, a figure and the findings."""
    found = materials.data_report
    for name in ("counts", "lengths"):
        tracking.log_table(f"data_{name}", getattr(found, name).reset_index())
    for name in ("leaks", "conflicts", "label_errors"):
        tracking.log_table(f"data_{name}", getattr(found, name))
    tracking.log_figures({"data": plot_data(materials.corpus)})
    tracking.log_text("\n".join(found.sentences()), "data_report.txt")


def layers_in_words(built: Built) -> str:
    """The teacher layers of a model, `1,3,5`; all of them for full depth."""
    depth = int(getattr(built.model.config, "num_hidden_layers", 0))
    return ",".join(map(str, built.layer_map or range(1, depth + 1)))


def lineage(materials: Materials, built: Built) -> dict[str, str]:
    """Digests of a fit's inputs and weights, to tell whether two fits are the same."""
    return {
        "data": materials.corpus.name,
        "data_digest": materials.corpus.digest,
        "encoder": materials.encoder_name,
        "encoder_digest": materials.encoder_digest,
        "state_digest": state_digest(built.model.state_dict()),
        "git_dirty": _git_dirty(),
    }


def log_parameters(plan: Plan, materials: Materials, **more: Any) -> None:
    """Logs the parameters that distinguish runs, and the settings that differ from the variant's defaults."""
    variant = plan.variant
    usual = Request().settings_for(variant.family, variant.name)
    facts = {"variant": variant.name, "seed": plan.settings.seed, **materials.parameters, **more}
    tracking.log_settings(plan.settings, plan.used, facts, usual=usual)


def log_rows(materials: Materials) -> None:
    """The splits as the open run's data sets."""
    corpus = materials.corpus
    contexts = {"train": "training", "validation": "validation", "test": "testing"}
    for split in corpus.splits:
        tracking.log_dataset(split.rows, f"{corpus.name}-{split.name}", split.digest, contexts[split.name])


def _tags(plan: Plan, materials: Materials, fingerprint: str) -> dict[str, str]:
    return {
        "variant": plan.variant.name,
        "seed": str(plan.settings.seed),
        "fingerprint": fingerprint,
        "data_digest": materials.corpus.digest,
        "validation_digest": materials.corpus.validation.digest,
        "synthetic": str(materials.corpus.synthetic).lower(),
    }


def _git_dirty() -> str:
    try:
        done = subprocess.run(["git", "status", "--porcelain"], capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return "unknown"
    return "unknown" if done.returncode else str(bool(done.stdout.strip())).lower()
