"""Three methods of training a model on the same rows: a textbook loop, transformers' Trainer, and this project."""

from __future__ import annotations

import copy
import tempfile
import time
from bisect import bisect
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import PreTrainedModel, PrinterCallback, Trainer, TrainerCallback

from benchmarks.bench import BATCH_ROWS, CLASSROOM_TOKENS, Bench, Drawn, Recipe, Trained, part_of, scores
from evenodd.encoders.encoder import override_dropout
from evenodd.settings import TrainSettings, make_request
from evenodd.training import DistillObjective, FitContext, FitData, LabelObjective, TeacherTargets, fit
from evenodd.training.arguments import OneDevice
from evenodd.training.batches import TokenBudgetSampler
from evenodd.training.objective import Objective

FAMILIES = {"distil": "student", "teacher": "teacher", "lora": "lora"}


def _usual(task: str) -> TrainSettings:
    """The project's settings for a task."""
    return make_request({"train.min_steps": 0}).settings_for(FAMILIES[task]).train


def _objective(bench: Bench, task: str) -> Objective:
    """The objective; in distillation the teacher runs for every batch."""
    if task != "distil":
        return LabelObjective()
    return DistillObjective(bench.distill, bench.layers, teacher=copy.deepcopy(bench.teacher))


def classroom(
    bench: Bench, recipe: Recipe, model: PreTrainedModel, rows: np.ndarray, seed: int, epochs: int
) -> Trained:
    """The textbook loop: rows padded to 128 tokens, random batches of 32, float32, a teacher pass for every batch."""
    objective, random, device = _objective(bench, recipe.task), np.random.default_rng(seed), model.device
    optimizer = torch.optim.AdamW(model.parameters(), lr=_usual(recipe.task).learning_rate)
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


def trainer(bench: Bench, recipe: Recipe, model: PreTrainedModel, drawn: Drawn, seed: int, epochs: int) -> Trained:
    """transformers' Trainer with dynamic padding and, in distillation, the teacher inside `compute_loss`."""
    arguments = OneDevice(
        output_dir=str(bench.work), num_train_epochs=epochs, learning_rate=_usual(recipe.task).learning_rate,
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
    return Trained(np.concatenate(seen[: watch.steps]), watch.steps, watch.seconds)  # one more batch is prefetched


def ours(bench: Bench, recipe: Recipe, model: PreTrainedModel, rows: np.ndarray, seed: int, epochs: int) -> Trained:
    """This project's `fit`: cached targets, batches by token budget, bf16 if it is faster; about 32 rows per step."""
    store, labels = part_of(bench.train, rows), bench.corpus.train.labels[rows]
    same = {"freeze_embeddings": False, "token_budget": budget_for(BATCH_ROWS, store.lengths)}
    length = {"epochs": epochs, "patience": epochs}
    settings = _usual(recipe.task).model_copy(update=length | same | recipe.changes)
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
    """The smallest of a few token budgets with which batches have `rows_per_step` of these rows on average."""
    least, most = round(rows_per_step * float(lengths.mean())), rows_per_step * int(lengths.max())
    budgets = range(max(least, 32), max(most, 32) + 1, 8)
    step = bisect(budgets, rows_per_step - 1e-9, key=lambda budget: _mean_rows(lengths, budget))
    return budgets[min(step, len(budgets) - 1)]


def _mean_rows(lengths: np.ndarray, token_budget: int) -> float:
    return TokenBudgetSampler(lengths, token_budget=token_budget, max_rows=TrainSettings().max_rows).mean_rows


class Stopwatch(TrainerCallback):
    """Seconds from the beginning to the end of each epoch's steps, without validation and checkpoints."""

    def __init__(self) -> None:
        self.seconds, self.steps, self.started = 0.0, 0, 0.0

    def on_epoch_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Starts the clock."""
        self.started = time.perf_counter()

    def on_epoch_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Stops the clock."""
        _wait_for_device()
        self.seconds += time.perf_counter() - self.started
        self.steps = state.global_step


def _wait_for_device() -> None:
    """Waits for a GPU, which may still be computing after the host's last call."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()


class _PlainTrainer(Trainer):
    def __init__(self, objective: Objective, **arguments: Any) -> None:
        self.objective = objective
        super().__init__(**arguments)

    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):  # type: ignore[no-untyped-def]
        return _mean_loss(self.objective, model, inputs)


class _Rows(torch.utils.data.Dataset):
    """Token ids of rows as lists, as grouping by length requires."""

    def __init__(self, bench: Bench, rows: np.ndarray) -> None:
        self.bench, self.rows = bench, rows

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> dict[str, Any]:
        row = int(self.rows[index])
        return {"row": row, "input_ids": self.bench.train.ids(row).tolist()}


def _collate(bench: Bench, seen: list[np.ndarray]) -> Callable[[list[dict[str, Any]]], dict[str, torch.Tensor]]:
    """Makes batches, and records their rows in `seen`."""
    labels = bench.corpus.train.labels

    def collate(items: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
        rows = np.array([item["row"] for item in items])
        seen.append(rows)
        return {**bench.train.collate(rows, pad_to_multiple=1), "labels": torch.from_numpy(labels[rows])}

    return collate


def _mean_loss(objective: Objective, model: Any, batch: dict[str, torch.Tensor]) -> torch.Tensor:
    terms, _ = objective.terms(model, batch)
    return torch.stack(list(terms.values())).sum(0).mean()


def _pad(values: torch.Tensor) -> torch.Tensor:
    return torch.nn.functional.pad(values, (0, CLASSROOM_TOKENS - values.shape[1]))
