"""Settings: what there is, with its defaults, and how they are resolved from what was said."""

from evenodd.settings.resolve import SHORT_NAMES, field_paths, flatten, resolve_settings
from evenodd.settings.settings import (
    LABELS_ALL,
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
    "LABELS_ALL",
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
