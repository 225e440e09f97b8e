"""Reading a bundle's folder, and refusing one that is not what it says it is."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evenodd.task import Decision, Task

FORMAT = 2
MANIFEST = "bundle.json"
TOKENIZER = "tokenizer.json"
CARD = "card.md"
CHECKED, EXACT = "checked", "fp32"
INPUTS = ("input_ids", "attention_mask", "token_type_ids")
REQUIRED: dict[str, type | tuple[type, ...]] = {
    "name": str,
    "variant": str,
    "task": dict,
    "decision": dict,
    "max_length": int,
    "window_overlap": int,
    "pad_token_id": int,
    "inputs": list,
    "graphs": dict,
    "recommended": dict,
    "files": dict,
    "samples": list,
}
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
)


@dataclass(frozen=True)
class Bundle:
    """A checked bundle. `description` is bundle.json as it stands, `task` and `decision` are read from it."""

    folder: Path
    description: dict[str, Any]
    task: Task
    decision: Decision

    @property
    def variant(self) -> str:
        return str(self.description["variant"])

    @property
    def max_length(self) -> int:
        """Tokens of a window at most, special ones included."""
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
        """What names the model in every answer."""
        return {name: self.description.get(name) for name in ("name", "variant", "version", "run_id")}

    @property
    def checked(self) -> dict[str, Any] | None:
        """Margin and figures of the graph `checked`, if the bundle was exported with them."""
        return self.description.get("checked")

    def graph_kinds(self, graph: str) -> tuple[str, ...]:
        """The graphs that one is made of: the one that answers first, and that which answers again.

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
    """Read bundle.json, check that it is whole and consistent, and check the digest of every file it names.

    Raises:
        ValueError: no bundle there, or what is wrong with it, with the file or field.
    """
    path = folder / MANIFEST
    if not path.is_file():
        raise ValueError(f"bundle {folder}: there is no bundle.json. Name a folder that `-e export` wrote.")
    try:
        description = json.loads(path.read_text(encoding="utf-8"))
    except (UnicodeDecodeError, json.JSONDecodeError) as fault:
        raise ValueError(f"bundle {folder}: bundle.json is not JSON ({fault}). Export it again.") from None
    if not isinstance(description, dict) or description.get("format") != FORMAT:
        found = description.get("format") if isinstance(description, dict) else None
        raise ValueError(f"bundle {folder}: format={found!r}; this version reads format {FORMAT}. Export it again.")
    faults = [*_missing_fields(description)] or [*_graph_faults(description)]
    if faults:
        raise ValueError(f"bundle {folder}: {' '.join(faults)} Export it again.")
    try:
        task = Task.from_dict(description["task"])
        decision = Decision.from_dict(description["decision"], task)
    except ValueError as fault:
        raise ValueError(f"bundle {folder}: {fault} Export it again.") from None
    _check_files(folder, description["files"])
    return Bundle(folder, description, task, decision)


def read_bundles(folders: Iterable[Path]) -> dict[str, Bundle]:
    """Bundles by variant, in the order given.

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
    """The folders asked for, or those inside the Bento in the order of their names."""
    if given:
        return given
    return tuple(sorted(path.parent for path in inside.glob(f"*/{MANIFEST}")))


def _missing_fields(description: dict[str, Any]) -> Iterable[str]:
    for name, kind in REQUIRED.items():
        if name not in description:
            yield f"bundle.json has no {name!r}."
        elif not isinstance(description[name], kind) or isinstance(description[name], bool):
            yield f"{name}={description[name]!r} has the wrong type."


def _graph_faults(description: dict[str, Any]) -> Iterable[str]:
    graphs, files = description["graphs"], description["files"]
    if not graphs:
        yield "graphs is empty."
    for name in [*graphs.values(), "tokenizer.json"]:
        if name not in files:
            yield f"files holds no digest of {name!r}."
    for device, kind in description["recommended"].items():
        if kind not in graphs and not (kind == CHECKED and description.get("checked")):
            yield f"recommended.{device}={kind!r} is none of the graphs {list(graphs)}."
    checked = description.get("checked")
    if checked is not None and not _can_check(checked, graphs):
        yield f"checked={checked!r}: a kind out of {list(graphs)}, fp32 beside it and a margin above 0 are needed."
    unknown = [name for name in description["inputs"] if name not in INPUTS]
    if unknown or "input_ids" not in description["inputs"]:
        yield f"inputs={description['inputs']}: allowed are {', '.join(INPUTS)}, and input_ids is needed."
    if not description["samples"]:
        yield "samples is empty: nothing shows that the graph and the tokenizer belong together."
    overlap = description["window_overlap"]
    if not 0 <= overlap < description["max_length"] - 2:
        yield f"window_overlap={overlap} with max_length={description['max_length']}: it must be smaller."


def _can_check(checked: Any, graphs: dict[str, Any]) -> bool:
    if not isinstance(checked, dict) or checked.get("kind") not in graphs or EXACT not in graphs:
        return False
    return _is_number(checked.get("margin")) and checked["margin"] > 0


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _check_files(folder: Path, files: dict[str, Any]) -> None:
    """Every file is inside the folder, there, and has the size and the digest that bundle.json says."""
    for name, expected in files.items():
        path = folder / name
        if path.resolve().parent != folder.resolve():
            raise ValueError(f"bundle {folder}: files names {name!r}, which is outside the folder.")
        if not path.is_file():
            raise ValueError(f"bundle {folder}: {name} is missing. Export it again.")
        digest = _sha256(path)
        if digest != expected.get("sha256"):
            raise ValueError(
                f"bundle {folder}: {name} has SHA-256 {digest[:12]}..., bundle.json says "
                f"{str(expected.get('sha256'))[:12]}...: the file was changed or cut. Export it again."
            )


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
