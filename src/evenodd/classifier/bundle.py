"""Reads a bundle's folder and refuses a damaged or inconsistent one."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from evenodd.classifier.manifest import CHECKED, EXACT, MANIFEST, UNLISTED, manifest_faults
from evenodd.classifier.page import page_faults
from evenodd.classifier.signature import check_signature
from evenodd.task import Decision, Task

FORMAT = 3
CARD = "card.md"
MODEL_FIELDS = (
    "name",
    "variant",
    "version",
    "run_id",
    "created",
    "teacher",
    "layer_map",
    "data",
    "metrics",
    "limits",
    "warnings",
    "page",
)


@dataclass(frozen=True)
class Bundle:
    """A checked bundle. `description` is the content of bundle.json; `task` and `decision` are read from it."""

    folder: Path
    description: dict[str, Any]
    task: Task
    decision: Decision

    @property
    def variant(self) -> str:
        return str(self.description["variant"])

    @property
    def max_length(self) -> int:
        """Maximum tokens of a window, special tokens included."""
        return int(self.description["max_length"])

    @property
    def window_overlap(self) -> int:
        """Tokens that neighbouring windows of a long text share."""
        return int(self.description["window_overlap"])

    @property
    def model(self) -> dict[str, Any]:
        """Task, lineage and figures, as `/info` shows them."""
        about = {"task": self.task.kind, "labels": list(self.task.labels), "positive": self.task.positive}
        return about | {name: self.description.get(name) for name in MODEL_FIELDS}

    @property
    def identity(self) -> dict[str, Any]:
        """The model's identification in every answer."""
        return {name: self.description.get(name) for name in ("name", "variant", "version", "run_id")}

    @property
    def checked(self) -> dict[str, Any] | None:
        """Margin and figures of the graph `checked`, if the bundle was exported with them."""
        return self.description.get("checked")

    def graph_kinds(self, graph: str) -> tuple[str, ...]:
        """The graphs that a kind consists of: for `checked`, the first one and the one that checks it.

        Raises:
            ValueError: the bundle has no such graph.
        """
        if graph != CHECKED:
            self.graph_path(graph)
            return (graph,)
        if self.checked is None:
            raise ValueError(
                f"graph={CHECKED!r}: no margin was measured for the bundle {self.folder}; it has "
                f"{', '.join(self.description['graphs'])}. Export it again with int8, or set EVENODD_GRAPH=fp32."
            )
        return str(self.checked["kind"]), EXACT

    @property
    def card(self) -> str | None:
        """Text of the model card, if the bundle has one."""
        path = self.folder / CARD
        return path.read_text(encoding="utf-8") if path.is_file() else None

    def graph_path(self, kind: str) -> Path:
        """File of a graph.

        Raises:
            ValueError: the bundle has no graph of that kind.
        """
        graphs = self.description["graphs"]
        if kind not in graphs:
            raise ValueError(f"graph={kind!r}: the bundle {self.folder} has {', '.join(graphs)}.")
        return self.folder / str(graphs[kind])


def read_bundle(folder: Path) -> Bundle:
    """Reads bundle.json, checks that it is complete and consistent, and checks the digest of every listed file.

    If public keys are given (`signature.PUBLIC_KEY`), it must be signed with one of them; nothing else of an unsigned
    bundle is read.

    Raises:
        ValueError: there is no bundle, or it is faulty; the message names the file or field.
        RuntimeError: a signature is required, and `cryptography` is missing.
    """
    path = folder / MANIFEST
    if not path.is_file():
        raise ValueError(f"bundle {folder}: there is no bundle.json. Name a folder that `-e export` wrote.")
    manifest = path.read_bytes()
    check_signature(folder, manifest)
    try:
        description = json.loads(manifest)
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError) as fault:
        raise ValueError(f"bundle {folder}: bundle.json is not JSON ({fault}). Export it again.") from None
    if not isinstance(description, dict) or description.get("format") != FORMAT:
        found = description.get("format") if isinstance(description, dict) else None
        raise ValueError(f"bundle {folder}: format={found!r}; this version reads format {FORMAT}. Export it again.")
    faults = manifest_faults(description)
    if faults:
        raise ValueError(f"bundle {folder}: {' '.join(faults)} Export it again.")
    try:
        task = Task.from_dict(description["task"])
        decision = Decision.from_dict(description["decision"], task)
    except ValueError as fault:
        raise ValueError(f"bundle {folder}: {fault} Export it again.") from None
    faults = list(page_faults(description.get("page") or {}, task.labels))
    if faults:
        raise ValueError(f"bundle {folder}: {' '.join(faults)} Export it again.")
    _check_samples(folder, description, decision)
    _check_files(folder, description["files"])
    return Bundle(folder, description, task, decision)


def read_bundles(folders: Iterable[Path]) -> dict[str, Bundle]:
    """Bundles by variant, in the given order.

    Raises:
        ValueError: a bundle is refused, none is given, or two have the same variant.
    """
    bundles: dict[str, Bundle] = {}
    for folder in folders:
        bundle = read_bundle(folder)
        if bundle.variant in bundles:
            other = bundles[bundle.variant].folder
            raise ValueError(f"variant={bundle.variant!r}: both {other} and {folder} hold it. Serve one of them.")
        bundles[bundle.variant] = bundle
    if not bundles:
        raise ValueError("there is no bundle to serve. Set EVENODD_BUNDLE to a folder that `-e export` wrote.")
    return bundles


def bundle_folders(given: tuple[Path, ...], inside: Path) -> tuple[Path, ...]:
    """The given folders, or those inside the Bento in the order of their names."""
    if given:
        return given
    return tuple(sorted(path.parent for path in inside.glob(f"*/{MANIFEST}")))


def outcome_of(decision: Decision, probabilities: Sequence[float]) -> dict[str, Any]:
    """Label, decision and score of one text, as stored with a sample."""
    answer = decision.answer(np.asarray(probabilities, dtype=np.float64))
    return {name: answer[name] for name in ("label", "decision", "score")}


def _check_samples(folder: Path, description: dict[str, Any], decision: Decision) -> None:
    """Checks that task and decision reproduce the samples' answers from their probabilities. Labels in another order or
    another threshold would change the answers.

    Raises:
        ValueError: an answer differs.
    """
    kind = EXACT if EXACT in description["graphs"] else next(iter(description["graphs"]))
    for number, sample in enumerate(description["samples"]):
        row = sample["probabilities"].get(kind, ())
        if len(row) != len(decision.label_names):
            raise ValueError(
                f"bundle {folder}: samples[{number}] has {len(row)} probabilities of {kind}, the task has "
                f"{len(decision.label_names)} labels. Export it again."
            )
        found = outcome_of(decision, row)
        said = {name: sample[name] for name in found}
        if found != said:
            raise ValueError(
                f"bundle {folder}: samples[{number}] has the answer {said}, but task and decision give {found}: "
                "labels, threshold or band were changed. Export it again."
            )


def _check_files(folder: Path, files: dict[str, Any]) -> None:
    """Checks that exactly the listed files exist, with their sizes and digests.

    Raises:
        ValueError: a file is missing, changed, a link, or not listed.
    """
    strange = sorted(path.name for path in folder.iterdir() if path.name not in {*UNLISTED, *files})
    links = sorted(path.name for path in folder.iterdir() if path.is_symlink())
    if strange or links:
        raise ValueError(
            f"bundle {folder}: {', '.join(strange or links)}: {'not listed' if strange else 'a link'}, so nothing in "
            f"{MANIFEST} vouches for it. Remove it, or export the bundle again."
        )
    for name, expected in files.items():
        path = folder / name
        if not path.is_file():
            raise ValueError(f"bundle {folder}: {name} is missing. Export it again.")
        found = file_digest(path)
        if found != expected:
            raise ValueError(
                f"bundle {folder}: {name} has SHA-256 {found['sha256'][:12]}... and {found['bytes']:,} bytes, not "
                f"{expected['sha256'][:12]}... and {expected['bytes']:,}: it was changed or cut. Export it again."
            )


def file_digest(path: Path) -> dict[str, Any]:
    """SHA-256 and size in bytes of a file."""
    with path.open("rb") as file:
        return {"sha256": hashlib.file_digest(file, "sha256").hexdigest(), "bytes": path.stat().st_size}
