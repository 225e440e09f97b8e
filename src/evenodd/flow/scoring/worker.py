"""Answers a shard's texts in any process: a worker imports only this module and the packages that a bundle needs."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from evenodd.classifier import Classifier
from evenodd.classifier.engine import EngineOptions

PROBABILITY = "p_"


@dataclass(frozen=True)
class Place:
    """Information for a worker.

    Attributes:
        name: unique name of the model.
        bundle: folder of the bundle; None: open `model`.
        graph: graph of the bundle.
        files: files of a bundle that does not exist on the worker's machine, by name.
        model: a `Model` of evenodd.flow.scorer that is not a bundle.
        store: tracking store that it was logged to.
        environment: environment variables that libraries read.
    """

    name: str
    bundle: Path | None
    graph: str | None
    files: Mapping[str, bytes]
    model: Any
    store: dict[str, str]
    environment: dict[str, str]

    def open(self) -> Classifier:
        """The classifier."""
        if self.bundle is None:
            from evenodd import tracking

            tracking.connect(self.store)
            classifier: Classifier = self.model.open()
            return classifier
        if not self.files:
            return Classifier.open(self.bundle, EngineOptions(graph=self.graph))
        with tempfile.TemporaryDirectory(prefix="evenodd-") as folder:
            for name, content in self.files.items():
                (Path(folder) / name).write_bytes(content)
            return Classifier.open(Path(folder), EngineOptions(graph=self.graph))


_opened: dict[str, Classifier] = {}


def answers(texts: Sequence[str], place: Place) -> pa.Table:
    """Answers a shard in a worker, which keeps its classifier between shards."""
    if place.name not in _opened:
        os.environ.update(place.environment)
        _opened.clear()
        _opened[place.name] = place.open()
    return answer_texts(_opened[place.name], texts)


def answer_texts(classifier: Classifier, texts: Sequence[str]) -> pa.Table:
    """One row per text: `label`, `decision`, `score`, `p_LABEL` for every label, `windows`."""
    decision = classifier.decision
    probabilities, windows = classifier.read(texts)
    names = decision.label_names
    return pa.table(
        {
            "label": pa.array([names[number] for number in decision.labels(probabilities)], pa.string()),
            "decision": pa.array(decision.decide(probabilities), pa.string()),
            "score": pa.array(decision.scores(probabilities), pa.float64()),
            **{f"{PROBABILITY}{name}": pa.array(probabilities[:, at]) for at, name in enumerate(names)},
            "windows": pa.array(windows, pa.int32()),
        }
    )
