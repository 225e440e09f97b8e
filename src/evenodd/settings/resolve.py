"""Parses settings from the command line, from Python and from YAML files into a request."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

from evenodd.settings.names import TEACHER, flatten, full_name, of_teacher, unknown
from evenodd.settings.request import Layer, Request, validate
from evenodd.settings.settings import Settings


def make_request(said: Mapping[str, Any], variants: Mapping[str, str] | None = None) -> Request:
    """Checks and types the given settings.

    Args:
        said: the given settings: short or dotted names to values, typed or as text; `config` names a YAML file.
        variants: name to family of the variants that the file's `variants:` section may name; None: any name.

    Raises:
        ValueError: unknown names, values of a wrong type or range, or an unreadable file; one message lists all faults.
    """
    rest = dict(said)
    config = rest.pop("config", None)
    faults: list[str] = []
    request = _from_file(Path(config), variants, faults) if config else Request()
    request = _with_names(request, rest, faults)
    typed = _typed(request, variants or {}, faults)
    if faults:
        raise ValueError("; ".join(dict.fromkeys(faults)))
    return typed


def resolve_settings(said: Mapping[str, Any], *, family: str | None = None, name: str | None = None) -> Settings:
    """Settings of one variant, from the given ones; see `make_request` and `Request.settings_for`."""
    return make_request(said).settings_for(family, name)


def _with_names(request: Request, said: Mapping[str, Any], faults: list[str]) -> Request:
    """The request with the settings of the command, under their full names."""
    common: dict[str, Any] = {}
    teacher: dict[str, Any] = {}
    for name, value in said.items():
        path = full_name(name)
        if path is None:
            faults.append(unknown(name))
        elif path != name and path in said:
            faults.append(f"{name} and {path} are the same parameter, given twice.")
        elif fit := of_teacher(path):
            teacher[fit] = value
        else:
            common[path] = value
    return replace(request, said=common, for_teacher=teacher)


def _typed(request: Request, variants: Mapping[str, str], faults: list[str]) -> Request:
    """The request with typed values: each layer is validated together with the layers that it is combined with."""
    everywhere, found = validate(request.layers())
    faults += found
    for name, family in variants.items():
        faults += validate(request.layers(family, name))[1]
    typed = replace(request, said=_values(everywhere, request.said), file=_values(everywhere, request.file))
    sections: dict[str, Layer] = {}
    for name, part in request.sections.items():
        settings, found = validate({**request.file, **part, **request.said})
        faults += found
        sections[name] = _values(settings, part)
    names = {fit: f"{TEACHER}.{fit.partition('.')[2]}" for fit in request.for_teacher}
    settings, found = validate(request.layers(TEACHER, TEACHER), names)
    faults += found if request.for_teacher else []
    return replace(typed, sections=sections, for_teacher=_values(settings, request.for_teacher))


def _values(settings: Settings | None, layer: Layer) -> Layer:
    flat = flatten(settings) if settings else {}
    return {path: flat[path] for path in layer if path in flat}


def _from_file(path: Path, variants: Mapping[str, str] | None, faults: list[str]) -> Request:
    try:
        content = _read(path)
        sections = _sections(path, content.pop("variants", None) or {}, variants, faults)
    except ValueError as error:
        faults.append(str(error))
        return Request(config=path)
    file = _flat(content)
    for name in [name for name in file if of_teacher(name)]:
        sections.setdefault(TEACHER, {})[str(of_teacher(name))] = file.pop(name)
    return Request(file=file, sections=sections, config=path)


def _read(path: Path) -> dict[str, Any]:
    if not path.is_file():
        known = ", ".join(str(p) for p in sorted(Path("configs").glob("*.yaml")))
        raise ValueError(f"config='{path}': no such file. Available: {known or 'none in configs/'}.")
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except (yaml.YAMLError, UnicodeDecodeError, OSError) as error:
        raise ValueError(f"config='{path}': not valid YAML: {' '.join(str(error).split())}") from error
    if not isinstance(content, dict):
        raise ValueError(f"config='{path}': a mapping of settings is expected, not {type(content).__name__}.")
    return content


def _sections(
    path: Path, found: Any, variants: Mapping[str, str] | None, faults: list[str]
) -> dict[str, dict[str, Any]]:
    where = f"config='{path}': variants:"
    if not isinstance(found, dict) or not all(isinstance(part, dict) for part in found.values()):
        raise ValueError(f"{where} names of variants, each with a mapping of settings, are expected.")
    known = {*variants, *variants.values()} if variants else set(found)
    strange = [str(name) for name in found if name not in known]
    if strange:
        faults.append(f"{where} {', '.join(strange)} not known; allowed are {', '.join(sorted(known))}.")
    faults += [
        f"{where} {name}: data: all variants share their rows; set it outside of `variants:`."
        for name in found
        if "data" in found[name]
    ]
    return {str(name): _flat(part) for name, part in found.items()}


def _flat(tree: Mapping[str, Any]) -> dict[str, Any]:
    """A tree of sections as dotted names; empty sections are dropped."""
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        if isinstance(value, dict):
            flat |= {f"{key}.{name}": each for name, each in value.items()}
        elif value is not None:
            flat[str(key)] = value
    return flat
