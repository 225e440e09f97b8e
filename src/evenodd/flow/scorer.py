"""Finds and opens a model that scores texts: a registered version, a run, or a bundle."""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from evenodd import tracking
from evenodd.classifier import Classifier
from evenodd.classifier.bundle import read_bundle
from evenodd.classifier.engine import EngineOptions, open_engine
from evenodd.classifier.manifest import MANIFEST
from evenodd.flow.bundles import bundle_of
from evenodd.settings import Request
from evenodd.storage import file_digest
from evenodd.task import Decision, Task

log = logging.getLogger(__name__)

RUN_ID = re.compile(r"[0-9a-f]{32}")
CHAMPION = "champion"


@dataclass(frozen=True)
class Model:
    """A located classifier, which each process opens for itself.

    Attributes:
        name: name for tables and logs.
        lineage: run, version and data digest, as far as known.
        labels: label names, in the order of their indices.
        bundle: folder of the bundle.
        uri: URI of a logged torch model, if there is no bundle.
    """

    name: str
    lineage: dict[str, Any]
    labels: tuple[str, ...]
    bundle: Path | None = None
    uri: str = ""

    @property
    def identity(self) -> dict[str, Any]:
        """Identifies the model independently of its location: lineage and the digest of the bundle's description."""
        known = {"name": self.name, **self.lineage}
        return known | ({"bundle_sha256": file_digest(self.bundle / MANIFEST)} if self.bundle else {"uri": self.uri})

    def choose_graph(self) -> str | None:
        """The graph that the service would choose on this machine; None for a model that is not a bundle."""
        return open_engine(read_bundle(self.bundle), EngineOptions()).graph if self.bundle else None

    def open(self, threads: int = 1, graph: str | None = None) -> Classifier:
        """Opens the classifier and warms it up.

        Args:
            threads: threads of ONNX Runtime; torch's are not changed.
            graph: graph of a bundle; None: the one that the service would choose.
        """
        if self.bundle is not None:
            return Classifier.open(self.bundle, EngineOptions(threads=threads, graph=graph))
        from evenodd.release.torch_session import torch_classifier

        model, tokenizer = tracking.load_model(self.uri)
        facts = tracking.model_metadata(self.uri)
        decision = Decision.from_dict(facts["decision"], Task.from_dict(facts["task"]))
        lengths = {name: facts[name] for name in ("max_length", "window_overlap")}
        return torch_classifier(model, tokenizer, decision, **lengths)


@dataclass(frozen=True)
class Scorer:
    """A classifier and its origin.

    Attributes:
        name: name for tables and logs.
        classifier: answers texts.
        lineage: run, version and data digest, as far as known.
    """

    name: str
    classifier: Classifier
    lineage: dict[str, Any]

    @property
    def decision(self) -> Decision:
        """Temperature, threshold, review band and label names."""
        return self.classifier.decision

    @property
    def label_names(self) -> tuple[str, ...]:
        """Label names in the order of their indices."""
        return self.decision.label_names

    def probabilities(self, texts: Sequence[str]) -> np.ndarray:
        """Calibrated: float64, (n, labels)."""
        return self.classifier.score(texts)

    def is_positive(self, texts: Sequence[str]) -> np.ndarray:
        """Whether the predicted label is the positive one: bool, (n,)."""
        return self.decision.labels(self.probabilities(texts)) == self.decision.positive


def open_scorer(reference: str, registered_name: str) -> Scorer:
    """Opens the model that `find_model` locates."""
    return scorer_of(find_model(reference, registered_name))


def scorer_of(model: Model) -> Scorer:
    """A model, opened."""
    return Scorer(model.name, model.open(), model.lineage)


def said_model(request: Request) -> Model:
    """The given model; by default the champion of the given `name`, or the only champion in the registry.

    Raises:
        ValueError: no model is given and there is not exactly one champion, or the given model does not exist.
    """
    settings = request.settings
    if settings.run.model or request.says("name"):
        return find_model(settings.run.model or CHAMPION, settings.name)
    names = tracking.names_with(CHAMPION)
    if settings.name in names or len(names) == 1:
        name = settings.name if settings.name in names else names[0]
        log.info("model | the champion of '%s'", name)
        return find_model(CHAMPION, name)
    if names:
        raise ValueError(
            f"which model? {', '.join(names)} have a champion: pass name={names[0]}, or model=BUNDLE_FOLDER."
        )
    raise ValueError(
        "no model has a champion in this registry: pass model=FOLDER of a bundle, a run's id or NAME/VERSION; or fit "
        "one: evenodd main data=FILE."
    )


def find_model(reference: str, registered_name: str) -> Model:
    """Locates the model of a bundle's folder, a run id, `name@alias`, `name/version` or an alias.

    An alias refers to the bundle that was exported from its version, if there is one; a number refers to that version.

    Raises:
        ValueError: there is no such model.
        RuntimeError: its files are damaged.
    """
    if (Path(reference) / MANIFEST).is_file():
        return _bundled(Path(reference))
    if RUN_ID.fullmatch(reference):
        tags = tracking.get_run(reference).data.tags
        if "model_uri" not in tags:
            raise ValueError(f"model='{reference}': the run logged no model.")
        return torch_model(f"run {reference[:8]}", tags["model_uri"], {"run_id": reference})
    version = tracking.find_version(reference, registered_name)
    if version.tags.get("kind") == "onnx":
        return _bundled(bundle_of(version.run_id))
    exports = tracking.find_runs({"stage": "export", "source_run_id": version.run_id})
    if exports and not reference.rpartition("/")[2].isdigit():
        return _bundled(bundle_of(exports[0].info.run_id))
    name = f"{version.name} version {version.version}"
    return torch_model(name, version.uri, {"run_id": version.run_id, "version": version.version})


def torch_model(name: str, uri: str, lineage: dict[str, Any]) -> Model:
    """A logged torch model that reads long texts in windows, as the service does."""
    facts = tracking.model_metadata(uri)
    known = {**lineage, "data_digest": facts["data"]["digest"], "variant": facts["variant"]}
    return Model(name, known, Task.from_dict(facts["task"]).labels, uri=uri)


def _bundled(path: Path) -> Model:
    bundle = read_bundle(path)
    about = bundle.description
    lineage = {"run_id": about["run_id"], "version": about["version"], "data_digest": about["data"].get("digest")}
    return Model(f"bundle {bundle.variant}", lineage, bundle.task.labels, bundle=path.resolve())
