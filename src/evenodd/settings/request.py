"""What was said for a command, checked and typed once, and the settings that follow from it.

Later layers win: the class defaults; what the family of a variant differs in (`VARIANT_DEFAULTS`); a YAML file
(`config=`), then its sections for the family and for the variant; what the command says; what it says for the teacher
alone (`teacher.epochs=`); and overrides, such as a trial's or a seed's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from evenodd.settings.names import TEACHER, nest, short_name, unknown
from evenodd.settings.settings import VARIANT_DEFAULTS, Settings

Layer = Mapping[str, Any]
"""Dotted setting to value."""


@dataclass(frozen=True)
class Request:
    """What was said for one command: by the command line or a caller, and by a YAML file.

    Attributes:
        said: by the command, for every variant.
        for_teacher: by the command, for the teacher alone.
        file: by the YAML file, for every variant.
        sections: by the file for a family or a variant, by its name.
        config: the YAML file.
    """

    said: Layer = field(default_factory=dict)
    for_teacher: Layer = field(default_factory=dict)
    file: Layer = field(default_factory=dict)
    sections: Mapping[str, Layer] = field(default_factory=dict)
    config: Path | None = None

    @property
    def settings(self) -> Settings:
        """The settings that are the same for every variant; the others as the classes have them."""
        return self.settings_for()

    def settings_for(
        self, family: str | None = None, name: str | None = None, overrides: Layer | None = None
    ) -> Settings:
        """The settings of one variant.

        Args:
            family: `teacher`, `student` or `lora`, whose defaults apply; None: those of the classes.
            name: of the variant.
            overrides: settings that win over all that was said.

        Raises:
            ValueError: the settings contradict each other.
        """
        settings, faults = validate(self.layers(family, name) | dict(overrides or {}))
        if settings is None:
            raise ValueError("; ".join(faults))
        return settings

    def says(self, setting: str) -> bool:
        """Whether the command itself says a setting, by its dotted name."""
        return setting in self.said

    def with_said(self, said: Layer) -> Request:
        """The same command with further settings said: typed values under dotted names."""
        return replace(self, said={**self.said, **said})

    def layers(self, family: str | None = None, name: str | None = None) -> dict[str, Any]:
        """All that holds for a variant, the later layers over the earlier ones."""
        parts: list[Layer] = [self.file]
        parts += [self.sections.get(key or "", {}) for key in dict.fromkeys((family, name))]
        parts += [self.said, self.for_teacher if TEACHER in (family, name) else {}]
        given = {key: value for part in parts for key, value in part.items()}
        return {**VARIANT_DEFAULTS.get(family or "", {}), **_implied(given), **given}


def _implied(given: Layer) -> dict[str, Any]:
    """What follows from settings that were given: who says how many epochs wants these, however few the rows."""
    return {"train.min_steps": 0} if "train.epochs" in given else {}


def validate(layer: Layer, names: Mapping[str, str] | None = None) -> tuple[Settings | None, list[str]]:
    """Settings out of dotted names and values, or every fault, each in one sentence.

    Args:
        layer: dotted setting to value.
        names: how a message calls a setting, where not by its short name.
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
