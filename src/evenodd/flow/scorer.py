"""Anything that scores texts: a registered version, a run, or a bundle."""

from __future__ import annotations

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
from evenodd.flow.bundles import bundle_of
from evenodd.release.torch_session import torch_classifier
from evenodd.task import Decision, Task

RUN_ID = re.compile(r"[0-9a-f]{32}")


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
    """A scorer for a bundle's folder, a run id, `name@alias`, `name/version` or an alias.

    Raises:
        ValueError: there is none such.
        RuntimeError: its files are damaged.
    """
    if (Path(reference) / "bundle.json").is_file():
        return _bundle_scorer(Path(reference))
    if RUN_ID.fullmatch(reference):
        tags = tracking.get_run(reference).data.tags
        if "model_uri" not in tags:
            raise ValueError(f"model='{reference}': the run logged no model.")
        return torch_scorer(f"run {reference[:8]}", tags["model_uri"], {"run_id": reference})
    version = tracking.find_version(reference, registered_name)
    if version.tags.get("kind") == "onnx":
        return _bundle_scorer(bundle_of(version.run_id))
    name = f"{version.name} version {version.version}"
    return torch_scorer(name, version.uri, {"run_id": version.run_id, "version": version.version})


def torch_scorer(name: str, uri: str, lineage: dict[str, Any]) -> Scorer:
    """A logged torch model, which reads long texts in windows as the service does."""
    model, tokenizer = tracking.load_model(uri)
    facts = tracking.model_metadata(uri)
    decision = Decision.from_dict(facts["decision"], Task.from_dict(facts["task"]))
    lengths = {name: facts[name] for name in ("max_length", "window_overlap")}
    lineage = {**lineage, "data_digest": facts["data"]["digest"], "variant": facts["variant"]}
    return Scorer(name, torch_classifier(model, tokenizer, decision, **lengths), lineage)


def _bundle_scorer(path: Path) -> Scorer:
    bundle = read_bundle(path)
    about = bundle.description
    lineage = {"run_id": about["run_id"], "version": about["version"], "data_digest": about["data"].get("digest")}
    return Scorer(f"bundle {bundle.variant}", Classifier(open_engine(bundle, EngineOptions())), lineage)
