"""The sections of the settings, one class per concern: typed, frozen, validated, with every default."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from evenodd.task.decision import Pooling, Target


class Frozen(BaseModel):
    """Base of all settings: immutable, unknown keys refused, numbers finite."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True, allow_inf_nan=False)


def _split_names(value: Any) -> Any:
    """Splits `a,b` from a command line into a tuple of names."""
    if isinstance(value, str):
        return tuple(part.strip() for part in value.split(",") if part.strip())
    return value


class DataSettings(Frozen):
    """The rows and their splits."""

    source: str = Field(
        "sample", min_length=1, description="`sample`, files (CSV, TSV, JSON, Parquet, text), a folder, or a hub name"
    )
    revision: str | None = Field(None, description="revision of a hub data set")
    encoding: str | None = Field(None, description="encoding of text files (cp1251, gb18030, …); not set: detected")
    text_column: str | None = Field(None, description="column with the text; not set: recognised by its name")
    label_column: str | None = Field(None, description="column with the label's name; not set: recognised by its name")
    split_column: str | None = Field(None, description="column that holds train, validation or test for each row")
    group_columns: tuple[str, ...] | None = Field(
        None,
        description="rows that share a value in one of these columns stay in one split; not set: recognised by name",
    )
    slices: tuple[str, ...] | None = Field(
        None, description="columns; figures, gaps and false-positive rates are also given for each of their values"
    )
    labels: tuple[str, ...] | None = Field(
        None, description="labels to keep, in this order; not set, or `all`: every label that occurs"
    )
    positive: str | None = Field(
        None, description="the label that the threshold applies to, for two labels; not set: the rarer one"
    )
    validation_share: float = Field(0.15, gt=0, lt=0.5, description="share of the rows in the validation split")
    test_share: float = Field(0.15, gt=0, lt=0.5, description="share of the rows in the test split")
    split_seed: int = Field(0, ge=0, description="random seed of the split; the same for all seeds of a comparison")
    max_length: int = Field(128, ge=8, le=8192, description="maximum tokens of a training row, special tokens included")
    limit: int | None = Field(None, ge=1, description="maximum number of rows (a stratified sample), for a trial run")
    augment: Literal["none", "counterexamples"] = Field(
        "none", description="`counterexamples` adds training rows from templates"
    )
    augment_rows: int = Field(4000, ge=1, description="number of rows that `augment` adds to every epoch")
    augment_turns: int = Field(
        4, ge=1, le=100, description="number of different sets of added rows; each epoch uses the next set"
    )
    augment_mix: float = Field(
        0.9, gt=0, le=1, description="weight of the fit with added rows when it is averaged with the fit without them"
    )
    augment_kinds: tuple[str, ...] | None = Field(None, description="kinds of counterexamples; not set: all")

    _names = field_validator("labels", "group_columns", "slices", "augment_kinds", mode="before")(_split_names)

    @field_validator("labels")
    @classmethod
    def _all(cls, value: tuple[str, ...] | None) -> tuple[str, ...] | None:
        return None if value == ("all",) else value


class ModelSettings(Frozen):
    """The pretrained encoder."""

    source: str = Field(
        "minilm", min_length=1, description="`minilm` (6 layers), `mpnet` (12; see `make mpnet`), a path, or a hub name"
    )
    revision: str | None = Field(None, description="revision of a hub model")


class TrainSettings(Frozen):
    """Training, with the same settings for teacher, student and LoRA."""

    epochs: int = Field(3, ge=1, le=1000, description="maximum number of epochs")
    learning_rate: float = Field(1e-4, gt=0, le=1, description="peak learning rate of AdamW")
    weight_decay: float = Field(0.01, ge=0, description="weight decay of AdamW")
    warmup_share: float = Field(
        0.1, ge=0, lt=1, description="share of the steps with linear warm-up of the learning rate"
    )
    scheduler: Literal["linear", "cosine", "constant_with_warmup"] = Field(
        "linear", description="learning rate after the warm-up"
    )
    max_grad_norm: float = Field(1.0, gt=0, description="gradients are clipped to this norm")
    min_steps: int = Field(
        0,
        ge=0,
        description="minimum number of steps: few rows get smaller batches and more epochs; 0 if `epochs` is given",
    )
    token_budget: int = Field(1024, ge=32, description="tokens of a batch, padding included")
    max_rows: int = Field(64, ge=1, description="maximum rows of a batch")
    class_weight: Literal["none", "balanced", "sqrt"] | Annotated[float, Field(gt=0)] = Field(
        "sqrt", description="weighting of rare labels in the loss, or the positive label's weight as a number"
    )
    freeze_embeddings: bool = Field(True, description="do not train the word embeddings")
    dropout: float | None = Field(
        None, ge=0, lt=1, description="dropout of the encoder; not set: as in the model's config"
    )
    patience: int = Field(3, ge=1, description="stop after this many epochs without a better validation macro-F1")
    average_share: float = Field(
        0.5,
        ge=0,
        lt=1,
        description="average the weights over this share of the steps, from the end; 0: use the best epoch",
    )
    precision: Literal["auto", "fp32", "bf16"] = Field(
        "auto", description="`auto`: bf16 if it is measured to be faster"
    )
    log_steps: int = Field(20, ge=1, description="steps between logged training losses")

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

    temperature: float = Field(3.0, gt=0, description="temperature that softens the logits of teacher and student")
    soft_weight: float = Field(
        0.7, ge=0, description="weight of the KL divergence of softened logits (times temperature squared)"
    )
    label_weight: float = Field(0.3, ge=0, description="weight of the cross-entropy with the labels")
    hidden_weight: float = Field(0.5, ge=0, description="weight of the distance of hidden states between mapped layers")
    hidden_loss: Literal["cosine", "mse"] = Field("cosine", description="distance of hidden states")
    hidden_tokens: Literal["first", "all"] = Field(
        "first", description="compared hidden states: of the first token, or of all tokens"
    )
    hidden_layers: Literal["mapped", "last"] = Field(
        "mapped", description="compared layers: all mapped layers, or the last one"
    )
    attention_weight: float = Field(
        0.0, ge=0, description="weight of the distance of attention maps between mapped layers"
    )
    cache_budget_mb: int = Field(
        4096, ge=0, description="maximum size of the cache of teacher outputs; beyond it the teacher runs live"
    )

    @model_validator(mode="after")
    def _some_term(self) -> DistillSettings:
        if self.soft_weight + self.label_weight == 0:
            raise ValueError("soft_weight and label_weight are both 0: nothing trains the classifier")
        return self


class LoraSettings(Frozen):
    """Low-rank adapters."""

    rank: int = Field(8, ge=1, le=512, description="rank of the adapters")
    alpha: int = Field(16, ge=1, description="scale of the adapters: alpha / rank")
    dropout: float = Field(0.1, ge=0, lt=1, description="dropout of the adapters' inputs")
    targets: tuple[str, ...] | None = Field(
        None, description="names of the adapted modules; not set: query, key and value"
    )
    initial_rank: int | None = Field(
        None, ge=1, le=1024, description="AdaLoRA: rank at the start; not set: 1.5 times `rank`"
    )
    rslora: bool = Field(False, description="rank-stabilised scale: alpha / sqrt(rank)")
    dora: bool = Field(False, description="DoRA: train the magnitude of the weights separately")

    _names = field_validator("targets", mode="before")(_split_names)


class VariantSettings(Frozen):
    """The layers that a student keeps."""

    layers: tuple[int, ...] | None = Field(
        None, description="teacher layers to keep, from 1; not set: those of the variant"
    )
    depth: int | None = Field(None, ge=1, description="number of layers to keep; not set: half of the teacher's")
    importance: Literal["influence", "drop", "greedy"] = Field("influence", description="score that ranks the layers")
    importance_rows: int = Field(512, ge=8, description="maximum number of validation rows for the layer scores")
    sensitive: int | None = Field(
        None, ge=1, description="hybrid: number of layers with LoRA; not set: half of the student's"
    )

    @field_validator("layers", mode="before")
    @classmethod
    def _numbers(cls, value: Any) -> Any:
        if isinstance(value, str):
            return tuple(part.strip() for part in value.split(",") if part.strip())
        return value


class TuneSettings(Frozen):
    """Optuna."""

    trials: int = Field(0, ge=0, description="number of trials before the final fit; 0: no tuning")
    storage: str | None = Field(None, description="URL of Optuna's database; not set: a SQLite file below `home`")
    objective: tuple[Literal["f1", "latency"], ...] = Field(
        ("f1",), description="what the trials optimise: f1, or f1,latency"
    )
    timeout_seconds: int | None = Field(None, ge=1, description="start no further trial after this time")
    confirm_seeds: int = Field(
        2, ge=0, description="number of further seeds with which the two best trials and the given settings are fitted"
    )
    worker: bool = Field(False, description="only run trials of a shared study; another command does the final fit")

    _names = field_validator("objective", mode="before")(_split_names)


class DecisionSettings(Frozen):
    """The rule that turns a probability into a label or `review`. It is fitted on validation."""

    target: Target = Field("f1_macro", description="what the threshold optimises")
    minimum: float = Field(0.8, gt=0, le=1, description="minimum precision or recall if `target` is one of them")
    review_share: float = Field(0.1, ge=0, le=0.9, description="share of texts for review by people")
    pooling: Pooling = Field("max", description="how the windows of a long text are combined")
    window_overlap: int = Field(32, ge=0, description="tokens that neighbouring windows of a long text share")


class EvidenceSettings(Frozen):
    """How variants are measured and compared."""

    seeds: int = Field(1, ge=1, le=100, description="number of paired repeats of every variant")
    vary_split: bool = Field(False, description="split the rows again for each seed, with a teacher for each split")
    alpha: float = Field(0.05, gt=0, lt=1, description="significance level of the comparison")
    bootstrap_samples: int = Field(2000, ge=100, description="number of bootstrap samples")
    max_loss: float | None = Field(
        None, gt=0, lt=1, description="maximum loss of macro-F1 against the teacher, with confidence 1 - alpha"
    )
    suite: str | None = Field(
        None,
        min_length=1,
        description="behaviour suite: `own`, `none` or a CSV; not set: `own` for the sample, `none` for other rows",
    )


class GateSettings(Frozen):
    """Conditions for the promotion of a version to `champion`. None: not checked."""

    above_floor: bool = Field(True, description="promote only a version that exceeds the floors")
    max_worse_than_champion: float = Field(
        0.0, ge=0, description="maximum loss of macro-F1 on validation against the champion"
    )
    min_behaviour: float | None = Field(
        None, ge=0, le=1, description="minimum balanced accuracy on the behaviour suite"
    )
    max_group_gap: float | None = Field(
        None, ge=0, le=1, description="maximum gap between groups on the behaviour suite"
    )
    max_slice_gap: float | None = Field(
        None, ge=0, le=1, description="maximum gap between the values of any column of `slices`, on validation"
    )
    max_ece: float | None = Field(0.1, ge=0, le=1, description="maximum expected calibration error on validation")
    max_latency_ms: float | None = Field(None, gt=0, description="maximum median latency of one text")
    max_onnx_mb: float | None = Field(None, gt=0, description="maximum size of the exported graph")
    require_parity: bool = Field(False, description="promote only a version whose exported graph passed parity")


class ExportSettings(Frozen):
    """ONNX graphs."""

    kinds: tuple[Literal["fp32", "fp16", "int8"], ...] = Field(("fp32", "int8"), description="graphs to export")
    parity_texts: int | None = Field(
        None, ge=1, description="number of validation texts for the parity of fp32 with torch; not set: all"
    )
    max_abs_diff: float = Field(
        1e-4, gt=0, description="maximum difference of a probability between fp32 graph and torch"
    )
    max_fp16_flips: float = Field(0.001, ge=0, description="maximum share of labels that fp16 changes")
    max_int8_flips: float = Field(0.01, ge=0, description="maximum share of labels that int8 changes")
    max_int8_f1_loss: float = Field(0.01, ge=0, description="maximum loss of macro-F1 by int8")
    speed: Literal["short", "full"] = Field(
        "short",
        description="table of speeds: 32 tokens at batch 1 and 32; full: also batch 8 and 16, 64 and 128 tokens",
    )

    signing_key: Path | None = Field(
        None, description="file with the Ed25519 private key (PEM) that signs the bundle; not set: no signature"
    )

    _names = field_validator("kinds", mode="before")(_split_names)


class ServeSettings(Frozen):
    """Settings of the service, which reads them from the bundle."""

    provider: Literal["auto", "cpu", "cuda", "tensorrt"] = Field(
        "auto", description="ONNX Runtime provider of the service; `auto`: CUDA if it starts, otherwise the CPU"
    )
    graph: Literal["checked", "fp32", "fp16", "int8"] = Field(
        "checked",
        description="`checked`: int8, and float32 again for scores close to a boundary (float32's labels), or only "
        "float32 if that is as fast; `int8`: faster, but some labels differ",
    )
    page: str | None = Field(
        None,
        min_length=1,
        description="YAML file with texts for the service's page: question, definition, labels, examples",
    )


class RunSettings(Frozen):
    """Input, output and extent of one command."""

    model: str | None = Field(None, description="run id, `name@alias`, `name/version`, or a bundle's folder")
    predictions: str | None = Field(None, description="CSV file for the predictions")
    variants: tuple[str, ...] | None = Field(None, description="names of the variants; the teacher is always included")
    to: str | None = Field(None, description="version that `promote` moves the alias to; `previous` rolls back")
    fresh: bool = Field(
        False, description="fit the named variants again even if finished runs exist; their teachers are reused"
    )
    jobs: int | None = Field(
        None, ge=1, le=256, description="concurrent fits, or parts of `score`; not set: one per core or GPU"
    )
    engine: str | None = Field(
        None,
        description="address of a Ray cluster (ray://host:10001, auto); not set: RAY_ADDRESS, or this machine",
    )
    build: bool = Field(True, description="build the Bento, not only its folder")
    follow: bool = Field(False, description="the Bento can follow a registered model: mlflow-skinny is installed in it")
    input: str | None = Field(
        None, description="input of `score`: a file, several files, a folder, a pattern, or URLs of these"
    )
    output: str | None = Field(
        None, description="output of `score`: a file for one input file, otherwise a folder; or a URL"
    )
    columns: tuple[str, ...] = Field(("text",), description="columns of the input to copy: `text`, names, or `all`")
    format: Literal["parquet", "csv", "csv.gz"] | None = Field(
        None, description="format of the output of `score`; not set: by the suffix of the output's name, or Parquet"
    )

    _names = field_validator("variants", "columns", mode="before")(_split_names)
