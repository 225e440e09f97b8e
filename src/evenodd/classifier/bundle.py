"""Reading a bundle's folder, and refusing one that is not what it says it is."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FORMAT = 1
CHECKED, EXACT = "checked", "fp32"
INPUTS = ("input_ids", "attention_mask", "token_type_ids")
REQUIRED: dict[str, type | tuple[type, ...]] = {
    "name": str,
    "variant": str,
    "labels": list,
    "max_length": int,
    "pad_token_id": int,
    "inputs": list,
    "decision": dict,
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
    "task",
    "labels",
    "positive",
    "teacher",
    "layer_map",
    "data",
    "metrics",
    "limits",
)


@dataclass(frozen=True)
class Bundle:
    """A checked bundle. `description` is bundle.json as it stands."""

    folder: Path
    description: dict[str, Any]

    @property
    def variant(self) -> str:
        return str(self.description["variant"])

    @property
    def labels(self) -> tuple[str, ...]:
        return tuple(self.description["labels"])

    @property
    def positive(self) -> int | None:
        """Number of the positive label, if there is one."""
        name = self.description.get("positive")
        return None if name is None else self.labels.index(name)

    @property
    def model(self) -> dict[str, Any]:
        """Lineage and figures, as `/info` shows them."""
        return {name: self.description.get(name) for name in MODEL_FIELDS}

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
        path = self.folder / "card.md"
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
    path = folder / "bundle.json"
    if not path.is_file():
        raise ValueError(f"bundle {folder}: there is no bundle.json. Name a folder that `-e export` wrote.")
    try:
        description = json.loads(path.read_text(encoding="utf-8"))
    except (UnicodeDecodeError, json.JSONDecodeError) as fault:
        raise ValueError(f"bundle {folder}: bundle.json is not JSON ({fault}). Export it again.") from None
    if not isinstance(description, dict) or description.get("format") != FORMAT:
        found = description.get("format") if isinstance(description, dict) else None
        raise ValueError(f"bundle {folder}: format={found!r}; this service reads format {FORMAT}. Export it again.")
    faults = [*_missing_fields(description)]
    faults = faults or [*_label_faults(description), *_decision_faults(description), *_graph_faults(description)]
    if faults:
        raise ValueError(f"bundle {folder}: {' '.join(faults)} Export it again.")
    _check_files(folder, description["files"])
    return Bundle(folder, description)


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
    return tuple(sorted(path.parent for path in inside.glob("*/bundle.json")))


def _missing_fields(description: dict[str, Any]) -> Iterable[str]:
    for name, kind in REQUIRED.items():
        if name not in description:
            yield f"bundle.json has no {name!r}."
        elif not isinstance(description[name], kind) or isinstance(description[name], bool):
            yield f"{name}={description[name]!r} has the wrong type."


def _label_faults(description: dict[str, Any]) -> Iterable[str]:
    labels, positive = description["labels"], description.get("positive")
    if len(labels) < 2 or len(set(map(str, labels))) != len(labels):
        yield f"labels={labels}: at least two different names are needed."
    if positive is not None and positive not in labels:
        yield f"positive={positive!r} is none of the labels {labels}."
    if positive is not None and len(labels) != 2:
        yield f"positive={positive!r}: only two labels have a positive one, these are {len(labels)}."
    task = "binary" if len(labels) == 2 else "multiclass"
    if description.get("task", task) != task:
        yield f"task={description['task']!r} with {len(labels)} labels: {task!r} is meant."


def _decision_faults(description: dict[str, Any]) -> Iterable[str]:
    decision = description["decision"]
    temperature, threshold = decision.get("temperature"), decision.get("threshold")
    if not _is_number(temperature) or temperature <= 0:
        yield f"decision.temperature={temperature!r}: a number above 0 is needed."
    bias = decision.get("bias", [])
    if bias and not (
        isinstance(bias, list) and len(bias) == len(description["labels"]) and all(_is_number(value) for value in bias)
    ):
        yield f"decision.bias={bias!r}: a number for each label is needed."
    if threshold is not None and not (_is_number(threshold) and 0 <= threshold <= 1):
        yield f"decision.threshold={threshold!r}: a probability is needed."
    if threshold is None and description.get("positive") is not None:
        yield "decision.threshold is missing, and there is a positive label that it is about."
    review = decision.get("review")
    if review is None:
        return
    if not (isinstance(review, list) and len(review) == 2 and all(_is_number(value) for value in review)):
        yield f"decision.review={review!r}: [low, high] is needed."
    elif not 0 <= review[0] <= review[1] <= 1:
        yield f"decision.review={review!r}: 0 <= low <= high <= 1 is needed."


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
    overlap = description.get("window_overlap", 0)
    if not 0 <= overlap < description["max_length"] - 2:
        yield f"window_overlap={overlap} with max_length={description['max_length']}: it must be smaller."
    if description.get("pooling", "max") not in ("max", "mean"):
        yield f"pooling={description['pooling']!r}: allowed are max, mean."


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
