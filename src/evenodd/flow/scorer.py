"""Anything that scores texts: a registered version, a run, or a bundle."""

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
    """A classifier that is found and not opened yet; every process that needs it opens its own.

    Attributes:
        name: for tables and logs.
        lineage: run, version, data digest, as far as known.
        labels: its label names, in the order of their numbers.
        bundle: its folder.
        uri: of a logged torch model, where there is no bundle.
    """

    name: str
    lineage: dict[str, Any]
    labels: tuple[str, ...]
    bundle: Path | None = None
    uri: str = ""

    @property
    def identity(self) -> dict[str, Any]:
        """What names it wherever it lies: lineage, and the digest of what a bundle's description vouches for."""
        known = {"name": self.name, **self.lineage}
        return known | ({"bundle_sha256": file_digest(self.bundle / MANIFEST)} if self.bundle else {"uri": self.uri})

    def choose_graph(self) -> str | None:
        """The graph that answers here as the service would choose it; None for a model that is no bundle."""
        return open_engine(read_bundle(self.bundle), EngineOptions()).graph if self.bundle else None

    def open(self, threads: int = 1, graph: str | None = None) -> Classifier:
        """The classifier, warm.

        Args:
            threads: of ONNX Runtime; torch has those that it has.
            graph: of a bundle; None: as the service would choose it.
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
    """A classifier and where it comes from.

    Attributes:
        name: for tables and logs.
        classifier: answers texts.
        lineage: run, version, data digest, as far as known.
    """

    name: str
    classifier: Classifier
    lineage: dict[str, Any]

    @property
    def decision(self) -> Decision:
        """Temperature, threshold and review band; holds the label names."""
        return self.classifier.decision

    @property
    def label_names(self) -> tuple[str, ...]:
        """In the order of their numbers."""
        return self.decision.label_names

    def probabilities(self, texts: Sequence[str]) -> np.ndarray:
        """Calibrated: float64, (n, labels)."""
        return self.classifier.score(texts)

    def is_positive(self, texts: Sequence[str]) -> np.ndarray:
        """Whether the model calls them by the positive label: bool, (n,)."""
        return self.decision.labels(self.probabilities(texts)) == self.decision.positive


def open_scorer(reference: str, registered_name: str) -> Scorer:
    """A scorer for what `find_model` finds."""
    return scorer_of(find_model(reference, registered_name))


def scorer_of(model: Model) -> Scorer:
    """A model, opened."""
    return Scorer(model.name, model.open(), model.lineage)


def said_model(request: Request) -> Model:
    """The model that a command names; else the champion of its `name`; else that of the only name that has one.

    Raises:
        ValueError: none is named, and several names or none have a champion; or there is none such.
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
        "no model has a champion in this registry: pass model=FOLDER of a bundle, a run's id or NAME/VERSION; or make "
        "one: evenodd main data=FILE."
    )


def find_model(reference: str, registered_name: str) -> Model:
    """The model of a bundle's folder, a run id, `name@alias`, `name/version` or an alias.

    An alias stands for the bundle that was exported from its version, if there is one; a number for that version.

    Raises:
        ValueError: there is none such.
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
    """A logged torch model, which reads long texts in windows as the service does."""
    facts = tracking.model_metadata(uri)
    known = {**lineage, "data_digest": facts["data"]["digest"], "variant": facts["variant"]}
    return Model(name, known, Task.from_dict(facts["task"]).labels, uri=uri)


def _bundled(path: Path) -> Model:
    bundle = read_bundle(path)
    about = bundle.description
    lineage = {"run_id": about["run_id"], "version": about["version"], "data_digest": about["data"].get("digest")}
    return Model(f"bundle {bundle.variant}", lineage, bundle.task.labels, bundle=path.resolve())
