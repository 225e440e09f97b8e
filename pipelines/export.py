"""`export`: ONNX graphs of a registered version with a parity gate, and the bundle that is served."""

from __future__ import annotations

import logging
import tempfile
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path

from evenodd import tracking
from evenodd.config import Settings, resolve_settings
from evenodd.data import Corpus
from evenodd.release import BundleContents, Graphs, export_graphs, latency_table, write_bundle
from pipelines.materials import Materials, gather
from pipelines.plan import Parameters
from pipelines.present import limits

log = logging.getLogger(__name__)

CALIBRATION_TEXTS = 256
ONNX_PACKAGES = ("onnxruntime-gpu", "onnx", "numpy", "tokenizers")


@dataclass(frozen=True)
class Exported:
    """A bundle and the run that made it."""

    run_id: str
    variant: str
    bundle: Path
    version: str


def run(parameters: Parameters) -> None:
    """Exports `model` (an alias or version; the winner of the newest comparison when not said)."""
    settings = resolve_settings(parameters)
    tracking.configure(settings.experiment)
    reference = settings.run.model or newest_winner()
    exported = export_version(reference, settings, gather(settings))
    print(f"bundle: {exported.bundle}\n  serve: make serve    package: mlflow run . -e package --env-manager local")


def newest_winner() -> str:
    """The variant that the newest comparison named.

    Raises:
        ValueError: nothing was compared yet.
    """
    for found in tracking.find_runs({"stage": "compare"}):
        if found.data.tags.get("winner_version"):
            return found.data.tags["winner_version"]
    raise ValueError(
        "no comparison has named a winner yet: pass -P model=odd (an alias or version), or run compare first."
    )


def export_version(reference: str, settings: Settings, materials: Materials, *, nested: bool = False) -> Exported:
    """Graphs, parity, bundle, and a registered ONNX version beside the torch one.

    Raises:
        ValueError: no such version, or it was fitted on other rows than `data` names.
        RuntimeError: parity does not hold; nothing is registered.
    """
    found = tracking.find_version(reference, settings.model_name)
    facts = tracking.model_metadata(found.uri)
    if facts["data"]["digest"] != materials.corpus.digest:
        raise ValueError(
            f"model='{reference}' was fitted on '{facts['data']['name']}', not on data='{settings.data.source}' as "
            "it is read now: pass the same data and settings (parity is checked on its validation rows)."
        )
    variant = facts["variant"]
    tags = {"stage": "export", "variant": f"{variant}-onnx", "source_run_id": found.run_id, "exported": variant}
    with tracking.start_run(f"export · {variant}", tags=tags, nested=nested) as run_id:
        tracking.log_settings(settings, ("export", "serve"))
        with tempfile.TemporaryDirectory() as work:
            graphs = _export(found, settings, materials.corpus, Path(work))
            folder = settings.home / "bundles" / variant
            graphs = recommend(graphs, settings)
            contents = _contents(found, facts, settings)
            card = tracking.artifact_text(found.run_id, "model_card.md")
            write_bundle(folder, graphs, contents, list(materials.corpus.validation.texts), card=card)
            _log(graphs, found, folder)
            number = _register(graphs, found, settings)
    log.info("export %s | %s | registered as version %s", variant, ", ".join(graphs.paths), number)
    return Exported(run_id, variant, folder, number)


def _export(found: tracking.Version, settings: Settings, corpus: Corpus, work: Path) -> Graphs:
    model, tokenizer = tracking.load_model(found.uri)
    texts = list(corpus.validation.texts)
    graphs = export_graphs(
        model,
        tokenizer,
        work,
        settings.export,
        list(corpus.train.texts[:CALIBRATION_TEXTS]),
        validation_texts=texts,
        validation_labels=corpus.validation.labels,
        max_length=settings.data.max_length,
    )
    table = latency_table(model, graphs.paths, seconds=0.05)
    tracking.log_table("latency", table)
    return graphs


def recommend(graphs: Graphs, settings: Settings) -> Graphs:
    """The graph that the service takes: the one asked for where it passed its gate, else fp32."""
    asked = settings.serve.graph
    if asked == "fastest":
        return graphs
    kind = asked if asked in graphs.paths else "fp32"
    if kind != asked:
        log.warning("serve.graph=%s: %s; the service takes fp32", asked, graphs.left_out.get(asked, "not exported"))
    return replace(graphs, recommended=dict.fromkeys(graphs.recommended, kind))


def _contents(found: tracking.Version, facts: dict, settings: Settings) -> BundleContents:
    metrics = tracking.get_run(found.run_id).data.metrics
    kept = ("test/", "behaviour/", "floor/")
    decision = facts["decision"]
    return BundleContents(
        name=found.name,
        variant=facts["variant"],
        labels=tuple(facts["labels"]),
        positive=facts["positive"],
        version=found.version,
        run_id=found.run_id,
        data=facts["data"],
        teacher=facts["teacher"],
        layer_map=tuple(facts["layer_map"]) if facts["layer_map"] else None,
        temperature=decision["temperature"],
        threshold=decision["threshold"],
        review=tuple(decision["review"]),
        target=decision["target"],
        pooling=settings.serve.pooling,
        window_overlap=settings.serve.window_overlap,
        provider=settings.serve.provider,
        metrics={key: value for key, value in sorted(metrics.items()) if key.startswith(kept)},
        limits=limits(facts),
    )


def _log(graphs: Graphs, found: tracking.Version, folder: Path) -> None:
    sizes = {f"cost/onnx_{kind}_mb": path.stat().st_size / 1e6 for kind, path in graphs.paths.items()}
    best = graphs.recommended["cpu"]
    figures = {"cost/onnx_mb": sizes[f"cost/onnx_{best}_mb"], **sizes}
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


def _register(graphs: Graphs, found: tracking.Version, settings: Settings) -> str:
    variant = found.tags["variant"]
    entry = tracking.ModelEntry(
        registered_name=found.name,
        variant=variant,
        description=f"ONNX graphs of version {found.version} ({variant}); the bundle is an artifact of its run.",
        tags={"variant": variant, "kind": "onnx", "torch_version": found.version, "synthetic": found.tags["synthetic"]},
        requirements=tuple(f"{name}=={version(name)}" for name in ONNX_PACKAGES),
    )
    uri = tracking.log_onnx(graphs.paths["fp32"], entry, graphs.encoder.inputs)
    return tracking.register(uri, entry, (f"{variant}-onnx",))
