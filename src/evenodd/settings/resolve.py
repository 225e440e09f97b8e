"""From what was said to settings.

Four layers, later ones win: the class defaults, what a variant needs to differ in (`VARIANT_DEFAULTS`), a YAML file
(`config=`, which may hold a `variants:` section of its own), and the `-P` parameters of the command line. Every fault
found is reported at once.
"""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

from evenodd.settings.settings import VARIANT_DEFAULTS, Settings

# Short names for `-P name=value`; every dotted name (`train.learning_rate`) works too.
SHORT_NAMES = {
    "data": "data.source",
    "text_column": "data.text_column",
    "label_column": "data.label_column",
    "labels": "data.labels",
    "positive": "data.positive",
    "augment": "data.augment",
    "limit": "data.limit",
    "teacher": "teacher.source",
    "epochs": "train.epochs",
    "learning_rate": "train.learning_rate",
    "processes": "train.processes",
    "layers": "variant.layers",
    "depth": "variant.depth",
    "trials": "tune.trials",
    "storage": "tune.storage",
    "objective": "tune.objective",
    "seeds": "evidence.seeds",
    "vary_split": "evidence.vary_split",
    "provider": "serve.provider",
    "model": "run.model",
    "suite": "run.suite",
    "predictions": "run.predictions",
    "variants": "run.variants",
    "to": "run.to",
    "fresh": "run.fresh",
    "jobs": "run.jobs",
    "input": "run.input",
    "output": "run.output",
}


def resolve_settings(parameters: dict[str, str], *, family: str | None = None, name: str | None = None) -> Settings:
    """Settings for one run out of its parameters.

    Args:
        parameters: what was said on the command line: short or dotted names to text; `config` names a YAML file.
        family: `teacher`, `student` or `lora`: whose defaults apply; None: none.
        name: the variant, for the `variants:` section of the YAML file.

    Raises:
        ValueError: one message with every fault: unknown names, values of a wrong type or range, an unreadable file.
    """
    said = dict(parameters)
    config = said.pop("config", None)
    faults: list[str] = []
    tree: dict[str, Any] = {}
    _merge(tree, VARIANT_DEFAULTS.get(family or "", {}))
    if config:
        try:
            _merge(tree, _read_config(Path(config), family, name))
        except ValueError as error:
            faults.append(str(error))
    for key, value in said.items():
        path = SHORT_NAMES.get(key, key)
        if path not in field_paths():
            faults.append(_unknown(key))
        elif path != key and path in said:
            faults.append(f"{key} and {path} are the same parameter, given twice.")
        else:
            _merge(tree, _nest(path, value))
    settings, invalid = _validate(tree)
    faults += invalid
    if settings is None or faults:
        raise ValueError("; ".join(faults))
    return settings


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


def field_paths() -> dict[str, str]:
    """Every dotted setting and its description, in the order of the classes."""
    return _paths(Settings, "")


def _paths(model: type[BaseModel], prefix: str) -> dict[str, str]:
    paths: dict[str, str] = {}
    for key, field in model.model_fields.items():
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            paths |= _paths(kind, f"{prefix}{key}.")
        else:
            paths[prefix + key] = field.description or ""
    return paths


def _read_config(path: Path, family: str | None, name: str | None) -> dict[str, Any]:
    if not path.is_file():
        known = ", ".join(str(p) for p in sorted(Path("configs").glob("*.yaml")))
        raise ValueError(f"config='{path}': no such file. There are: {known or 'none in configs/'}.")
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except (yaml.YAMLError, UnicodeDecodeError, OSError) as error:
        raise ValueError(f"config='{path}': not valid YAML: {' '.join(str(error).split())}") from error
    if not isinstance(content, dict):
        raise ValueError(f"config='{path}': a mapping of settings is expected, not {type(content).__name__}.")
    variants = content.pop("variants", {}) or {}
    if not isinstance(variants, dict) or not all(isinstance(part, dict) for part in variants.values()):
        raise ValueError(
            f"config='{path}': variants: names of variants, each with a mapping of settings, are expected."
        )
    for key in (family, name):
        if key in variants:
            _merge(content, variants[key])
    return content


def _merge(into: dict[str, Any], more: dict[str, Any]) -> None:
    for key, value in more.items():
        if not isinstance(value, dict):
            into[key] = value
        elif into.get(key) is None:
            into[key] = dict(value)
        elif isinstance(into[key], dict):
            _merge(into[key], value)
        # else: what stands there is no mapping, and validation says so


def _nest(path: str, value: Any) -> dict[str, Any]:
    head, _, rest = path.partition(".")
    return {head: _nest(rest, value) if rest else value}


def _unknown(key: str) -> str:
    near = difflib.get_close_matches(key, [*SHORT_NAMES, "config", "seed", *field_paths()], n=1)
    hint = (
        f"did you mean '{near[0]}'?" if near else f"common ones are config, seed, {', '.join(list(SHORT_NAMES)[:10])}."
    )
    return f"parameter '{key}' is not known: {hint} --help lists them all."


def _validate(tree: dict[str, Any]) -> tuple[Settings | None, list[str]]:
    try:
        return Settings.model_validate(tree), []
    except ValidationError as error:
        return None, [_explain(fault) for fault in error.errors()]


def _explain(fault: Any) -> str:
    path = ".".join(str(part) for part in fault["loc"][:2])
    if fault["type"] == "extra_forbidden":
        return _unknown(path)
    message = fault["msg"].removeprefix("Value error, ")
    if not path:
        return f"{message}."
    short = next((key for key, full in SHORT_NAMES.items() if full == path), path)
    return f"{short}={fault['input']!r}: {message[0].lower()}{message[1:]}."
