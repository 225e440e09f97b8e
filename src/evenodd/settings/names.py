"""Names of settings: dotted names, short names of the command line, and the message about unknown names."""

from __future__ import annotations

import difflib
from collections.abc import Collection
from typing import Any

from pydantic import BaseModel

from evenodd.settings.sections import TrainSettings
from evenodd.settings.settings import Settings

# Short names for `-P name=value`; every dotted name (`train.learning_rate`) works too.
SHORT_NAMES = {
    "data": "data.source",
    "text_column": "data.text_column",
    "label_column": "data.label_column",
    "slices": "data.slices",
    "labels": "data.labels",
    "positive": "data.positive",
    "augment": "data.augment",
    "limit": "data.limit",
    "teacher": "teacher.source",
    "epochs": "train.epochs",
    "learning_rate": "train.learning_rate",
    "layers": "variant.layers",
    "depth": "variant.depth",
    "trials": "tune.trials",
    "storage": "tune.storage",
    "objective": "tune.objective",
    "seeds": "evidence.seeds",
    "vary_split": "evidence.vary_split",
    "provider": "serve.provider",
    "model": "run.model",
    "follow": "run.follow",
    "suite": "evidence.suite",
    "predictions": "run.predictions",
    "variants": "run.variants",
    "to": "run.to",
    "fresh": "run.fresh",
    "jobs": "run.jobs",
    "engine": "run.engine",
    "input": "run.input",
    "output": "run.output",
    "columns": "run.columns",
    "format": "run.format",
}
RENAMED = {"model_name": "name", "run.suite": "suite"}
TORCHRUN = "torchrun --nproc-per-node 2 -m pipelines ENTRY name=value …"
TEACHER = "teacher"


def flatten(settings: BaseModel, prefix: str = "") -> dict[str, Any]:
    """Dotted name to value for every leaf, `{"train.epochs": 3, …}`."""
    flat: dict[str, Any] = {}
    for key in type(settings).model_fields:
        value = getattr(settings, key)
        if isinstance(value, BaseModel):
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[prefix + key] = value
    return flat


def nest(layer: dict[str, Any]) -> dict[str, Any]:
    """Converts dotted names to a tree of sections. Validation reports a section's name that has a value itself."""
    tree: dict[str, Any] = {}
    for path, value in layer.items():
        section, _, key = path.partition(".")
        if not key:
            tree[path] = value
        elif isinstance(part := tree.setdefault(section, {}), dict):
            part[key] = value
    return tree


def is_among(path: str, parts: Collection[str]) -> bool:
    """Whether a dotted setting is among `parts`, or its section is."""
    return path in parts or path.partition(".")[0] in parts


def field_paths() -> dict[str, str]:
    """Every dotted setting and its description, in the order of the classes."""
    return _paths(Settings, "")


def of_teacher(path: str) -> str | None:
    """Maps `teacher.epochs` to `train.epochs`, which is then set for the teacher alone; None for other names."""
    section, _, key = path.partition(".")
    return f"train.{key}" if section == TEACHER and key in TrainSettings.model_fields else None


def full_name(name: str) -> str | None:
    """The dotted name of a setting, including names such as `teacher.epochs`; None: there is no such setting."""
    path = SHORT_NAMES.get(name, name)
    return path if path in field_paths() or of_teacher(path) else None


def short_name(path: str) -> str:
    """The short name of a setting, as used in messages."""
    return next((short for short, full in SHORT_NAMES.items() if full == path), path)


def unknown(name: str) -> str:
    """The message about a name that is not a setting."""
    if name in RENAMED:
        return f"parameter '{name}' is called '{RENAMED[name]}' now."
    if name in ("processes", "train.processes"):
        return f"parameter '{name}' was removed: torchrun starts several processes for one fit: {TORCHRUN}."
    known = [*SHORT_NAMES, "config", *field_paths(), *(f"{TEACHER}.{key}" for key in TrainSettings.model_fields)]
    near = difflib.get_close_matches(name, known, n=1)
    common = f"common ones are config, seed, {', '.join(list(SHORT_NAMES)[:10])}."
    hint = f"did you mean '{near[0]}'?" if near else common
    return f"parameter '{name}' is not known: {hint} --help lists them all."


def _paths(model: type[BaseModel], prefix: str) -> dict[str, str]:
    paths: dict[str, str] = {}
    for key, field in model.model_fields.items():
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            paths |= _paths(kind, f"{prefix}{key}.")
        else:
            paths[prefix + key] = field.description or ""
    return paths
