"""Settings for every stage: typed, frozen, validated. The only place with defaults."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from evenodd.task.decision import Pooling, Target


class Frozen(BaseModel):
    """Base of all settings: immutable, unknown keys refused, numbers finite."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True, allow_inf_nan=False)


def _split_names(value: Any) -> Any:
    """`a,b` from a command line is a tuple of names."""
    if isinstance(value, str):
        return tuple(part.strip() for part in value.split(",") if part.strip())
    return value


def name_of(source: str) -> str:
    """A name for what is made of a data source: its last part without suffixes, in letters, digits, `.`, `_`, `-`."""
    last = re.split(r"[/\\]", source.split(",")[0].strip().rstrip("/\\"))[-1]
    stem = re.sub(r"(\.[A-Za-z]{1,7})?(\.gz)?$", "", last) or last
    return re.sub(r"[^A-Za-z0-9._-]+", "-", stem).strip("-.") or "model"


def _name_of_data(known: dict[str, Any]) -> str:
    return name_of(known["data"].source) if "data" in known else "model"


class DataSettings(Frozen):
    """Where the rows come from and how they are divided."""

    source: str = Field(
        "sample", min_length=1, description="`sample`, files (CSV, TSV, JSON, Parquet, text), a folder, or a hub name"
    )
    revision: str | None = Field(None, description="revision of a hub data set")
    encoding: str | None = Field(None, description="of files of text (cp1251, gb18030, …); found when not given")
    text_column: str | None = Field(None, description="column with the text; found by name when not given")
    label_column: str | None = Field(None, description="column with the label's name; found by name when not given")
    split_column: str | None = Field(None, description="column that names train, validation or test for each row")
    group_columns: tuple[str, ...] | None = Field(
        None, description="rows that share a value of any of these stay in one split; found by name when not given"
    )
    labels: tuple[str, ...] | None = Field(
        None, description="label names kept, in the order of their numbers; not given, or `all`: every one that occurs"
    )
    positive: str | None = Field(
        None, description="the label that a threshold is about, for two labels; not given: the rarer one"
    )
    validation_share: float = Field(0.15, gt=0, lt=0.5)
    test_share: float = Field(0.15, gt=0, lt=0.5)
    split_seed: int = Field(0, ge=0, description="of the division into splits; the same for all seeds of a comparison")
    max_length: int = Field(128, ge=8, le=8192, description="tokens of a training row, special ones included")
    limit: int | None = Field(None, ge=1, description="use only so many rows (stratified), for a trial run")
    augment: Literal["none", "counterexamples"] = "none"
    augment_rows: int = Field(4000, ge=1, description="rows that `augment` adds to every epoch of training")
    augment_turns: int = Field(4, ge=1, le=100, description="so many different sets of them, an epoch takes the next")
    augment_mix: float = Field(
        0.9, gt=0, le=1, description="weights: so far on the way from a fit without the added rows to the one with them"
    )
    augment_kinds: tuple[str, ...] | None = Field(None, description="kinds of counterexamples; None: all of them")

    _names = field_validator("labels", "group_columns", "augment_kinds", mode="before")(_split_names)

    @field_validator("labels")
    @classmethod
    def _all(cls, value: tuple[str, ...] | None) -> tuple[str, ...] | None:
        return None if value == ("all",) else value


class ModelSettings(Frozen):
    """The encoder that everything starts from."""

    source: str = Field(
        "minilm", min_length=1, description="`minilm` (6 layers), `mpnet` (12; see `make mpnet`), a path, or a hub name"
    )
    revision: str | None = None


class TrainSettings(Frozen):
    """How weights are fitted. The same names for teacher, student and LoRA."""

    epochs: int = Field(3, ge=1, le=1000)
    learning_rate: float = Field(1e-4, gt=0, le=1)
    weight_decay: float = Field(0.01, ge=0)
    warmup_share: float = Field(0.1, ge=0, lt=1)
    scheduler: Literal["linear", "cosine", "constant_with_warmup"] = "linear"
    max_grad_norm: float = Field(1.0, gt=0)
    min_steps: int = Field(
        0,
        ge=0,
        description="steps at least, by smaller batches and more passes over few rows; 0 where `epochs` is given",
    )
    token_budget: int = Field(1024, ge=32, description="real and padding tokens of a batch")
    max_rows: int = Field(64, ge=1, description="rows of a batch at most")
    class_weight: Literal["none", "balanced", "sqrt"] | Annotated[float, Field(gt=0)] = Field(
        "sqrt", description="weight of rare labels in the loss, or the positive label's weight as a number"
    )
    freeze_embeddings: bool = Field(True, description="leave the word embeddings as pretrained")
    dropout: float | None = Field(None, ge=0, lt=1, description="of the encoder; None: as in the model's own config")
    patience: int = Field(3, ge=1, description="epochs without a better validation macro-F1 before stopping")
    average_share: float = Field(
        0.5, ge=0, lt=1, description="weights are averaged over so much of the steps, from the end; 0: the best epoch's"
    )
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    processes: int = Field(1, ge=1, le=64)
    log_steps: int = Field(20, ge=1)

    @field_validator("class_weight", mode="before")
    @classmethod
    def _number(cls, value: Any) -> Any:
        if isinstance(value, str):
            try:
                return float(value)
            except ValueError:
                return value
        return value


class DistillSettings(Frozen):
    """The terms of the distillation loss, their weights, and the cache of the teacher's outputs."""

    temperature: float = Field(3.0, gt=0)
    soft_weight: float = Field(0.7, ge=0, description="KL on softened logits, times temperature squared")
    label_weight: float = Field(0.3, ge=0, description="cross-entropy on the labels")
    hidden_weight: float = Field(0.5, ge=0, description="distance of hidden states between mapped layers")
    hidden_loss: Literal["cosine", "mse"] = "cosine"
    hidden_tokens: Literal["first", "all"] = Field("first", description="states compared: the first token's, or all")
    hidden_layers: Literal["mapped", "last"] = "mapped"
    attention_weight: float = Field(0.0, ge=0, description="distance of attention maps between mapped layers")
    cache_budget_mb: int = Field(4096, ge=0, description="a larger cache is not built: the teacher runs live")

    @model_validator(mode="after")
    def _some_term(self) -> DistillSettings:
        if self.soft_weight + self.label_weight == 0:
            raise ValueError("soft_weight and label_weight are both 0: nothing trains the classifier")
        return self


class LoraSettings(Frozen):
    """Low-rank adapters."""

    rank: int = Field(8, ge=1, le=512)
    alpha: int = Field(16, ge=1)
    dropout: float = Field(0.1, ge=0, lt=1)
    targets: tuple[str, ...] | None = Field(None, description="module names; None: query, key and value of the family")
    initial_rank: int | None = Field(
        None, ge=1, le=1024, description="AdaLoRA: rank before it moves; None: half as much again as `rank`"
    )
    rslora: bool = False
    dora: bool = False

    _names = field_validator("targets", mode="before")(_split_names)


class VariantSettings(Frozen):
    """Which layers a student keeps."""

    layers: tuple[int, ...] | None = Field(None, description="teacher layers kept, from 1; None: what the variant says")
    depth: int | None = Field(None, ge=1, description="layers kept; None: half of the teacher's")
    importance: Literal["influence", "drop", "greedy"] = Field("influence", description="how layers are scored")
    importance_rows: int = Field(512, ge=8, description="validation rows that layers are scored on, at most")
    sensitive: int | None = Field(None, ge=1, description="hybrid: layers under LoRA; None: half of the student's")

    @field_validator("layers", mode="before")
    @classmethod
    def _numbers(cls, value: Any) -> Any:
        if isinstance(value, str):
            return tuple(part.strip() for part in value.split(",") if part.strip())
        return value


class TuneSettings(Frozen):
    """Optuna."""

    trials: int = Field(0, ge=0, description="0: use the settings as given")
    storage: str | None = Field(None, description="URL of Optuna's database; None: a SQLite file of its own")
    objective: tuple[Literal["f1", "latency"], ...] = ("f1",)
    timeout_seconds: int | None = Field(None, ge=1, description="no further trial is started after so long")
    confirm_seeds: int = Field(
        2,
        ge=0,
        description="further seeds under which the two best trials and the settings as given are fitted to choose",
    )
    worker: bool = Field(False, description="help with the trials of a shared study; the final fit is another's")

    _names = field_validator("objective", mode="before")(_split_names)


class DecisionSettings(Frozen):
    """How a probability becomes a label or `review`. Fitted on validation."""

    target: Target = "f1_macro"
    minimum: float = Field(0.8, gt=0, le=1, description="the precision or recall asked for by `target`")
    review_share: float = Field(0.1, ge=0, le=0.9, description="share of texts that people may look at")
    pooling: Pooling = Field("max", description="over the windows in which a long text is read")
    window_overlap: int = Field(32, ge=0, description="tokens that neighbouring windows of a long text share")


class EvidenceSettings(Frozen):
    """How variants are measured and told apart."""

    seeds: int = Field(1, ge=1, le=100, description="paired repeats of every variant; `random` draws anew in each")
    vary_split: bool = Field(False, description="divide the rows anew for each seed, with a teacher for each division")
    alpha: float = Field(0.05, gt=0, lt=1)
    bootstrap_samples: int = Field(2000, ge=100)
    max_loss: float | None = Field(
        None, gt=0, lt=1, description="macro-F1 that a winner may lose against the teacher, with confidence 1 - alpha"
    )
    suite: str | None = Field(
        None,
        min_length=1,
        description="behaviour suite: `own`, `none` or a CSV; when not said, own for the sample, none for others",
    )


class GateSettings(Frozen):
    """What a version must show before `champion` points to it. None: not asked."""

    above_floor: bool = True
    max_worse_than_champion: float = Field(0.0, ge=0, description="macro-F1 on validation that may be lost")
    min_behaviour: float | None = Field(None, ge=0, le=1)
    max_group_gap: float | None = Field(None, ge=0, le=1)
    max_ece: float | None = Field(0.1, ge=0, le=1)
    max_latency_ms: float | None = Field(None, gt=0)
    max_onnx_mb: float | None = Field(None, gt=0)
    require_parity: bool = Field(False, description="promote only a version whose exported graph passed parity")


class ExportSettings(Frozen):
    """ONNX graphs."""

    kinds: tuple[Literal["fp32", "fp16", "int8"], ...] = ("fp32", "int8")
    parity_texts: int | None = Field(
        None, ge=1, description="validation texts that fp32 is held against torch on; all when not said"
    )
    max_abs_diff: float = Field(1e-4, gt=0, description="of a probability, fp32 graph against torch")
    max_fp16_flips: float = Field(0.001, ge=0)
    max_int8_flips: float = Field(0.01, ge=0)
    max_int8_f1_loss: float = Field(0.01, ge=0)
    speed: Literal["short", "full"] = Field(
        "short", description="table of speeds: 32 tokens at batch 1 and 32; full: also batch 8 and 16, 64, 128 tokens"
    )

    signing_key: Path | None = Field(
        None, description="file with the Ed25519 private key (PEM) that signs the bundle; not signed when not said"
    )

    _names = field_validator("kinds", mode="before")(_split_names)


class ServeSettings(Frozen):
    """What the Bento is built with. `serving/` reads them from the bundle."""

    provider: Literal["auto", "cpu", "cuda", "tensorrt"] = "auto"
    graph: Literal["checked", "fp32", "fp16", "int8"] = Field(
        "checked",
        description="checked: int8, borderline texts again in float32 (labels are fp32's), or all in fp32 where the "
        "machine that serves finds that as fast; int8: faster, some shift",
    )
    page: str | None = Field(
        None,
        min_length=1,
        description="YAML file with what the service's page says: question, definition, labels, examples",
    )


class RunSettings(Frozen):
    """What one command was asked to work on."""

    model: str | None = Field(None, description="run id, `name@alias`, `name/version`, or a bundle's folder")
    predictions: str | None = Field(None, description="CSV to write")
    variants: tuple[str, ...] | None = Field(None, description="which ones, by name; the teacher is always among them")
    to: str | None = Field(None, description="what `promote` moves the alias to; `previous` rolls back")
    fresh: bool = Field(
        False, description="fit named variants anew, finished runs or not; teachers on the way are reused"
    )
    jobs: int | None = Field(
        None, ge=1, le=256, description="fits, or parts of `score`, at once; None: one for each core or GPU"
    )
    engine: str | None = Field(
        None,
        description="address of a Ray cluster (ray://host:10001, auto); None: RAY_ADDRESS, or this machine",
    )
    build: bool = Field(True, description="build the Bento, not only its folder")
    input: str | None = Field(None, description="what `score` reads: file, several, folder, pattern or URL of these")
    output: str | None = Field(None, description="what `score` writes: a file for one file, else a folder; or a URL")
    columns: tuple[str, ...] = Field(
        ("text",), description="columns of the input that come along: `text`, names, or `all`"
    )
    format: Literal["parquet", "csv", "csv.gz"] | None = Field(
        None, description="of what `score` writes; None: as the output's name ends, else Parquet"
    )

    _names = field_validator("variants", "columns", mode="before")(_split_names)


class Settings(Frozen):
    """Everything a run depends on."""

    data: DataSettings = DataSettings()
    name: str = Field(
        default_factory=_name_of_data,
        pattern=r"^[A-Za-z0-9._-]+$",
        description="of the registered model; the data's when not said: reviews for reviews.csv",
    )
    experiment: str = Field(
        default_factory=lambda known: known.get("name", ""), min_length=1, description="in MLflow; `name` when not said"
    )
    seed: int = Field(0, ge=0, lt=2**31)
    home: Path = Field(Path(".evenodd"), description="checkpoints, caches and bundles")
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
        """The behaviour suite that models are scored on, `own` or a file; None: none."""
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


# What a variant needs to differ in, by family. Two variants that differ by a value differ here, not in code.
VARIANT_DEFAULTS: dict[str, dict[str, Any]] = {
    "teacher": {"train.learning_rate": 1e-4, "train.epochs": 3, "train.min_steps": 100},
    "student": {"train.learning_rate": 2e-4, "train.epochs": 4, "train.min_steps": 100},
    "lora": {"train.learning_rate": 2e-3, "train.epochs": 4, "train.average_share": 0.0, "train.min_steps": 100},
}
