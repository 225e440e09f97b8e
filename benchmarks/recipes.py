"""Ways to train the same model on the same rows: the class-room loop, transformers' Trainer, and this project.

Each is timed from its first batch to its last step: what comes before (files, caches) and after (validation,
checkpoints) is in none of the times. All take about 32 rows a step; ours may differ where the table says so.
"""

from __future__ import annotations

import copy
import tempfile
import time
from bisect import bisect
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import PreTrainedModel, PrinterCallback, Trainer, TrainerCallback

from evenodd.encoders import add_lora, init_student, odd_layers
from evenodd.encoders.encoder import override_dropout
from evenodd.evidence import classification_metrics
from evenodd.rows import Corpus, TokenStore
from evenodd.settings import VARIANT_DEFAULTS, DistillSettings, LoraSettings, TrainSettings
from evenodd.training import (
    DistillObjective,
    FitContext,
    FitData,
    LabelObjective,
    TeacherTargets,
    fit,
    predict_logits,
    training_flops,
)
from evenodd.training.arguments import OneDevice
from evenodd.training.batches import TokenBudgetSampler
from evenodd.training.objective import Objective
from evenodd.training.speedups.first_token import first_token_in_last_layer

CLASSROOM_TOKENS = 128
BATCH_ROWS = 32
ORDERS = 200
QUALITY = ("f1_macro", "average_precision")
FAMILIES = {"distil": "student", "teacher": "teacher", "lora": "lora"}


@dataclass(frozen=True)
class Bench:
    """What all recipes share.

    Attributes:
        encoder: as pretrained, with a fresh head: what `teacher` and `lora` start from.
        teacher: what is distilled.
        validation, validation_labels: what ours chooses its epoch by; a few of the rows when only speeds are measured.
        test, test_labels: what every recipe is scored on, and none has seen; a few of the rows likewise.
        targets: of the teacher, for every training row; None where nothing reads them.
        work: for what a run leaves behind.
        counted: floating-point operations by task, way, rows and tokens: whole, and executed.
    """

    corpus: Corpus
    encoder: PreTrainedModel
    teacher: PreTrainedModel
    train: TokenStore
    validation: TokenStore
    validation_labels: np.ndarray
    test: TokenStore
    test_labels: np.ndarray
    targets: TeacherTargets | None
    work: Path
    distill: DistillSettings = field(default_factory=DistillSettings)
    counted: dict[tuple[str, str, int, int], tuple[float, float]] = field(default_factory=dict)

    @property
    def layers(self) -> tuple[int, ...]:
        """The teacher layers that the student keeps."""
        return odd_layers(self.teacher.config.num_hidden_layers)

    def rows(self, count: int | None) -> np.ndarray:
        """Positions of so many training rows, evenly over all lengths: the corpus's mix, whatever the number."""
        count = min(count or len(self.train), len(self.train))
        places = (np.arange(count) + 0.5) * len(self.train) / count
        chosen = np.argsort(self.train.lengths, kind="stable")[places.astype(np.int64)]
        return np.random.default_rng(0).permutation(chosen)

    def usual_batches(self, rows: np.ndarray) -> np.ndarray:
        """An order of these rows whose batches hold as much padding as random batches of all rows do on average.

        Of few rows, one order pads a quarter more than another.
        """
        usual = _padded(self.train.lengths, np.random.default_rng(0)) / self.train.lengths.mean()
        orders = [np.random.default_rng(seed).permutation(rows) for seed in range(ORDERS)]
        padded = [_padded(self.train.lengths[order]) / self.train.lengths[order].mean() for order in orders]
        return orders[int(np.argmin(np.abs(np.asarray(padded) - usual)))]


def _padded(lengths: np.ndarray, random: np.random.Generator | None = None) -> float:
    """Tokens of a row, padding included, in batches of rows in this order, or in a random one."""
    lengths = lengths if random is None else random.permutation(lengths)
    batches = np.split(lengths, range(BATCH_ROWS, len(lengths), BATCH_ROWS))
    return sum(len(batch) * int(batch.max()) for batch in batches) / len(lengths)


def scores(corpus: Corpus, logits: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """Metrics of these rows."""
    shifted = np.exp(logits - logits.max(1, keepdims=True))
    probabilities = shifted / shifted.sum(1, keepdims=True)
    return classification_metrics(labels, probabilities, label_names=corpus.label_names, positive=corpus.positive)


@dataclass(frozen=True)
class Recipe:
    """One line of the table.

    Attributes:
        task: `distil`, `teacher` (fine-tuning at full depth) or `lora`.
        how: `classroom`, `trainer` or `ours`.
        rows: for its speed; slow recipes get fewer, in batches padded as those of all rows are.
        bf16, grouped: of Trainer. Grouping has its batches from all rows and ends after so many steps: of few rows it
            cannot make batches of one length (2.5 padded tokens for a real one among 256 rows, 1.07 among 7,038).
        changes: settings of ours beside the same recipe.
    """

    task: str
    how: str
    rows: int
    bf16: bool = False
    grouped: bool = False
    changes: dict[str, Any] = field(default_factory=dict)


FROZEN = {"freeze_embeddings": True}
FREE = {**FROZEN, "dropout": 0.0, "token_budget": TrainSettings().token_budget}

RECIPES: dict[str, Recipe] = {
    "classroom": Recipe("distil", "classroom", 96),
    "trainer fp32": Recipe("distil", "trainer", 128),
    "trainer bf16": Recipe("distil", "trainer", 128, bf16=True),
    "trainer bf16 grouped": Recipe("distil", "trainer", 960, bf16=True, grouped=True),
    "ours": Recipe("distil", "ours", 960),
    "ours, embeddings frozen": Recipe("distil", "ours", 960, changes=FROZEN),
    "ours, frozen, no dropout": Recipe("distil", "ours", 960, changes=FREE),
    "teacher trainer fp32": Recipe("teacher", "trainer", 128),
    "teacher ours": Recipe("teacher", "ours", 384),
    "teacher ours, frozen": Recipe("teacher", "ours", 384, changes=FROZEN),
    "teacher ours, frozen, no dropout": Recipe("teacher", "ours", 384, changes=FREE),
    "lora trainer fp32": Recipe("lora", "trainer", 128),
    "lora ours": Recipe("lora", "ours", 384),
    "lora ours, no dropout": Recipe("lora", "ours", 384, changes=FREE),
}

BIG = {**FREE, "token_budget": 16_384, "max_rows": 1024}
ON_GPUS = {
    "ours, compiled": Recipe("distil", "ours", 960, changes={**FREE, "compile": True}),
    "ours, big batches": Recipe("distil", "ours", 960, changes=BIG),
    "ours, big batches, packed": Recipe("distil", "ours", 960, changes={**BIG, "packed": True}),
}
"""Beside `RECIPES` where there is a GPU: compiled layers, and unlike rows in a batch, padded and not."""


def recipes_here() -> dict[str, Recipe]:
    """What is measured on this machine."""
    return RECIPES | ON_GPUS if torch.cuda.is_available() else RECIPES


@dataclass(frozen=True)
class Trained:
    """What a way of training did.

    Attributes:
        rows: positions of the rows that it saw, as often as it did.
    """

    rows: np.ndarray
    steps: int
    seconds: float


@dataclass(frozen=True)
class Measured:
    """One recipe's run.

    Attributes:
        seconds: of its steps.
        flops: of the real tokens through the whole trained model: padding and the teacher count for nothing.
        executed_flops: those of them that were executed.
        f1_macro, average_precision: on the test rows.
    """

    rows: int
    tokens: int
    steps: int
    seconds: float
    flops: float
    executed_flops: float
    f1_macro: float
    average_precision: float


@dataclass(frozen=True)
class Drawn:
    """Rows that a recipe gets, how Trainer makes batches of them (`train_sampling_strategy`), and its steps at most."""

    rows: np.ndarray
    sampling: str = "random"
    most_steps: int = -1


def _draw(bench: Bench, recipe: Recipe, count: int | None) -> Drawn:
    """So many rows for a speed, or all (None) for a whole fit."""
    if recipe.grouped:
        return Drawn(bench.rows(None), "group_by_length", max(count // BATCH_ROWS, 1) if count else -1)
    return Drawn(bench.usual_batches(bench.rows(count)), "sequential") if count else Drawn(bench.rows(None))


def run_recipe(bench: Bench, recipe: Recipe, rows: int | None, *, seed: int = 0, epochs: int = 1) -> Measured:
    """Trains from the start on so many rows (None: all) and measures it."""
    torch.manual_seed(seed)
    drawn, model = _draw(bench, recipe, rows), _start(bench, recipe.task)
    if recipe.how == "classroom":
        done = _classroom(bench, recipe, model, drawn.rows, seed, epochs)
    elif recipe.how == "trainer":
        done = _trainer(bench, recipe, model, drawn, seed, epochs)
    else:
        done = _ours(bench, recipe, model, drawn.rows, seed, epochs)
    lengths = bench.train.lengths[done.rows]
    found = scores(bench.corpus, predict_logits(model, bench.test), bench.test_labels)
    flops, executed = _count(bench, recipe, model, lengths)
    quality = {name: found[name] for name in QUALITY}
    return Measured(len(lengths), int(lengths.sum()), done.steps, done.seconds, flops, executed, **quality)


def _count(bench: Bench, recipe: Recipe, model: Any, lengths: np.ndarray) -> tuple[float, float]:
    """Operations for rows of these lengths: of the whole model, and those of them that are executed."""
    key = recipe.task, recipe.how, len(lengths), int(lengths.sum())
    if key not in bench.counted:
        whole = training_flops(model, lengths)
        with first_token_in_last_layer(model) if recipe.how == "ours" else nullcontext():
            bench.counted[key] = whole, training_flops(model, lengths)
    return bench.counted[key]


def _start(bench: Bench, task: str) -> Any:
    if task == "distil":
        return init_student(bench.teacher, bench.layers).model
    model = copy.deepcopy(bench.encoder)
    return add_lora(model, LoraSettings()) if task == "lora" else model


def _learning_rate(task: str) -> float:
    return float(VARIANT_DEFAULTS[FAMILIES[task]]["train"]["learning_rate"])


def _objective(bench: Bench, task: str) -> Objective:
    """What is minimised; in distillation the teacher runs for every batch."""
    if task != "distil":
        return LabelObjective()
    return DistillObjective(bench.distill, bench.layers, teacher=copy.deepcopy(bench.teacher))


def _classroom(
    bench: Bench, recipe: Recipe, model: PreTrainedModel, rows: np.ndarray, seed: int, epochs: int
) -> Trained:
    """Padded to 128 tokens, random batches of 32, float32, the teacher runs again for every batch."""
    objective, random, device = _objective(bench, recipe.task), np.random.default_rng(seed), model.device
    optimizer = torch.optim.AdamW(model.parameters(), lr=_learning_rate(recipe.task))
    model.train()
    seen: list[np.ndarray] = []
    start = time.perf_counter()
    for _ in range(epochs):
        for part in np.array_split(random.permutation(rows), max(len(rows) // BATCH_ROWS, 1)):
            batch = {key: _pad(value) for key, value in bench.train.collate(part, pad_to_multiple=1).items()}
            batch["labels"] = torch.from_numpy(bench.corpus.train.labels[part])
            batch = {key: value.to(device) for key, value in batch.items()}
            _mean_loss(objective, model, batch).backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad()
            seen.append(part)
    _wait_for_device()
    return Trained(np.concatenate(seen), len(seen), time.perf_counter() - start)


def _trainer(bench: Bench, recipe: Recipe, model: PreTrainedModel, drawn: Drawn, seed: int, epochs: int) -> Trained:
    """transformers' Trainer with dynamic padding and, in distillation, the teacher inside `compute_loss`."""
    arguments = OneDevice(
        output_dir=str(bench.work), num_train_epochs=epochs, learning_rate=_learning_rate(recipe.task),
        bf16=recipe.bf16, use_cpu=not torch.cuda.is_available(), per_device_train_batch_size=BATCH_ROWS,
        save_strategy="no", report_to=[], disable_tqdm=True, remove_unused_columns=False, seed=seed,
        logging_strategy="no", train_sampling_strategy=drawn.sampling,
        dataloader_pin_memory=False, max_steps=drawn.most_steps,
    )  # fmt: skip
    watch, seen = Stopwatch(), list[np.ndarray]()
    trainer = _PlainTrainer(
        _objective(bench, recipe.task),
        model=model, args=arguments, train_dataset=_Rows(bench, drawn.rows), data_collator=_collate(bench, seen),
        callbacks=[watch],
    )  # fmt: skip
    trainer.remove_callback(PrinterCallback)
    trainer.train()
    for name in ("forward", "_original_forward"):
        model.__dict__.pop(name, None)
    return Trained(np.concatenate(seen[: watch.steps]), watch.steps, watch.seconds)  # one more batch is made ahead


def _ours(bench: Bench, recipe: Recipe, model: PreTrainedModel, rows: np.ndarray, seed: int, epochs: int) -> Trained:
    """This project's `fit`: cached targets, batches by token budget, bf16 where it pays; about 32 rows a step."""
    store, labels = part_of(bench.train, rows), bench.corpus.train.labels[rows]
    same = {"freeze_embeddings": False, "token_budget": budget_for(BATCH_ROWS, store.lengths)}
    usual = VARIANT_DEFAULTS[FAMILIES[recipe.task]]["train"] | {"epochs": epochs, "patience": epochs}
    settings = TrainSettings(**(usual | same | recipe.changes))
    override_dropout(model, settings.dropout)
    objective: Objective = LabelObjective()
    if recipe.task == "distil":
        assert bench.targets is not None
        targets = TeacherTargets(bench.targets.logits[rows], bench.targets.hidden[rows])
        objective = DistillObjective(bench.distill, bench.layers, targets=targets)
    score = partial(scores, bench.corpus)
    data, watch = FitData(store, labels, bench.validation, bench.validation_labels), Stopwatch()
    with tempfile.TemporaryDirectory(dir=bench.work) as folder:
        fit(model, data, settings, objective, FitContext(Path(folder), seed, score, callbacks=(watch,)))
    return Trained(np.tile(rows, epochs), watch.steps, watch.seconds)


def budget_for(rows_per_step: int, lengths: np.ndarray) -> int:
    """The smallest of a few token budgets under which batches of these rows hold so many rows on average."""
    least, most = round(rows_per_step * float(lengths.mean())), rows_per_step * int(lengths.max())
    budgets = range(max(least, 32), max(most, 32) + 1, 8)
    step = bisect(budgets, rows_per_step - 1e-9, key=lambda budget: _mean_rows(lengths, budget))
    return budgets[min(step, len(budgets) - 1)]


def _mean_rows(lengths: np.ndarray, token_budget: int) -> float:
    return TokenBudgetSampler(lengths, token_budget=token_budget, max_rows=TrainSettings().max_rows).mean_rows


class Stopwatch(TrainerCallback):
    """Seconds between the begin and the end of each epoch's steps; validation and checkpoints come after the end."""

    def __init__(self) -> None:
        self.seconds, self.steps, self.started = 0.0, 0, 0.0

    def on_epoch_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Starts it."""
        self.started = time.perf_counter()

    def on_epoch_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Stops it."""
        _wait_for_device()
        self.seconds += time.perf_counter() - self.started
        self.steps = state.global_step


def _wait_for_device() -> None:
    """A GPU works on after the host's last call."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()


class _PlainTrainer(Trainer):
    def __init__(self, objective: Objective, **arguments: Any) -> None:
        self.objective = objective
        super().__init__(**arguments)

    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):  # type: ignore[no-untyped-def]
        return _mean_loss(self.objective, model, inputs)


class _Rows(torch.utils.data.Dataset):
    """Token ids of rows, as lists: what grouping by length wants."""

    def __init__(self, bench: Bench, rows: np.ndarray) -> None:
        self.bench, self.rows = bench, rows

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> dict[str, Any]:
        row = int(self.rows[index])
        return {"row": row, "input_ids": self.bench.train.ids(row).tolist()}


def _collate(bench: Bench, seen: list[np.ndarray]) -> Callable[[list[dict[str, Any]]], dict[str, torch.Tensor]]:
    """Makes batches, and notes their rows in `seen`."""
    labels = bench.corpus.train.labels

    def collate(items: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
        rows = np.array([item["row"] for item in items])
        seen.append(rows)
        return {**bench.train.collate(rows, pad_to_multiple=1), "labels": torch.from_numpy(labels[rows])}

    return collate


def part_of(store: TokenStore, rows: np.ndarray) -> TokenStore:
    """A store of these rows alone, in memory."""
    lengths = store.lengths[rows].astype(np.int64)
    flat = np.concatenate([store.ids(int(row)) for row in rows])
    return replace(store, flat=flat, offsets=np.concatenate([[0], np.cumsum(lengths)]))


def _mean_loss(objective: Objective, model: Any, batch: dict[str, torch.Tensor]) -> torch.Tensor:
    terms, _ = objective.terms(model, batch)
    return torch.stack(list(terms.values())).sum(0).mean()


def _pad(values: torch.Tensor) -> torch.Tensor:
    return torch.nn.functional.pad(values, (0, CLASSROOM_TOKENS - values.shape[1]))
