"""The settings given to a command, checked and typed once, and the settings of each variant that follow from them.

Later layers take precedence: the class defaults; the defaults of a variant's family (`VARIANT_DEFAULTS`); a YAML file
(`config=`), then its sections for the family and for the variant; the command; the command's settings for the teacher
alone (`teacher.epochs=`); and overrides, such as those of a trial or a seed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from evenodd.settings.names import TEACHER, nest, short_name, unknown
from evenodd.settings.settings import VARIANT_DEFAULTS, Settings

Layer = Mapping[str, Any]
"""Dotted setting to value."""


@dataclass(frozen=True)
class Request:
    """The settings given to one command: on the command line or by a caller, and in a YAML file.

    Attributes:
        said: settings of the command, for every variant.
        for_teacher: settings of the command, for the teacher alone.
        file: settings of the YAML file, for every variant.
        sections: settings of the file for a family or a variant, by its name.
        config: the YAML file.
    """

    said: Layer = field(default_factory=dict)
    for_teacher: Layer = field(default_factory=dict)
    file: Layer = field(default_factory=dict)
    sections: Mapping[str, Layer] = field(default_factory=dict)
    config: Path | None = None

    @property
    def settings(self) -> Settings:
        """The settings without the defaults of a family; only those that no variant changes are meaningful."""
        return self.settings_for()

    def settings_for(
        self, family: str | None = None, name: str | None = None, overrides: Layer | None = None
    ) -> Settings:
        """The settings of one variant.

        Args:
            family: `teacher`, `student` or `lora`, which selects defaults; None: the class defaults.
            name: name of the variant.
            overrides: settings that take precedence over all given ones.

        Raises:
            ValueError: the settings contradict each other.
        """
        settings, faults = validate(self.layers(family, name) | dict(overrides or {}))
        if settings is None:
            raise ValueError("; ".join(faults))
        return settings

    def says(self, setting: str) -> bool:
        """Whether the command itself sets a setting, given by its dotted name."""
        return setting in self.said

    def layers(self, family: str | None = None, name: str | None = None) -> dict[str, Any]:
        """The merged layers for a variant; later layers take precedence."""
        parts: list[Layer] = [self.file]
        parts += [self.sections.get(key or "", {}) for key in dict.fromkeys((family, name))]
        parts += [self.said, self.for_teacher if TEACHER in (family, name) else {}]
        given = {key: value for part in parts for key, value in part.items()}
        return {**VARIANT_DEFAULTS.get(family or "", {}), **_implied(given), **given}


def _implied(given: Layer) -> dict[str, Any]:
    """What follows from settings that were given: who says how many epochs wants these, however few the rows."""
    return {"train.min_steps": 0} if "train.epochs" in given else {}


def validate(layer: Layer, names: Mapping[str, str] | None = None) -> tuple[Settings | None, list[str]]:
    """Validates dotted names and values: returns the settings, or all faults, one sentence each.

    Args:
        layer: dotted setting to value.
        names: names for messages, if they are not the short names.
    """
    try:
        return Settings.model_validate(nest(dict(layer))), []
    except ValidationError as error:
        return None, [_explain(fault, names or {}) for fault in error.errors()]


def _explain(fault: Any, names: Mapping[str, str]) -> str:
    path = ".".join(str(part) for part in fault["loc"][:2])
    if fault["type"] == "extra_forbidden":
        return unknown(names.get(path, path))
    message = fault["msg"].removeprefix("Value error, ")
    if not path:
        return f"{message}."
    return f"{names.get(path, short_name(path))}={fault['input']!r}: {message[0].lower()}{message[1:]}."
