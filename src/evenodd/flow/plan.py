"""What one run of one variant depends on, and its fingerprint."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

import yaml

from evenodd import __version__
from evenodd.encoders.catalog import VARIANTS, Variant, find_variant
from evenodd.settings import SHORT_NAMES, Settings, flatten, resolve_settings

Parameters = dict[str, str]

# Settings that decide what a fit gives, by what the variant is made of.
COMMON = ("seed", "data", "teacher", "train", "decision")
STUDENT, DISTILLED, ADAPTED = ("variant",), ("distill",), ("lora",)
AUGMENT = ("data.augment_rows", "data.augment_turns", "data.augment_mix", "data.augment_kinds")
NOT_THE_RESULT = ("train.processes", "train.log_steps", "distill.cache_budget_mb", "data.source", "teacher.source")


@dataclass(frozen=True)
class Plan:
    """One variant with its settings, and how the models it may need are to be made.

    Attributes:
        teacher: of a distilled variant.
        plain: the same without the rows that `augment` adds, whose weights are mixed into this one's.
    """

    variant: Variant
    settings: Settings
    teacher: Plan | None = None
    plain: Plan | None = None

    @property
    def sections(self) -> tuple[str, ...]:
        """The settings that matter to it."""
        v = self.variant
        chosen = COMMON + (STUDENT if v.layers else ()) + (DISTILLED if v.distilled else ())
        return chosen + (ADAPTED if v.adapters else ())

    def fingerprint(self, corpus_digest: str, encoder_digest: str) -> str:
        """Same settings, rows, encoder, teacher and version of the package: same fingerprint, whatever the paths."""
        flat = flatten(self.settings)
        unused = NOT_THE_RESULT + (AUGMENT if self.settings.data.augment == "none" else ())
        chosen = {k: str(v) for k, v in flat.items() if k.partition(".")[0] in self.sections and k not in unused}
        teacher = self.teacher.fingerprint(corpus_digest, encoder_digest) if self.teacher else None
        parts = [self.variant.name, chosen, corpus_digest, encoder_digest, teacher, __version__]
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:20]


def make_plan(name: str, parameters: Parameters, *, teacher_parameters: Parameters | None = None) -> Plan:
    """The plan of a variant under the parameters of a command.

    Args:
        name: of the variant.
        parameters: as said on the command line.
        teacher_parameters: for the teacher of a student; None: those of `parameters` that are not about the fit.

    Raises:
        ValueError: an unknown variant or faulty parameters.
    """
    variant = find_variant(name)
    _check_sections(parameters)
    settings = resolve_settings(parameters, family=variant.family, name=name)
    if not variant.distilled:
        return Plan(variant, settings, plain=_plain(name, parameters, settings))
    about = teacher_parameters or about_teacher(parameters)
    return Plan(variant, settings, make_plan("teacher", about), _plain(name, parameters, settings, about))


def _plain(
    name: str, parameters: Parameters, settings: Settings, teacher_parameters: Parameters | None = None
) -> Plan | None:
    """The plan without added rows; None when there are none, or their fit's weights are taken as they are."""
    if settings.data.augment == "none" or settings.data.augment_mix == 1:
        return None
    teacher = _without_augment(teacher_parameters) if teacher_parameters else None
    return make_plan(name, _without_augment(parameters), teacher_parameters=teacher)


def _without_augment(parameters: Parameters) -> Parameters:
    return {key: value for key, value in parameters.items() if key != "augment"} | {"data.augment": "none"}


def about_teacher(parameters: Parameters) -> Parameters:
    """What holds for a teacher made on the way to a student: rows, encoder, seed; not `epochs` and the like."""
    kept = ("data", "teacher", "seed", "home", "experiment", "model_name", "config", "decision", "evidence")
    full = {key: SHORT_NAMES.get(key, key) for key in parameters}
    chosen = {key for key, path in full.items() if path.partition(".")[0] in kept or path == "train.processes"}
    return {key: value for key, value in parameters.items() if key in chosen}


def _check_sections(parameters: Parameters) -> None:
    """A YAML file's `variants:` section names variants or families that exist."""
    path = Path(parameters.get("config", ""))
    content = yaml.safe_load(path.read_text(encoding="utf-8")) if path.is_file() else None
    sections = content.get("variants") if isinstance(content, dict) else None
    known = {*VARIANTS, *(variant.family for variant in VARIANTS.values())}
    if not isinstance(sections, dict):
        return
    for key, part in sections.items():
        if isinstance(part, dict) and "data" in part:
            raise ValueError(f"config='{path}': variants: {key}: data: all variants share their rows; say it above.")
    unknown = [str(key) for key in sections if key not in known]
    if unknown:
        raise ValueError(
            f"config='{path}': variants: {', '.join(unknown)} not known; there are {', '.join(sorted(known))}."
        )
