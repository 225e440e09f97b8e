"""Writing a bundle: a folder with graphs, tokenizer, decision and digests, as `evenodd.classifier` reads it."""

from __future__ import annotations

import dataclasses
import json
import logging
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from evenodd.classifier.bundle import CARD, FORMAT, file_digest, outcome_of, read_bundle
from evenodd.classifier.manifest import CHECKED, EXACT, MANIFEST, TOKENIZER
from evenodd.classifier.session import open_session
from evenodd.classifier.signature import sign
from evenodd.classifier.text import fitting_overlap
from evenodd.release.encode import TextEncoder
from evenodd.release.export import FILES, Graphs
from evenodd.release.parity import rows_logits
from evenodd.storage import replace_folder
from evenodd.task import Decision, Task

log = logging.getLogger(__name__)

BINS = 10
TYPICAL_CHARS = 400

SAMPLE_TEXTS = (
    "Have a nice day.",
    "Nobody likes Mondays.",
    "They should all go back to where they came from.",
    "12345 67890",
    "👍🏽 👩‍👩‍👧‍👦 🇪🇺 !!!",
    "שלום עולם، مرحبا بالعالم",
    "x",
    " ".join(["The", "committee", "met", "again", "and", "nothing", "was", "decided", "."] * 40),
)


@dataclass(frozen=True)
class BundleContents:
    """Content of a bundle in addition to its graphs.

    Attributes:
        name: name of the registered model.
        variant: `teacher`, `odd`, `even`, `lora`, …
        task: labels, kind, positive label and metric.
        decision: temperature, bias, threshold, review band and pooling.
        version: version of the registered torch model, as text; None before registration.
        run_id: id of the run that fitted it.
        data: name and digest of the rows, and whether they are synthetic.
        teacher: the model that the weights were initialised from.
        layer_map: kept teacher layers, from 1; None for a full-depth model.
        window_overlap: tokens that neighbouring windows share.
        provider: `auto`, `cpu`, `cuda` or `tensorrt`.
        metrics: name to value, as on the card.
        limits: one line each.
        warnings: why it would not be promoted, a sentence each; empty: it passes its gates.
        page: texts about the task for the service's page; see `evenodd.classifier.page`.
        samples: texts to check at start, in addition to the built-in ones.
    """

    name: str
    variant: str
    task: Task
    decision: Decision
    version: str | None = None
    run_id: str | None = None
    data: dict[str, Any] = field(default_factory=dict)
    teacher: str | None = None
    layer_map: tuple[int, ...] | None = None
    window_overlap: int = 32
    provider: str = "auto"
    metrics: dict[str, float] = field(default_factory=dict)
    limits: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    page: dict[str, Any] | None = None
    samples: tuple[str, ...] = ()


def write_bundle(
    out: Path,
    graphs: Graphs,
    contents: BundleContents,
    reference_texts: Sequence[str],
    *,
    card: str | None = None,
    signing_key: Path | None = None,
) -> Path:
    """Writes a bundle atomically: a folder beside `out` is filled, checked, and then renamed to `out`.

    Args:
        out: the bundle's folder; an existing one is replaced.
        graphs: from `export_graphs`.
        contents: content in addition to the graphs.
        reference_texts: texts of the validation split, for the drift histograms and for one sample of each label and
            decision that is checked at start.
        card: Markdown, or None.
        signing_key: file with the private key that signs the bundle, or None.

    Returns:
        `out`.

    Raises:
        ValueError: the labels do not fit the graph, there are no reference texts, or the key is not valid.
    """
    if not len(reference_texts):
        raise ValueError("reference_texts is empty: drift is measured against the validation split.")
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{out.name}-", dir=out.parent) as holder:
        work = Path(holder) / out.name
        work.mkdir()
        _write_files(work, graphs, card)
        manifest = _describe(work, graphs, contents, reference_texts)
        content = (json.dumps(manifest, indent=1, ensure_ascii=False) + "\n").encode()
        (work / MANIFEST).write_bytes(content)
        if signing_key is not None:
            sign(work, content, signing_key)
        read_bundle(work)
        replace_folder(work, out)
    log.info("bundle %s | %s | recommended %s", out.name, ", ".join(graphs.paths), graphs.recommended)
    return out


def _write_files(work: Path, graphs: Graphs, card: str | None) -> None:
    """Graphs, tokenizer and card."""
    for kind, path in graphs.paths.items():
        shutil.copyfile(path, work / FILES[kind])
    graphs.encoder.tokenizer.save(str(work / TOKENIZER), pretty=False)
    if card:
        (work / CARD).write_text(card, encoding="utf-8")


def _describe(work: Path, graphs: Graphs, contents: BundleContents, reference_texts: Sequence[str]) -> dict[str, Any]:
    """bundle.json as a dictionary."""
    encoder = dataclasses.replace(
        graphs.encoder, overlap=fitting_overlap(contents.window_overlap, graphs.encoder.max_length)
    )
    scorer = _Scorer(work, encoder, contents)
    best = graphs.recommended["cpu"]
    scored = scorer.score(reference_texts, EXACT if best == CHECKED else best)
    typical = typical_texts(reference_texts, scored, contents.decision)
    files = [*(FILES[kind] for kind in graphs.paths), TOKENIZER, *([CARD] if (work / CARD).exists() else [])]
    return {
        "format": FORMAT,
        "name": contents.name,
        "variant": contents.variant,
        "version": contents.version,
        "run_id": contents.run_id,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "task": contents.task.to_dict(),
        "decision": contents.decision.to_dict(),
        "max_length": encoder.max_length,
        "pad_token_id": encoder.pad_token_id,
        "inputs": list(encoder.inputs),
        "window_overlap": encoder.overlap,
        "provider": contents.provider,
        "graphs": {kind: FILES[kind] for kind in graphs.paths},
        "recommended": graphs.recommended,
        "checked": None if graphs.checked is None else dataclasses.asdict(graphs.checked),
        "files": {name: file_digest(work / name) for name in files},
        "data": contents.data,
        "teacher": contents.teacher,
        "layer_map": None if contents.layer_map is None else list(contents.layer_map),
        "metrics": contents.metrics,
        "limits": list(contents.limits),
        "warnings": list(contents.warnings),
        "page": contents.page,
        "samples": scorer.samples([*SAMPLE_TEXTS, *contents.samples, *typical], list(graphs.paths)),
        "reference": scorer.reference(scored, encoder.lengths(reference_texts)),
    }


class _Scorer:
    """Calibrated, pooled probabilities of texts of any length, equal to the service's."""

    def __init__(self, work: Path, encoder: TextEncoder, contents: BundleContents) -> None:
        self.work, self.encoder, self.contents = work, encoder, contents

    def score(self, texts: Sequence[str], kind: str, *, alone: bool = False) -> np.ndarray:
        """float64, (n, labels); with `alone` each window runs by itself, because int8's scores depend on the batch."""
        windows = self.encoder.windows(texts)
        flat = [window for parts in windows for window in parts]
        session = open_session(self.work / FILES[kind])
        batches = [[window] for window in flat] if alone else [flat]
        logits = np.concatenate([rows_logits(session, self.encoder, batch) for batch in batches])
        labels = self.contents.task.labels
        if logits.shape[1] != len(labels):
            raise ValueError(
                f"labels={list(labels)}: {len(labels)} names, but the graph has {logits.shape[1]} outputs."
            )
        rows = self.contents.decision.probabilities(logits)
        return self.contents.decision.pool_texts(rows, [len(parts) for parts in windows])

    def samples(self, texts: Sequence[str], kinds: Sequence[str]) -> list[dict[str, Any]]:
        """Sample texts with label and decision, and the probabilities that each graph must reproduce."""
        texts = list(dict.fromkeys(texts))
        scores = {kind: self.score(texts, kind, alone=True).round(6).tolist() for kind in kinds}
        exact = scores[EXACT if EXACT in kinds else kinds[0]]
        return [
            {
                "text": text,
                **outcome_of(self.contents.decision, exact[i]),
                "probabilities": {kind: scores[kind][i] for kind in kinds},
            }
            for i, text in enumerate(texts)
        ]

    def reference(self, probabilities: np.ndarray, lengths: np.ndarray) -> dict[str, list[float]]:
        """Histograms of scores and of lengths in tokens, the reference for drift.

        Args:
            probabilities: float64, (texts, labels).
            lengths: int64, (texts,), in tokens.
        """
        scores = self.contents.decision.scores(probabilities)
        length_edges = np.unique(np.quantile(lengths, np.linspace(0, 1, BINS + 1)).round())
        if len(length_edges) == 1:
            length_edges = length_edges[0] + np.array([0.0, 1.0])
        score_edges = np.linspace(0, 1, BINS + 1).round(6)
        return {
            "score_edges": score_edges.tolist(),
            "score_counts": np.histogram(scores, score_edges)[0].tolist(),
            "length_edges": length_edges.tolist(),
            "length_counts": np.histogram(lengths, length_edges)[0].tolist(),
        }


def typical_texts(texts: Sequence[str], probabilities: np.ndarray, decision: Decision) -> list[str]:
    """For each label and decision that occur, the text that is furthest from the boundaries.

    Args:
        texts: candidates; long ones are left out, because bundles contain the texts.
        probabilities: float64, (texts, labels).
        decision: determines where labels and decisions change.
    """
    labels, decided = decision.labels(probabilities), decision.outcomes(probabilities)
    found: dict[tuple[int, int], str] = {}
    for i in np.argsort(-decision.distance(probabilities), kind="stable"):
        if len(texts[i]) <= TYPICAL_CHARS:
            found.setdefault((int(labels[i]), int(decided[i])), texts[i])
    return list(found.values())
