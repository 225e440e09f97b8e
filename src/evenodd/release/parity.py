"""Parity of a graph with the model: compares labels, probabilities and macro-F1, with a gate per kind of graph."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy.special import softmax
from sklearn.metrics import f1_score

from evenodd.classifier.scoring import Session
from evenodd.registered.fitted import TorchSession
from evenodd.release.encode import TextEncoder, sorted_batches
from evenodd.settings import ExportSettings


@dataclass(frozen=True)
class ParityReport:
    """Differences between a graph and the model that it was exported from.

    Attributes:
        kind: `fp32`, `fp16` or `int8`.
        texts: texts compared.
        flips: labels (argmax) that differ.
        max_abs_diff: largest difference of a probability.
        f1_loss: decrease in macro-F1, or None without labels.
        failure: empty if the gate passed, otherwise one line with the figures and the bound.
    """

    kind: str
    texts: int
    flips: int
    max_abs_diff: float
    f1_loss: float | None
    failure: str = ""

    @property
    def passed(self) -> bool:
        return not self.failure

    @property
    def flip_share(self) -> float:
        return self.flips / max(self.texts, 1)


def torch_logits(model: torch.nn.Module, encoder: TextEncoder, texts: Sequence[str]) -> np.ndarray:
    """Logits of a transformers classifier in float32 and eval mode: float32, (n, labels)."""
    return session_logits(TorchSession(model), encoder, texts)


def session_logits(session: Session, encoder: TextEncoder, texts: Sequence[str]) -> np.ndarray:
    """Logits of a graph for texts cut at `max_length`, batches of 32 sorted by length: float32, (n, labels)."""
    return rows_logits(session, encoder, encoder.encode(texts))


def rows_logits(session: Session, encoder: TextEncoder, rows: Sequence[Sequence[int]]) -> np.ndarray:
    """Logits of a graph for rows of token ids, in the order given: float32, (n, labels)."""
    out: dict[int, np.ndarray] = {}
    for index, feeds in sorted_batches(rows, encoder):
        out.update(zip(index, session.run(feeds), strict=True))
    return np.stack([out[i] for i in range(len(rows))])


def compare_logits(
    kind: str,
    expected: np.ndarray,
    logits: np.ndarray,
    settings: ExportSettings,
    labels: np.ndarray | None = None,
) -> ParityReport:
    """Compares two sets of logits and applies the gate of the kind.

    Args:
        kind: `fp32`, `fp16` or `int8`.
        expected: float, (n, labels), logits of the model.
        logits: float, same shape, logits of the graph.
        settings: the bounds.
        labels: int64, (n,), for macro-F1; None: no gate on macro-F1.

    Raises:
        ValueError: the shapes differ, or there are no rows.
    """
    if expected.shape != logits.shape or not len(expected):
        raise ValueError(
            f"logits {logits.shape} against {expected.shape}: equal shapes with at least one row are needed."
        )
    probabilities = softmax(logits.astype(np.float64), axis=-1)
    distance = np.abs(probabilities - softmax(expected.astype(np.float64), axis=-1))
    report = ParityReport(
        kind=kind,
        texts=len(expected),
        flips=int((expected.argmax(-1) != logits.argmax(-1)).sum()),
        max_abs_diff=float(distance.max()) if np.isfinite(distance).all() else float("inf"),
        f1_loss=None if labels is None else f1_macro(labels, expected) - f1_macro(labels, logits),
    )
    failure = _failure(report, settings)
    return ParityReport(**{**vars(report), "failure": failure})


def f1_macro(labels: np.ndarray, logits: np.ndarray) -> float:
    """Macro-F1 of the most probable labels, in [0, 1]."""
    return float(f1_score(labels, logits.argmax(-1), average="macro", zero_division=0))


def _failure(report: ParityReport, settings: ExportSettings) -> str:
    """Reason why the gate of the kind failed; empty if it passed."""
    shares = {"fp32": 0.0, "fp16": settings.max_fp16_flips, "int8": settings.max_int8_flips}
    if report.kind not in shares:
        raise ValueError(f"kind={report.kind!r}: unknown. Allowed: {', '.join(shares)}.")
    spread = f"max |Δp| {report.max_abs_diff:.2g}"
    if report.kind == "fp32":
        spread += f" {'>' if report.max_abs_diff > settings.max_abs_diff else '≤'} {settings.max_abs_diff:g}"
    differ = f"{report.flips} of {report.texts} labels differ ({spread})"
    if not np.isfinite(report.max_abs_diff):
        return f"{differ}: the graph returns values that are not finite"
    if report.flip_share > shares[report.kind]:
        allowed = f"; allowed are {shares[report.kind]:.2%}" if shares[report.kind] else ""
        return differ + allowed
    if report.kind == "fp32" and report.max_abs_diff > settings.max_abs_diff:
        return differ
    if report.kind == "int8" and report.f1_loss is not None and report.f1_loss > settings.max_int8_f1_loss:
        return f"macro-F1 falls by {report.f1_loss:.4f} > {settings.max_int8_f1_loss:g}"
    return ""


def check_parity(
    model: torch.nn.Module,
    session: Session,
    encoder: TextEncoder,
    texts: Sequence[str],
    settings: ExportSettings,
    *,
    kind: str = "fp32",
    labels: np.ndarray | None = None,
) -> ParityReport:
    """Compares a graph with the torch model on texts.

    Raises:
        RuntimeError: the gate of the kind failed; the message has the figures and the bound.
    """
    report = compare_logits(
        kind, torch_logits(model, encoder, texts), session_logits(session, encoder, texts), settings, labels
    )
    if not report.passed:
        raise RuntimeError(f"ONNX parity failed: {report.failure}. Not registered.")
    return report
