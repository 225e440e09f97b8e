"""All settings of a command, in sections, and what the families of variants differ in."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from pydantic import Field, model_validator

from evenodd.settings.sections import (
    DataSettings,
    DecisionSettings,
    DistillSettings,
    EvidenceSettings,
    ExportSettings,
    Frozen,
    GateSettings,
    LoraSettings,
    ModelSettings,
    RunSettings,
    ServeSettings,
    TrainSettings,
    TuneSettings,
    VariantSettings,
)


def name_of(source: str) -> str:
    """Derives a name from a data source: its last part without suffixes, in letters, digits, `.`, `_`, `-`."""
    last = re.split(r"[/\\]", source.split(",")[0].strip().rstrip("/\\"))[-1]
    stem = re.sub(r"(\.[A-Za-z]{1,7})?(\.gz)?$", "", last) or last
    return re.sub(r"[^A-Za-z0-9._-]+", "-", stem).strip("-.") or "model"


def _name_of_data(known: dict[str, Any]) -> str:
    return name_of(known["data"].source) if "data" in known else "model"


class Settings(Frozen):
    """Everything a run depends on."""

    data: DataSettings = DataSettings()
    name: str = Field(
        default_factory=_name_of_data,
        pattern=r"^[A-Za-z0-9._-]+$",
        description="name of the registered model; not set: the data's name (reviews for reviews.csv)",
    )
    experiment: str = Field(
        default_factory=lambda known: known.get("name", ""),
        min_length=1,
        description="name of the MLflow experiment; not set: `name`",
    )
    seed: int = Field(0, ge=0, lt=2**31, description="random seed of the first fit")
    home: Path = Field(Path(".evenodd"), description="folder for checkpoints, caches and bundles")
    teacher: ModelSettings = ModelSettings()
    train: TrainSettings = TrainSettings()
    distill: DistillSettings = DistillSettings()
    lora: LoraSettings = LoraSettings()
    variant: VariantSettings = VariantSettings()
    tune: TuneSettings = TuneSettings()
    decision: DecisionSettings = DecisionSettings()
    evidence: EvidenceSettings = EvidenceSettings()
    gates: GateSettings = GateSettings()
    export: ExportSettings = ExportSettings()
    serve: ServeSettings = ServeSettings()
    run: RunSettings = RunSettings()

    @property
    def suite(self) -> str | None:
        """The behaviour suite for scoring, `own` or a file; None: no suite."""
        default = "own" if self.data.source == "sample" else "none"
        return None if (self.evidence.suite or default) == "none" else self.evidence.suite or default

    @model_validator(mode="after")
    def _splits_for_seeds(self) -> Settings:
        if self.evidence.vary_split and self.evidence.seeds == 1:
            raise ValueError("vary_split needs several seeds, each with its own splits: pass seeds=5")
        if self.evidence.vary_split and self.tune.trials:
            raise ValueError(
                "trials with vary_split: rows that the trials are scored on would be test rows of another seed; "
                "tune with one split"
            )
        return self


# Defaults that differ by family. Variants that differ only by a value differ here, not in code.
VARIANT_DEFAULTS: dict[str, dict[str, Any]] = {
    "teacher": {"train.learning_rate": 1e-4, "train.epochs": 3, "train.min_steps": 100},
    "student": {"train.learning_rate": 2e-4, "train.epochs": 4, "train.min_steps": 100},
    "lora": {"train.learning_rate": 2e-3, "train.epochs": 4, "train.average_share": 0.0, "train.min_steps": 100},
}
