"""Settings: all of them with their defaults, and how those of a command are resolved."""

from evenodd.settings.names import (
    SHORT_NAMES,
    TEACHER,
    field_paths,
    flatten,
    full_name,
    is_among,
    of_teacher,
    short_name,
    unknown,
)
from evenodd.settings.request import Layer, Request
from evenodd.settings.resolve import make_request, resolve_settings
from evenodd.settings.sections import (
    DataSettings,
    DecisionSettings,
    DistillSettings,
    EvidenceSettings,
    ExportSettings,
    GateSettings,
    LoraSettings,
    ModelSettings,
    RunSettings,
    ServeSettings,
    TrainSettings,
    TuneSettings,
    VariantSettings,
)
from evenodd.settings.settings import VARIANT_DEFAULTS, Settings

__all__ = [
    "SHORT_NAMES",
    "TEACHER",
    "VARIANT_DEFAULTS",
    "DataSettings",
    "DecisionSettings",
    "DistillSettings",
    "EvidenceSettings",
    "ExportSettings",
    "GateSettings",
    "Layer",
    "LoraSettings",
    "ModelSettings",
    "Request",
    "RunSettings",
    "ServeSettings",
    "Settings",
    "TrainSettings",
    "TuneSettings",
    "VariantSettings",
    "field_paths",
    "flatten",
    "full_name",
    "is_among",
    "make_request",
    "of_teacher",
    "resolve_settings",
    "short_name",
    "unknown",
]
