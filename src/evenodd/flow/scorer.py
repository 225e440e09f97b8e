"""Anything that scores texts: a registered version, a run, or a bundle."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from evenodd import tracking
from evenodd.classifier.bundle import read_bundle
from evenodd.classifier.engine import EngineOptions, open_engine
from evenodd.flow.bundles import bundle_of
from evenodd.release.encode import TextEncoder, plain_tokenizer
from evenodd.release.graph import model_inputs
from evenodd.release.parity import torch_logits
from evenodd.task import Decision, Task

RUN_ID = re.compile(r"[0-9a-f]{32}")


@dataclass(frozen=True)
class Scorer:
    """A model that gives logits for texts.

    Attributes:
        name: for tables and logs.
        decision: temperature, threshold and review band; holds the label names.
        logits: texts to float32, (n, labels).
        lineage: run, version, data digest, as far as known.
    """

    name: str
    decision: Decision
    logits: Callable[[Sequence[str]], np.ndarray]
    lineage: dict[str, Any]

    @property
    def label_names(self) -> tuple[str, ...]:
        """In the order of their numbers."""
        return self.decision.label_names

    @property
    def positive(self) -> str | None:
        """The label that the threshold is about."""
        return self.decision.positive_label

    def probabilities(self, texts: Sequence[str]) -> np.ndarray:
        """Calibrated: float64, (n, labels)."""
        return self.decision.probabilities(self.logits(texts))

    def is_positive(self, texts: Sequence[str]) -> np.ndarray:
        """Whether the model calls them by the positive label: bool, (n,)."""
        return self.logits(texts).argmax(axis=1) == self.decision.positive


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
    """A logged torch model."""
    model, tokenizer = tracking.load_model(uri)
    facts = tracking.model_metadata(uri)
    inputs, pad = model_inputs(model, tokenizer), tokenizer.pad_token_id
    encoder = TextEncoder(plain_tokenizer(tokenizer), tuple(inputs), pad, facts["max_length"])
    decision = Decision.from_dict(facts["decision"], Task.from_dict(facts["task"]))
    lineage = {**lineage, "data_digest": facts["data"]["digest"], "variant": facts["variant"]}
    return Scorer(name, decision, lambda texts: torch_logits(model, encoder, texts), lineage)


def _bundle_scorer(path: Path) -> Scorer:
    bundle = read_bundle(path)
    engine, about = open_engine(bundle, EngineOptions()), bundle.description
    lineage = {"run_id": about["run_id"], "version": about["version"], "data_digest": about["data"].get("digest")}

    def logits(texts: Sequence[str]) -> np.ndarray:
        return bundle.decision.logits(engine.score(texts))

    return Scorer(f"bundle {bundle.variant}", bundle.decision, logits, json.loads(json.dumps(lineage)))
