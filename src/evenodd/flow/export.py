"""`export`: ONNX graphs of a registered version with a parity gate, and the bundle that is served."""

from __future__ import annotations

import logging
import shutil
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

from evenodd import __version__, tracking
from evenodd.classifier.bundle import FORMAT, read_bundle
from evenodd.classifier.manifest import CHECKED, EXACT
from evenodd.classifier.signature import signer_of
from evenodd.flow.bundles import bundle_of, bundle_tags, check_bundle
from evenodd.flow.materials import Materials, gather
from evenodd.flow.page import read_page
from evenodd.release import (
    FULL,
    SHORT,
    BundleContents,
    Graphs,
    export_graphs,
    latency_table,
    measure_checked,
    pareto_points,
    plot_pareto,
    write_bundle,
)
from evenodd.release.checked import FAST
from evenodd.release.gates import gates_of_fit
from evenodd.release.runtime import installed_runtime
from evenodd.rows import Corpus
from evenodd.settings import Request, Settings, flatten
from evenodd.storage import digest_of, discard, unsealed_folder
from evenodd.task import Decision, Task

log = logging.getLogger(__name__)

CALIBRATION_TEXTS = 256
SERVED_PACKAGES = ("numpy", "pandas", "tokenizers")


@dataclass(frozen=True)
class Exported:
    """A bundle and the run that made it."""

    run_id: str
    variant: str
    bundle: Path
    version: str

    @property
    def text(self) -> str:
        """Path of the bundle, and the next commands."""
        package = "mlflow run . -e package --env-manager local"
        return f"bundle: {self.bundle}\n  serve: make serve MODEL={self.bundle}    package: {package}"


def run(request: Request) -> Exported:
    """Exports `model`: an alias or version; by default the winner of the newest comparison."""
    settings = request.settings
    tracking.configure(settings.experiment)
    reference = settings.run.model or newest_winner()
    return export_version(reference, settings, gather(settings))


def newest_winner() -> str:
    """The variant that the newest comparison named.

    Raises:
        ValueError: nothing was compared yet, or the newest comparison has no winner.
    """
    found = tracking.find_runs({"stage": "compare"})
    version = found[0].data.tags.get("winner_version") if found else None
    if not version:
        why = "the newest comparison named no winner" if found else "nothing was compared yet"
        raise ValueError(f"{why}: pass -P model=odd (an alias or version), or run compare first.")
    return str(version)


def export_version(reference: str, settings: Settings, materials: Materials, *, nested: bool = False) -> Exported:
    """Graphs, parity, bundle, and a registered ONNX version in addition to the torch one.

    A finished export of the same version with the same settings is reused.

    Raises:
        ValueError: there is no such version, or it was fitted on other rows than those in `data`.
        RuntimeError: parity does not hold; nothing is registered.
    """
    found = tracking.find_version(reference, settings.name)
    facts = tracking.model_metadata(found.uri)
    if facts["data"]["digest"] != materials.corpus.digest:
        raise ValueError(
            f"model='{reference}' was fitted on '{facts['data']['name']}', not on data='{settings.data.source}' as "
            "it is read now: pass the same data and settings (parity is checked on its validation rows)."
        )
    fingerprint = fingerprint_of(found, settings)
    with tracking.lease(f"export {fingerprint}", f"exporting version {found.version}") as held:
        exported = find_exported(fingerprint, settings)
        if exported is None:
            exported = _export_version(found, facts, settings, materials, (fingerprint, held.check), nested)
        else:
            log.info("export %s | reused from run %s", exported.variant, exported.run_id)
    return exported


def fingerprint_of(found: tracking.Version, settings: Settings) -> str:
    """Same version, settings, signer and version of the package: same fingerprint."""
    flat, key = flatten(settings), settings.export.signing_key
    page = settings.serve.page and Path(settings.serve.page).read_text(encoding="utf-8")
    chosen = {key: str(value) for key, value in flat.items() if key.partition(".")[0] in ("export", "serve", "gates")}
    parts = [found.name, found.version, found.run_id, chosen, page, settings.data.max_length, __version__, FORMAT]
    parts += [] if key is None else [signer_of(key)]
    return digest_of(parts)[:20]


def find_exported(fingerprint: str, settings: Settings) -> Exported | None:
    """The newest finished export with this fingerprint whose bundle is undamaged, here or in its run."""
    for run in tracking.find_runs({"stage": "export", "fingerprint": fingerprint}):
        tags = run.data.tags
        folder = settings.home / "bundles" / tags["exported"]
        if "version" in tags and (_holds(folder, tags) or _restored(run.info.run_id, folder)):
            return Exported(run.info.run_id, tags["exported"], folder, tags["version"])
    return None


def _holds(folder: Path, tags: Mapping[str, str]) -> bool:
    """Whether a folder holds the bundle of an export, with every file as it was written."""
    if not folder.exists():
        return False
    try:
        check_bundle(folder, tags)
    except (ValueError, RuntimeError, OSError) as fault:
        log.warning("%s It is rebuilt.", fault)
        return False
    return True


def _restored(run_id: str, folder: Path) -> bool:
    """Copies an export's bundle from its run, if it is undamaged there."""
    try:
        kept = bundle_of(run_id)
    except tracking.StoreUnreachableError:
        raise
    except (ValueError, RuntimeError) as fault:
        log.warning("the bundle cannot be restored from run %s: %s It is rebuilt.", run_id, fault)
        return False
    discard(folder)
    with unsealed_folder(folder) as copy:
        shutil.copytree(kept, copy, dirs_exist_ok=True)
    return True


def _export_version(
    found: tracking.Version,
    facts: dict,
    settings: Settings,
    materials: Materials,
    lease: tuple[str, Callable[[], None]],
    nested: bool,
) -> Exported:
    fingerprint, check = lease
    variant = facts["variant"]
    tags = {"stage": "export", "variant": f"{variant}-onnx", "source_run_id": found.run_id, "exported": variant}
    tags["fingerprint"] = fingerprint
    with tracking.start_run(f"export · {variant}", tags=tags, nested=nested) as run_id:
        tracking.log_settings(settings, ("export", "serve"))
        with tempfile.TemporaryDirectory() as work:
            model, tokenizer = tracking.load_model(found.uri)
            graphs = _export(model, tokenizer, settings, materials.corpus, Path(work))
            folder = settings.home / "bundles" / variant
            contents = _contents(found, facts, settings)
            texts = list(materials.corpus.validation.texts)
            graphs = recommend(with_checked(graphs, contents, texts), settings)
            card = tracking.artifact_text(found.run_id, "model_card.md")
            write_bundle(folder, graphs, contents, texts, card=card, signing_key=settings.export.signing_key)
            _log(graphs, found, folder)
            _log_speed(model, graphs, settings)
            check()
            number = _register(folder, found)
            tracking.set_tags({"version": number, **bundle_tags(folder)})
    tracking.set_alias(found.name, f"{variant}-onnx", number)
    log.info("export %s | %s | registered as version %s", variant, ", ".join(graphs.paths), number)
    return Exported(run_id, variant, folder, number)


def _export(model: Any, tokenizer: Any, settings: Settings, corpus: Corpus, work: Path) -> Graphs:
    texts = list(corpus.validation.texts)
    return export_graphs(
        model,
        tokenizer,
        work,
        settings.export,
        list(corpus.train.texts[:CALIBRATION_TEXTS]),
        validation_texts=texts,
        validation_labels=corpus.validation.labels,
        max_length=settings.data.max_length,
    )


def with_checked(graphs: Graphs, contents: BundleContents, texts: list[str]) -> Graphs:
    """Adds the margin with which int8 keeps float32's labels and decisions, if int8 passed its gate."""
    if FAST not in graphs.paths:
        return graphs
    return replace(graphs, checked=measure_checked(graphs.paths, graphs.encoder, contents.decision, texts))


def recommend(graphs: Graphs, settings: Settings) -> Graphs:
    """Recommends the graph in the settings for every device, if it passed its gate.

    `checked` is for the CPU; the serving machine uses it only if it is faster there than float32.
    """
    asked = settings.serve.graph
    there = graphs.checked is not None if asked == CHECKED else asked in graphs.paths
    if not there:
        missing = graphs.left_out.get(FAST if asked == CHECKED else asked, "not exported")
        log.warning("serve.graph=%s: %s; the service uses fp32", asked, missing)
    named = asked if there else EXACT
    return replace(graphs, recommended={"cpu": named, "cuda": EXACT if named == CHECKED else named})


def _contents(found: tracking.Version, facts: dict, settings: Settings) -> BundleContents:
    metrics = tracking.figures_of(tracking.get_run(found.run_id))
    kept = ("test/", "behaviour/", "floor/")
    task = Task.from_dict(facts["task"])
    return BundleContents(
        name=found.name,
        variant=facts["variant"],
        task=task,
        decision=Decision.from_dict(facts["decision"], task),
        version=found.version,
        run_id=found.run_id,
        data=facts["data"],
        teacher=facts["teacher"],
        layer_map=tuple(facts["layer_map"]) if facts["layer_map"] else None,
        window_overlap=facts["window_overlap"],
        provider=settings.serve.provider,
        metrics={key: value for key, value in sorted(metrics.items()) if key.startswith(kept)},
        limits=tuple(facts["limits"]),
        warnings=tuple(gate.text for gate in gates_of_fit(metrics, settings.gates) if not gate.passed),
        page=read_page(settings.serve.page, task) if settings.serve.page else facts.get("page"),
    )


def _log(graphs: Graphs, found: tracking.Version, folder: Path) -> None:
    sizes = {f"cost/onnx_{kind}_mb": path.stat().st_size / 1e6 for kind, path in graphs.paths.items()}
    best = graphs.recommended["cpu"]
    served = (FAST, EXACT) if best == CHECKED else (best,)
    figures = {"cost/onnx_mb": sum(sizes[f"cost/onnx_{kind}_mb"] for kind in served), **sizes}
    if graphs.checked is not None:
        figures |= {f"checked/{key}": value for key, value in asdict(graphs.checked).items() if key != "kind"}
    for kind, candidate in graphs.chosen.items():
        figures[f"parity/{kind}_flips"] = candidate.flips
        figures[f"parity/{kind}_max_abs_diff"] = candidate.max_abs_diff
        figures |= (
            {"parity/passed": 1.0, "parity/max_abs_diff": graphs.chosen["fp32"].max_abs_diff} if kind == "fp32" else {}
        )
        figures[f"cost/{kind}_texts_per_second"] = candidate.sentences_per_second
    tracking.log_metrics(figures)
    tracking.log_table("graphs", graphs.candidates)
    tracking.log_file(folder, "bundle")
    tracking.tag_version(found, {"parity": "passed", "onnx_mb": f"{figures['cost/onnx_mb']:.1f}"})


def _log_speed(model: Any, graphs: Graphs, settings: Settings) -> None:
    """Logs the table of speeds, and macro-F1 against latency."""
    batches, lengths = SHORT if settings.export.speed == "short" else FULL
    table = latency_table(model, graphs.paths, batches=batches, lengths=lengths)
    tracking.log_table("latency", table)
    points = pareto_points(table, graphs, sum(p.numel() for p in model.parameters()))
    tracking.log_table("pareto", points)
    tracking.log_figures({"pareto": plot_pareto(points)})


def _register(folder: Path, found: tracking.Version) -> str:
    variant = found.tags["variant"]
    entry = tracking.ModelEntry(
        registered_name=found.name,
        variant=variant,
        description=f"{variant}, exported from version {found.version}: the graphs that the service runs. It takes "
        "texts and does not need torch.",
        tags={"variant": variant, "kind": "onnx", "torch_version": found.version, "synthetic": found.tags["synthetic"]},
        requirements=tuple(f"{name}=={version(name)}" for name in (installed_runtime(), *SERVED_PACKAGES)),
    )
    return tracking.register(tracking.log_bundle(folder, entry, read_bundle(folder).task.labels), entry)
