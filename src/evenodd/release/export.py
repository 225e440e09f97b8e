"""Exports a fitted model to graphs: builds every kind, measures it and checks its gate."""

from __future__ import annotations

import logging
import shutil
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from evenodd.classifier.manifest import DEVICES, EXACT
from evenodd.classifier.scoring import Session
from evenodd.classifier.session import open_session
from evenodd.encoders.check import position_limit
from evenodd.release.checked import Checked
from evenodd.release.encode import PROBE_TEXTS, Feeds, TextEncoder, plain_tokenizer, sorted_batches
from evenodd.release.graph import fuse_graph, graph_inputs, lean_graph, model_inputs, trace_graph
from evenodd.release.parity import ParityReport, compare_logits, f1_macro, session_logits, torch_logits
from evenodd.release.quantize import INT8_RECIPES, write_fp16, write_int8
from evenodd.settings import ExportSettings

log = logging.getLogger(__name__)

FILES = {"fp32": "model.onnx", "fp16": "model.fp16.onnx", "int8": "model.int8.onnx"}
SPEED_TEXTS = 128
SPEED_REPEATS = 3
TIE = 1.05
CALIBRATION_TEXTS = 256


@dataclass(frozen=True)
class ExportData:
    """Texts for measuring an export.

    Attributes:
        calibration: training texts, for the int8 recipe that measures activations.
        validation: texts of the validation split, for parity and the gates.
        labels: int64, (n,), labels of the validation texts, or None.
    """

    calibration: Sequence[str]
    validation: Sequence[str]
    labels: np.ndarray | None = None


@dataclass(frozen=True)
class Candidate:
    """One candidate graph: a row of the table of candidates."""

    kind: str
    recipe: str
    megabytes: float
    sentences_per_second: float
    flips: int
    texts: int
    max_abs_diff: float
    f1_loss: float | None
    failure: str


@dataclass(frozen=True)
class Graphs:
    """Result of an export.

    Attributes:
        paths: kind to file, for kinds that passed their gate.
        encoder: encodes texts as inputs of the graphs.
        chosen: kind to its row in the table of candidates.
        recommended: device (`cpu`, `cuda`) to kind, or to `checked`, which the machine that serves measures again.
        candidates: all graphs that were tried, with size, speed and difference.
        left_out: kind to reason, for kinds that failed their gate.
        f1_macro: macro-F1 of the float32 graph on the validation texts; None without labels.
        checked: margin and cost of int8 checked by float32; None if it was not measured.
    """

    paths: dict[str, Path]
    encoder: TextEncoder
    chosen: dict[str, Candidate]
    candidates: pd.DataFrame
    recommended: dict[str, str] = field(default_factory=lambda: dict.fromkeys(DEVICES, EXACT))
    left_out: dict[str, str] = field(default_factory=dict)
    f1_macro: float | None = None
    checked: Checked | None = None


def export_graphs(
    model: Any,
    tokenizer: Any,
    out: Path,
    settings: ExportSettings,
    calibration_texts: Sequence[str],
    *,
    validation_texts: Sequence[str],
    validation_labels: np.ndarray | None = None,
    max_length: int = 128,
) -> Graphs:
    """Writes the graphs of `settings.kinds`, for each kind the fastest candidate that passes its gate.

    Args:
        model: a transformers sequence classifier without unmerged adapters; it is not changed.
        tokenizer: its tokenizer.
        out: folder for the graphs, created if missing.
        settings: kinds and gates.
        calibration_texts: training texts, for the int8 recipe that measures activations.
        validation_texts: texts for measuring parity and the gates.
        validation_labels: int64, (n,), for the macro-F1 gate of int8.
        max_length: maximum tokens of a window.

    Raises:
        ValueError: an adapter is not merged, the tokenizer has no fast core, or there are no validation texts.
        RuntimeError: fp32 parity failed, or the only requested kind failed its gate.
    """
    if not len(validation_texts):
        raise ValueError("validation_texts is empty: parity needs at least one text.")
    _refuse_long_windows(model, max_length)
    out.mkdir(parents=True, exist_ok=True)
    data = ExportData(list(calibration_texts), list(validation_texts), validation_labels)
    with tempfile.TemporaryDirectory(prefix="export-", dir=out) as work:
        return _Export(model, tokenizer, Path(work), settings, data, max_length).run(out)


def _refuse_long_windows(model: Any, max_length: int) -> None:
    """Checks that a window has no more tokens than the model has positions."""
    limit = position_limit(model)
    if limit is not None and max_length > limit:
        family = model.config.model_type
        raise ValueError(f"max_length={max_length}: {family} has {limit} positions. Pass at most {limit}.")


class _Export:
    """One export: the graphs tried so far and their references."""

    def __init__(
        self, model: Any, tokenizer: Any, work: Path, settings: ExportSettings, data: ExportData, max_length: int
    ) -> None:
        self.model, self.work, self.settings, self.data = model, work, settings, data
        inputs = model_inputs(model, tokenizer)
        self.sources = {"plain": trace_graph(model, inputs, work / "plain.onnx")}
        self.encoder = TextEncoder(
            plain_tokenizer(tokenizer),
            graph_inputs(self.sources["plain"]),
            model.config.pad_token_id or 0,
            max_length,
        )
        self.tried: list[tuple[Candidate, Path]] = []
        self.seen: dict[Path, np.ndarray] = {}

    def run(self, out: Path) -> Graphs:
        """Builds the kinds in order; float32 comes first because the others are derived from it."""
        chosen: dict[str, tuple[Candidate, Path]] = {}
        left_out: dict[str, str] = {}
        for kind in dict.fromkeys(("fp32", *self.settings.kinds)):
            self._try_fp32() if kind == "fp32" else self._try_kind(kind)
            best = self._choose(kind)
            if best is None:
                left_out[kind] = self._refuse(kind)
            else:
                chosen[kind] = best
        candidates = {kind: candidate for kind, (candidate, _) in chosen.items()}
        return Graphs(
            paths={kind: Path(shutil.copy(path, out / FILES[kind])) for kind, (_, path) in chosen.items()},
            encoder=self.encoder,
            chosen=candidates,
            candidates=pd.DataFrame(asdict(c) | {"chosen": c in candidates.values()} for c, _ in self.tried),
            left_out=left_out,
            f1_macro=None if self.data.labels is None else f1_macro(self.data.labels, self.expected),
        )

    def _try_fp32(self) -> None:
        """Compares float32 graphs with torch. An error is raised if the plain one fails; others are dropped."""
        count = self.settings.parity_texts or len(self.data.validation)
        chosen = _spread(self.data.validation, count)
        texts = [*(self.data.validation[at] for at in chosen), *PROBE_TEXTS]
        expected = torch_logits(self.model, self.encoder, texts)
        plain, config = self.sources["plain"], self.model.config
        self.sources["fused"] = fuse_graph(plain, self.work / "fused.onnx", config)
        self.sources["lean"] = lean_graph(plain, self.work / "lean.onnx", config)
        for name, path in list(self.sources.items()):
            session = open_session(path)
            logits = session_logits(session, self.encoder, texts)
            if len(chosen) == len(self.data.validation):
                self.seen[path] = logits[np.argsort(chosen)]
            report = compare_logits("fp32", expected, logits, self.settings)
            self._note("fp32", name, path, report, session)
            if report.failure and name == "plain":
                raise RuntimeError(f"ONNX parity failed: {report.failure}. Not registered.")
            if report.failure:
                del self.sources[name]

    def _try_kind(self, kind: str) -> None:
        """Tries every recipe of a reduced kind against the float32 graph on the whole validation split."""
        if kind == "fp16":
            source = self.sources.get("fused", self.sources["plain"])
            self._compare(kind, "fused", write_fp16(source, self.work / "fp16.onnx"))
            return
        for index, recipe in enumerate(INT8_RECIPES):
            unusable = recipe.outliers_apart and not self.data.calibration
            if unusable or (recipe.fallback and self._gains(kind)):
                continue
            path = self.work / f"int8-{index}.onnx"
            source = self.sources.get("lean", self.sources["plain"])
            write_int8(source, path, recipe, self.calibration if recipe.outliers_apart else ())
            self._compare(kind, recipe.name, path)

    def _gains(self, kind: str) -> bool:
        """Whether a kind already has a graph that passes its gate and is faster than float32."""
        best, exact = self._choose(kind), self._choose("fp32")
        return best is not None and (exact is None or best[0].sentences_per_second > exact[0].sentences_per_second)

    def _compare(self, kind: str, recipe: str, path: Path) -> None:
        """Scores a reduced graph on the validation split and records it."""
        session = open_session(path)
        logits = session_logits(session, self.encoder, self.data.validation)
        report = compare_logits(kind, self.expected, logits, self.settings, self.data.labels)
        self._note(kind, recipe, path, report, session)

    @cached_property
    def expected(self) -> np.ndarray:
        """Logits of the fastest float32 graph on the validation split, the reference for reduced kinds."""
        best = self._choose("fp32")
        path = self.sources["plain"] if best is None else best[1]
        return (
            self.seen[path]
            if path in self.seen
            else session_logits(open_session(path), self.encoder, self.data.validation)
        )

    @cached_property
    def calibration(self) -> list[Feeds]:
        """Padded batches of training texts, spread over all lengths."""
        texts = self.data.calibration
        rows = self.encoder.encode([texts[at] for at in _spread(texts, CALIBRATION_TEXTS)]) if texts else []
        return [feeds for _, feeds in sorted_batches(rows, self.encoder, batch_size=8)]

    def _note(self, kind: str, recipe: str, path: Path, report: ParityReport, session: Session) -> None:
        """Measures a graph and adds it to the candidates."""
        candidate = Candidate(
            kind=kind,
            recipe=recipe,
            megabytes=path.stat().st_size / 1e6,
            sentences_per_second=session_speed(session, self.encoder, self.data.validation),
            flips=report.flips,
            texts=report.texts,
            max_abs_diff=report.max_abs_diff,
            f1_loss=report.f1_loss,
            failure=report.failure,
        )
        self.tried.append((candidate, path))
        log.info(
            "%s %s | %.1f MB | %.0f sentences/s | %d of %d labels differ | max |Δp| %.2g%s",
            kind,
            recipe,
            candidate.megabytes,
            candidate.sentences_per_second,
            report.flips,
            report.texts,
            report.max_abs_diff,
            f" | {report.failure}" if report.failure else "",
        )

    def _choose(self, kind: str) -> tuple[Candidate, Path] | None:
        """The fastest candidate of a kind that passes its gate; a later one must be faster by more than a tie."""
        best = None
        for candidate, path in reversed([t for t in self.tried if t[0].kind == kind and not t[0].failure]):
            if best is None or candidate.sentences_per_second > TIE * best[0].sentences_per_second:
                best = candidate, path
        return best

    def _refuse(self, kind: str) -> str:
        """Records why a kind is left out; raises an error if it was the only requested kind."""
        reason = "; ".join(f"{c.recipe}: {c.failure}" for c, _ in self.tried if c.kind == kind)
        if self.settings.kinds == (kind,):
            raise RuntimeError(f"ONNX parity failed: {reason}. Not registered.")
        log.warning("%s left out | %s", kind, reason)
        return reason


def session_speed(session: Session, encoder: TextEncoder, texts: Sequence[str]) -> float:
    """Sentences per second, batches of 32 sorted by length, best of three passes over at most 128 texts."""
    chosen = [texts[at] for at in _spread(texts, SPEED_TEXTS)]
    batches = [feeds for _, feeds in sorted_batches(encoder.encode(chosen), encoder)]
    session.run(batches[-1])
    best = float("inf")
    for _ in range(SPEED_REPEATS):
        start = time.perf_counter()
        for feeds in batches:
            session.run(feeds)
        best = min(best, time.perf_counter() - start)
    return min(len(texts), SPEED_TEXTS) / best


def _spread(texts: Sequence[str], count: int) -> list[int]:
    """Positions of `count` texts evenly spread over the lengths of all, the longest among them."""
    ordered = sorted(range(len(texts)), key=lambda at: len(texts[at]))
    return [ordered[at] for at in np.linspace(0, len(ordered) - 1, min(count, len(ordered))).round().astype(int)]
