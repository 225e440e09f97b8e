"""Finished runs as a fit leaves them in the tracking store, with made-up scores: no training, a second or less each."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd

from evenodd.evidence import Scored, classification_metrics, decision_metrics, fit_decision, fit_floors
from evenodd.evidence.suites.behaviour import load_suite, score_suite
from evenodd.flow.materials import Materials
from evenodd.flow.measure import scores_to_bytes
from evenodd.rows import Corpus, Split
from evenodd.settings import DecisionSettings, resolve_settings
from evenodd.task import Task

COSTS = {
    "cost/parameters": 17.4e6,
    "cost/operations_per_token": 10.7e6,
    "cost/trainable_parameters": 5.7e6,
    "cost/train_seconds": 80.0,
    "cost/model_mb": 69.6,
}
LABEL_NAMES = ("noHate", "hate")


@dataclass(frozen=True)
class Made:
    """What a made-up run is like.

    Attributes:
        variant: its name.
        seed: of the run, and of its scores.
        skill: how far apart the logits of the labels are; 0 knows nothing, negative infinity always answers noHate.
        latency: milliseconds a text.
        suite: share of the behaviour suite that it gets right.
        parameters: settings said on the command line.
        metrics: recorded instead of what the scores give.
    """

    variant: str
    seed: int = 0
    skill: float = 3.0
    latency: float = 7.0
    suite: float = 0.7
    parameters: Mapping[str, str] = field(default_factory=dict)
    metrics: Mapping[str, float] = field(default_factory=dict)


def made_scores(split: Split, made: Made) -> Scored:
    """Logits of a split's rows: float32, (rows, 2)."""
    rng = np.random.default_rng([made.seed, len(split), sum(map(ord, made.variant))])
    hard = np.random.default_rng(len(split)).normal(size=(len(split), 2))
    logits = hard + 0.5 * rng.normal(size=hard.shape)
    if made.skill == float("-inf"):
        logits = np.tile([2.0, -2.0], (len(split), 1))
    else:
        logits += made.skill * np.eye(2)[split.labels]
    exponents = np.exp(logits)
    probabilities = exponents / exponents.sum(axis=1, keepdims=True)
    return Scored(split.labels, probabilities, split.row_ids, logits.astype(np.float32))


def materials_of(corpus: Corpus, folder: Path) -> Materials:
    """Rows and floors for a comparison, which needs no encoder."""
    return Materials(corpus, folder, "tiny", "encoder digest", folder, 64, suite="own")


def figures_of(made: Made, corpus: Corpus) -> tuple[dict[str, float], dict[str, Scored], Any]:
    """Metrics, scores by split and the decision of a made-up run."""
    scored = {name: made_scores(getattr(corpus, name), made) for name in ("validation", "test")}
    about: dict[str, Any] = {"label_names": LABEL_NAMES, "positive": "hate"}
    task = Task.single_label(LABEL_NAMES, "hate")
    decision = fit_decision(scored["validation"].logits, corpus.validation.labels, DecisionSettings(), task)
    figures = {**COSTS, "cost/latency_p50_ms": made.latency, "train/loss": 0.3}
    for name, found in scored.items():
        measured = classification_metrics(found.labels, found.probabilities, **about)
        measured |= decision_metrics(decision, found.logits, found.labels)
        figures |= {f"{name}/{key}": value for key, value in measured.items()}
    splits = {"validation": corpus.validation, "test": corpus.test}
    figures |= fit_floors(corpus.train, splits, **about).to_metrics()
    return figures | dict(made.metrics), scored, decision


def history_of(made: Made) -> pd.DataFrame:
    """Three epochs."""
    rows = [
        {"variant": made.variant, "seed": made.seed, "epoch": epoch, "split": split, "metric": metric, "value": value}
        for epoch in (1, 2, 3)
        for split, metric, value in (("train", "loss", 0.6 / epoch), ("validation", "f1_macro", 0.6 + epoch / 20))
    ]
    return pd.DataFrame(rows)


def add_finished(tracking: ModuleType, corpus: Corpus, made: Made, *, model_uri: str = "", **tags: str) -> str:
    """Writes a made-up run into the store; its version's number when a model is named, else its run id."""
    figures, scored, decision = figures_of(made, corpus)
    suite = load_suite()
    right = np.random.default_rng(made.seed).random(len(suite)) < made.suite
    called = suite.cases["positive"].to_numpy() == right
    behaviour = score_suite(suite, called).metrics()
    own = {"variant": made.variant, "seed": str(made.seed), "data_digest": corpus.digest, "version": "1"}
    own["validation_digest"] = corpus.validation.digest
    own |= {"model_uri": model_uri or "models:/none", **tags}
    with tracking.start_run(f"{made.variant} · seed {made.seed}", tags=own) as run_id:
        tracking.log_settings(resolve_settings(dict(made.parameters)), ("seed", "data", "train"))
        tracking.log_metrics({f"behaviour/{key}": value for key, value in behaviour.items()} | figures)
        tracking.log_json(decision.to_dict(), "decision.json")
        tracking.log_text(history_of(made).to_csv(index=False), "tables/history.csv")
        with tempfile.TemporaryDirectory() as folder:
            for name, found in scored.items():
                (path := Path(folder) / f"{name}.npz").write_bytes(scores_to_bytes(found))
                tracking.log_file(path, "scores")
            kept: dict[str, Any] = {"case_id": suite.cases["case_id"].to_numpy(str), "predicted_positive": called}
            np.savez_compressed(path := Path(folder) / "behaviour.npz", **kept)
            tracking.log_file(path, "scores")
        if not model_uri:
            return run_id
        about = {"variant": made.variant, "kind": "torch", "synthetic": "false"}
        entry = tracking.ModelEntry("sample", made.variant, "made up", about)
        version = str(tracking.register(model_uri, entry))
    tracking.set_alias("sample", made.variant, version)
    return version
