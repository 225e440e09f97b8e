"""Settings: what there is, with its defaults, and how they are resolved from what was said."""

from evenodd.settings.resolve import SHORT_NAMES, field_paths, flatten, resolve_settings
from evenodd.settings.settings import (
    VARIANT_DEFAULTS,
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
    Settings,
    TrainSettings,
    TuneSettings,
    VariantSettings,
)

__all__ = [
    "SHORT_NAMES",
    "VARIANT_DEFAULTS",
    "DataSettings",
    "DecisionSettings",
    "DistillSettings",
    "EvidenceSettings",
    "ExportSettings",
    "GateSettings",
    "LoraSettings",
    "ModelSettings",
    "RunSettings",
    "ServeSettings",
    "Settings",
    "TrainSettings",
    "TuneSettings",
    "VariantSettings",
    "field_paths",
    "flatten",
    "resolve_settings",
]
