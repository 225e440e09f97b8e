"""The schema of bundle.json: type and range of every value, and the consistency of the values."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator
from typing import Any

CHECKED, EXACT = "checked", "fp32"
GRAPHS = (EXACT, "fp16", "int8")
INPUTS = ("input_ids", "attention_mask", "token_type_ids")
PROVIDERS = ("auto", "cpu", "cuda", "tensorrt")
DEVICES = ("cpu", "cuda")
TOKENIZER = "tokenizer.json"
MANIFEST, SIGNATURE = "bundle.json", "bundle.sig"
UNLISTED = {MANIFEST, SIGNATURE}
"""Files of a bundle that its manifest does not list: the manifest and its signature."""
LEAST_LENGTH = 4
"""Minimum tokens of a window: two special ones, and some for the text."""
SAMPLE = {"text": str, "label": str, "decision": str, "score": float, "probabilities": dict}
FILE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
SHA256 = re.compile(r"[0-9a-f]{64}")

Check = Callable[[Any], bool]


def is_number(value: Any) -> bool:
    """A finite number, and not a bool."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def is_count(value: Any, least: int = 0) -> bool:
    """A whole number of at least `least`, and not a bool."""
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


def _is_name(value: Any) -> bool:
    return isinstance(value, str) and bool(value.strip())


def _is_numbers(value: Any) -> bool:
    return isinstance(value, list) and all(map(is_number, value))


def _is_histogram(value: Any) -> bool:
    """Whether it holds ascending edges, with one count fewer, of scores and of lengths."""
    if not isinstance(value, dict):
        return False
    for name in ("score", "length"):
        edges, counts = value.get(f"{name}_edges"), value.get(f"{name}_counts")
        if not (isinstance(edges, list) and isinstance(counts, list)):
            return False
        if not (_is_numbers(edges) and all(map(is_count, counts))):
            return False
        if len(edges) != len(counts) + 1 or edges != sorted(set(edges)):
            return False
    return True


def _optional(check: Check) -> Check:
    return lambda value: value is None or check(value)


NEEDED: dict[str, tuple[Check, str]] = {
    "name": (_is_name, "a name"),
    "variant": (_is_name, "a name"),
    "task": (lambda value: isinstance(value, dict), "an object"),
    "decision": (lambda value: isinstance(value, dict), "an object"),
    "max_length": (lambda value: is_count(value, LEAST_LENGTH), f"a whole number of at least {LEAST_LENGTH}"),
    "window_overlap": (is_count, "a whole number of at least 0"),
    "pad_token_id": (is_count, "a whole number of at least 0"),
    "inputs": (lambda value: isinstance(value, list) and all(map(_is_name, value)), "a list of names"),
    "graphs": (lambda value: isinstance(value, dict), "an object"),
    "recommended": (lambda value: isinstance(value, dict), "an object"),
    "files": (lambda value: isinstance(value, dict), "an object"),
    "samples": (lambda value: isinstance(value, list), "a list"),
}
ALLOWED: dict[str, tuple[Check, str]] = {
    "format": (is_count, "a whole number"),
    "version": (_optional(_is_name), "a text or null"),
    "run_id": (_optional(_is_name), "a text or null"),
    "created": (_optional(_is_name), "a text or null"),
    "teacher": (_optional(_is_name), "a text or null"),
    "provider": (lambda value: value in PROVIDERS, f"one of {', '.join(PROVIDERS)}"),
    "checked": (_optional(lambda value: isinstance(value, dict)), "an object or null"),
    "data": (lambda value: isinstance(value, dict), "an object"),
    "layer_map": (
        _optional(lambda value: isinstance(value, list) and all(is_count(layer, 1) for layer in value)),
        "a list of layers from 1, or null",
    ),
    "metrics": (lambda value: isinstance(value, dict) and all(map(is_number, value.values())), "names with numbers"),
    "limits": (lambda value: isinstance(value, list) and all(map(_is_name, value)), "a list of sentences"),
    "warnings": (lambda value: isinstance(value, list) and all(map(_is_name, value)), "a list of sentences"),
    "page": (_optional(lambda value: isinstance(value, dict)), "an object or null"),
    "reference": (_optional(_is_histogram), "edges that rise with counts between them, of score and length"),
}


def manifest_faults(values: dict[str, Any]) -> list[str]:
    """All faults of a bundle.json, except those of its task and decision, as sentences."""
    faults = [f"bundle.json has no {name!r}." for name in NEEDED if name not in values]
    faults += [f"bundle.json: {name!r} is unknown." for name in values if name not in {**NEEDED, **ALLOWED}]
    for name, (check, wanted) in {**NEEDED, **ALLOWED}.items():
        if name in values and not check(values[name]):
            faults.append(f"{name}={_short(values[name])}: {wanted} is needed.")
    return faults or [*_file_faults(values), *_graph_faults(values), *_input_faults(values), *_sample_faults(values)]


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:80] + "…"


def _file_faults(values: dict[str, Any]) -> Iterator[str]:
    for name, entry in values["files"].items():
        if not FILE_NAME.fullmatch(name) or name in UNLISTED:
            yield f"files names {_short(name)}: a plain file name inside the folder is needed."
        whole = isinstance(entry, dict) and set(entry) == {"sha256", "bytes"} and is_count(entry["bytes"])
        if not (whole and isinstance(entry["sha256"], str) and SHA256.fullmatch(entry["sha256"])):
            yield f"files.{name}={_short(entry)}: sha256 (64 hexadecimal digits) and bytes are needed."
    for name in [*values["graphs"].values(), TOKENIZER]:
        if name not in values["files"]:
            yield f"files holds no digest of {name!r}."


def _graph_faults(values: dict[str, Any]) -> Iterator[str]:
    graphs, checked = values["graphs"], values.get("checked")
    if not graphs or not set(graphs) <= set(GRAPHS):
        yield f"graphs={_short(graphs)}: one or more of {', '.join(GRAPHS)} are needed."
    for device, kind in values["recommended"].items():
        if device not in DEVICES:
            yield f"recommended.{device}: the devices are {', '.join(DEVICES)}."
        if kind not in graphs and not (kind == CHECKED and checked):
            yield f"recommended.{device}={kind!r} is none of the graphs {list(graphs)}."
    if checked is not None and not _can_check(checked, graphs):
        yield (
            f"checked={_short(checked)}: a kind out of {list(graphs)}, fp32 beside it, a margin above 0 and the share "
            "of windows within it (0 to 1) are needed."
        )


def _can_check(checked: dict[str, Any], graphs: dict[str, Any]) -> bool:
    if checked.get("kind") not in graphs or checked.get("kind") == EXACT or EXACT not in graphs:
        return False
    margin: Any = checked.get("margin")
    share: Any = checked.get("share")
    return is_number(margin) and margin > 0 and is_number(share) and 0 <= share <= 1


def _input_faults(values: dict[str, Any]) -> Iterator[str]:
    inputs, overlap, longest = values["inputs"], values["window_overlap"], values["max_length"]
    if not set(inputs) <= set(INPUTS) or "input_ids" not in inputs or len(set(inputs)) != len(inputs):
        yield f"inputs={inputs}: allowed are {', '.join(INPUTS)}, each once, and input_ids is needed."
    if overlap >= longest - 2:
        yield f"window_overlap={overlap} with max_length={longest}: it must be smaller."


def _sample_faults(values: dict[str, Any]) -> Iterator[str]:
    if not values["samples"]:
        yield "samples is empty: nothing shows that the graph and the tokenizer match."
    for number, sample in enumerate(values["samples"]):
        known = isinstance(sample, dict) and set(sample) == set(SAMPLE)
        if not (known and all(isinstance(value, SAMPLE[name]) for name, value in sample.items())):
            yield f"samples[{number}]: a text, its label, decision, score and probabilities by graph are needed."
            continue
        for kind, row in sample["probabilities"].items():
            if kind not in values["graphs"]:
                yield f"samples[{number}]: {kind!r} is none of the graphs {list(values['graphs'])}."
            if not (_is_numbers(row) and all(0 <= p <= 1 for p in row) and abs(sum(row) - 1) < 1e-3):
                yield f"samples[{number}].probabilities.{kind}={_short(row)}: probabilities that sum to 1 are needed."
