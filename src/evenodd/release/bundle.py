"""The bundle: a folder with graphs, tokenizer, decision and digests. The contract between release and service."""

from __future__ import annotations

import dataclasses
import hashlib
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
from tokenizers import Tokenizer

from evenodd.evidence.calibration import calibrate
from evenodd.release.checked import CHECKED, EXACT, Boundaries
from evenodd.release.encode import TextEncoder
from evenodd.release.export import FILES, Graphs
from evenodd.release.parity import rows_logits, session_logits
from evenodd.release.sessions import Provider, open_session

log = logging.getLogger(__name__)

FORMAT = 1
MANIFEST = "bundle.json"
TOKENIZER = "tokenizer.json"
CARD = "card.md"
BINS = 10

SAMPLE_TEXTS = (
    "Have a nice day.",
    "I hate Mondays.",
    "They should all go back to where they came from.",
    "12345 67890",
    "👍🏽 👩‍👩‍👧‍👦 🇪🇺 !!!",
    "שלום עולם، مرحبا بالعالم",
    "x",
    " ".join(["The", "committee", "met", "again", "and", "nothing", "was", "decided", "."] * 40),
)


@dataclass(frozen=True)
class BundleContents:
    """What a bundle says beside its graphs.

    Attributes:
        name: of the registered model.
        variant: `teacher`, `odd`, `even`, `lora`, …
        labels: names in the order of their numbers.
        positive: the label that the threshold is about, or None.
        version: of the registered torch model, as text, or None before registration.
        run_id: of the run that fitted it.
        data: name, digest and whether the rows are synthetic.
        teacher: what the weights started from.
        layer_map: teacher layers kept, from 1; None for a full-depth model.
        temperature: > 0, divides the logits.
        bias: added to each scaled logit; empty: none.
        threshold: probability of the positive label from which it is called, or None.
        review: [low, high) of the probability that people look at.
        target: what the threshold was fitted for.
        pooling: `max` or `mean` over the windows of a long text.
        window_overlap: tokens that neighbouring windows share.
        provider: `auto`, `cpu`, `cuda` or `tensorrt`.
        metrics: name to value, as they stand on the card.
        limits: one line each.
        samples: texts to check at start, beside the built-in ones.
    """

    name: str
    variant: str
    labels: tuple[str, ...]
    positive: str | None = None
    version: str | None = None
    run_id: str | None = None
    data: dict[str, Any] = field(default_factory=dict)
    teacher: str | None = None
    layer_map: tuple[int, ...] | None = None
    temperature: float = 1.0
    bias: tuple[float, ...] = ()
    threshold: float | None = 0.5
    review: tuple[float, float] = (0.5, 0.5)
    target: str = "f1_macro"
    pooling: str = "max"
    window_overlap: int = 32
    provider: str = "auto"
    metrics: dict[str, float] = field(default_factory=dict)
    limits: tuple[str, ...] = ()
    samples: tuple[str, ...] = ()

    @property
    def boundaries(self) -> Boundaries:
        """Where labels and decisions change."""
        positive = None if self.positive is None else self.labels.index(self.positive)
        return Boundaries(self.temperature, positive, self.threshold, self.review, self.bias)


@dataclass(frozen=True)
class Bundle:
    """A bundle that was read and whose digests hold."""

    path: Path
    manifest: dict[str, Any]

    @property
    def labels(self) -> tuple[str, ...]:
        return tuple(self.manifest["labels"])

    @property
    def encoder(self) -> TextEncoder:
        """Texts to the inputs of this bundle's graphs."""
        m = self.manifest
        tokenizer = Tokenizer.from_file(str(self.path / TOKENIZER))
        return TextEncoder(tokenizer, tuple(m["inputs"]), m["pad_token_id"], m["max_length"], m["window_overlap"])

    def predict(
        self, texts: Sequence[str], *, kind: str | None = None, provider: Provider = "cpu", threads: int | None = None
    ) -> np.ndarray:
        """Logits of texts, batches sorted by length, texts cut at `max_length`: float32, (n, labels).

        Args:
            texts: any strings.
            kind: which graph; None: what the bundle recommends for the device (fp32 where that is `checked`).
            provider: as in `open_session`.
            threads: as in `open_session`.

        Raises:
            ValueError: the bundle has no such graph.
            RuntimeError: the provider did not come up.
        """
        device = "cpu" if provider in ("cpu", "auto") else "cuda"
        kind = _single(kind or self.manifest["recommended"][device])
        graphs = self.manifest["graphs"]
        if kind not in graphs:
            raise ValueError(f"kind={kind!r}: the bundle {self.path.name} holds {', '.join(graphs)}.")
        if not len(texts):
            return np.empty((0, len(self.labels)), dtype=np.float32)
        return session_logits(open_session(self.path / graphs[kind], provider, threads=threads), self.encoder, texts)

    def probabilities(self, logits: np.ndarray) -> np.ndarray:
        """Calibrated probabilities: float64, (n, labels)."""
        decision = self.manifest["decision"]
        return calibrate(logits, decision["temperature"], decision.get("bias", ()))


def _single(kind: str) -> str:
    """The graph whose labels and decisions a kind has."""
    return EXACT if kind == CHECKED else kind


def pool_windows(probabilities: np.ndarray, pooling: str, positive: int | None) -> np.ndarray:
    """One row for a text out of those of its windows, as the service pools them.

    `max` takes the window with the highest probability of the positive label; without one, the highest probability of
    each label, made to sum to 1. `mean` takes the mean.

    Args:
        probabilities: float64, (windows, labels).
        pooling: `max` or `mean`.
        positive: number of the positive label, or None.

    Returns:
        float64, (labels,).
    """
    if len(probabilities) == 1:
        return probabilities[0]
    if pooling == "mean":
        return probabilities.mean(axis=0)
    if positive is not None:
        return probabilities[probabilities[:, positive].argmax()]
    highest = probabilities.max(axis=0)
    return highest / highest.sum()


def write_bundle(
    out: Path, graphs: Graphs, contents: BundleContents, reference_texts: Sequence[str], *, card: str | None = None
) -> Path:
    """Writes a bundle in one step: a folder beside `out` is filled, checked, and then renamed to it.

    Args:
        out: the bundle's folder; one that is there is replaced.
        graphs: from `export_graphs`.
        contents: what the service has to know, beside the graphs.
        reference_texts: the validation split, for the drift histograms; any number of texts.
        card: Markdown, or None.

    Returns:
        `out`.

    Raises:
        ValueError: the labels do not fit the graph, or there are no reference texts.
    """
    if not len(reference_texts):
        raise ValueError("reference_texts is empty: drift is measured against the validation split.")
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{out.name}-", dir=out.parent) as holder:
        work = Path(holder) / out.name
        work.mkdir()
        _write_files(work, graphs, card)
        manifest = _describe(work, graphs, contents, reference_texts)
        (work / MANIFEST).write_text(json.dumps(manifest, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        read_bundle(work)
        if out.exists():
            out.rename(Path(holder) / "replaced")
        work.rename(out)
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
    encoder = dataclasses.replace(graphs.encoder, overlap=_fitting_overlap(contents, graphs.encoder))
    scorer = _Scorer(work, encoder, contents)
    files = [*(FILES[kind] for kind in graphs.paths), TOKENIZER, *([CARD] if (work / CARD).exists() else [])]
    return {
        "format": FORMAT,
        "name": contents.name,
        "variant": contents.variant,
        "version": contents.version,
        "run_id": contents.run_id,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "labels": list(contents.labels),
        "positive": contents.positive,
        "task": "binary" if len(contents.labels) == 2 else "multiclass",
        "max_length": encoder.max_length,
        "pad_token_id": encoder.pad_token_id,
        "inputs": list(encoder.inputs),
        "pooling": contents.pooling,
        "window_overlap": encoder.overlap,
        "provider": contents.provider,
        "decision": {
            "temperature": contents.temperature,
            "threshold": contents.threshold,
            "review": list(contents.review),
            "target": contents.target,
            **({"bias": list(contents.bias)} if contents.bias else {}),
        },
        "graphs": {kind: FILES[kind] for kind in graphs.paths},
        "recommended": graphs.recommended,
        "checked": None if graphs.checked is None else dataclasses.asdict(graphs.checked),
        "files": {name: file_digest(work / name) for name in files},
        "data": contents.data,
        "teacher": contents.teacher,
        "layer_map": None if contents.layer_map is None else list(contents.layer_map),
        "metrics": contents.metrics,
        "limits": list(contents.limits),
        "samples": scorer.samples([*SAMPLE_TEXTS, *contents.samples], list(graphs.paths)),
        "reference": scorer.reference(reference_texts, _single(graphs.recommended["cpu"])),
    }


def _fitting_overlap(contents: BundleContents, encoder: TextEncoder) -> int:
    """The overlap asked for, or a quarter of a window where that is less: a window must move on."""
    fitting = min(contents.window_overlap, encoder.max_length // 4)
    if fitting < contents.window_overlap:
        log.info(
            "window_overlap %d → %d, for windows of %d tokens", contents.window_overlap, fitting, encoder.max_length
        )
    return fitting


class _Scorer:
    """Calibrated, pooled probabilities of texts of any length, as the service gives them."""

    def __init__(self, work: Path, encoder: TextEncoder, contents: BundleContents) -> None:
        self.work, self.encoder, self.contents = work, encoder, contents
        self.positive = None if contents.positive is None else contents.labels.index(contents.positive)

    def score(self, texts: Sequence[str], kind: str, *, alone: bool = False) -> np.ndarray:
        """float64, (n, labels); with `alone` each window by itself, as int8's scores depend on the batch."""
        windows = self.encoder.windows(texts)
        flat = [window for parts in windows for window in parts]
        session = open_session(self.work / FILES[kind], "cpu")
        batches = [[window] for window in flat] if alone else [flat]
        logits = np.concatenate([rows_logits(session, self.encoder, batch) for batch in batches])
        if logits.shape[1] != len(self.contents.labels):
            raise ValueError(
                f"labels={list(self.contents.labels)}: {len(self.contents.labels)} names, but the graph has "
                f"{logits.shape[1]} outputs."
            )
        rows = calibrate(logits, self.contents.temperature, self.contents.bias)
        ends = np.cumsum([len(parts) for parts in windows])
        return np.array(
            [pool_windows(part, self.contents.pooling, self.positive) for part in np.split(rows, ends[:-1])]
        )

    def samples(self, texts: Sequence[str], kinds: Sequence[str]) -> list[dict[str, Any]]:
        """Texts with the probabilities that each graph must reproduce."""
        texts = list(dict.fromkeys(texts))
        scores = {kind: self.score(texts, kind, alone=True).round(6).tolist() for kind in kinds}
        return [{"text": t, "probabilities": {kind: scores[kind][i] for kind in kinds}} for i, t in enumerate(texts)]

    def reference(self, texts: Sequence[str], kind: str) -> dict[str, list[float]]:
        """Histograms of scores and of lengths in tokens, that drift is measured against."""
        probabilities = self.score(texts, kind)
        scores = probabilities.max(axis=1) if self.positive is None else probabilities[:, self.positive]
        lengths = self.encoder.lengths(texts)
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


def read_bundle(path: Path) -> Bundle:
    """Reads a bundle and checks the digest of every file it names.

    Raises:
        ValueError: there is no bundle, its format is unknown, or a file is missing or changed.
    """
    manifest_path = path / MANIFEST
    if not manifest_path.is_file():
        raise ValueError(f"bundle {path}: it has no {MANIFEST}. Make one with: mlflow run . -e export")
    try:
        manifest = json.loads(manifest_path.read_text(encoding="utf-8"))
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise ValueError(f"bundle {path}: {MANIFEST} is not JSON ({error}). Export it again.") from error
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        found = manifest.get("format") if isinstance(manifest, dict) else None
        raise ValueError(f"bundle {path}: format {found!r}; this version reads format {FORMAT}. Export it again.")
    for name, expected in manifest["files"].items():
        if Path(name).name != name or not (path / name).is_file():
            raise ValueError(f"bundle {path}: {name} is missing. Export it again.")
        found = file_digest(path / name)
        if found != expected:
            raise ValueError(
                f"bundle {path}: {name} is not the file that was exported (SHA-256 {found['sha256'][:12]}… instead of "
                f"{expected['sha256'][:12]}…). Export it again."
            )
    return Bundle(path, manifest)


def file_digest(path: Path) -> dict[str, Any]:
    """SHA-256 and size in bytes of a file."""
    with path.open("rb") as file:
        return {"sha256": hashlib.file_digest(file, "sha256").hexdigest(), "bytes": path.stat().st_size}
