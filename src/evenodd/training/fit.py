"""Fitting: transformers' Trainer over batches by token budget, with checkpoints that a later call goes on from."""

from __future__ import annotations

import json
import logging
import shutil
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader
from transformers import (
    EarlyStoppingCallback,
    PreTrainedModel,
    PrinterCallback,
    Trainer,
    TrainerCallback,
    TrainingArguments,
)

from evenodd.config import TrainSettings
from evenodd.data import TokenStore
from evenodd.training.batches import TokenBudgetSampler
from evenodd.training.objective import Batch, Objective
from evenodd.training.precision import best_device, choose_precision
from evenodd.training.predict import predict_logits
from evenodd.training.processes import rank_and_world, run_in_processes, share_of_batch
from evenodd.training.progress import Progress
from evenodd.variants.encoder import word_embeddings

log = logging.getLogger(__name__)

Score = Callable[[np.ndarray, np.ndarray], dict[str, float]]
Report = Callable[[dict[str, float], int], None]
MARKER = "complete"


@dataclass(frozen=True)
class FitData:
    """Token ids and labels (int64, (rows,)) of the rows that a fit trains on and is measured by."""

    train: TokenStore
    train_labels: np.ndarray
    validation: TokenStore
    validation_labels: np.ndarray


@dataclass(frozen=True)
class FitContext:
    """What surrounds a fit.

    Attributes:
        folder: checkpoints; emptied by whoever no longer needs them.
        seed: of batches and dropout.
        score: (logits, labels) to metrics; `f1_macro` chooses the best epoch.
        report: called with named metrics and the step they belong to.
        callbacks: further callbacks of transformers' Trainer.
    """

    folder: Path
    seed: int
    score: Score
    report: Report = lambda metrics, step: None
    callbacks: tuple[TrainerCallback, ...] = ()


@dataclass(frozen=True)
class Fit:
    """A finished fit: `history` holds rows of step, epoch, metric and value; `figures` the cost metrics."""

    history: list[dict[str, Any]]
    figures: dict[str, float]
    best_epoch: int = 0
    train_loss: float = field(default=float("nan"))


def fit(
    model: PreTrainedModel, data: FitData, settings: TrainSettings, objective: Objective, context: FitContext
) -> Fit:
    """Trains the model in place; afterwards it holds the weights of its best epoch on validation macro-F1.

    A folder with a complete checkpoint of an earlier, interrupted call is gone on from: with the same random numbers,
    patience and history, and its metrics are reported again, so the weights are those of a call that ran through.

    Raises:
        RuntimeError: the loss is not a number.
        ValueError: several processes for an objective that runs in one only.
    """
    if settings.freeze_embeddings:
        word_embeddings(model).requires_grad_(False)
    if settings.processes > 1:
        _check_processes(settings, objective)
        return run_in_processes(_fit, (model, data, settings, objective), context, settings.processes)
    return _fit(model, data, settings, objective, context)


def _check_processes(settings: TrainSettings, objective: Objective) -> None:
    """In a process of its own, transformers gives no hidden states or attention maps of a model sent there.

    Raises:
        ValueError: the objective compares them.
    """
    distilled = getattr(objective, "settings", None)
    if distilled is not None and distilled.hidden_weight + distilled.attention_weight > 0:
        raise ValueError(
            f"processes={settings.processes}: hidden states and attention maps are compared in one process only; pass "
            "-P processes=1, or -P distill.hidden_weight=0 -P distill.attention_weight=0."
        )


def _fit(
    model: PreTrainedModel, data: FitData, settings: TrainSettings, objective: Objective, context: FitContext
) -> Fit:
    resume = last_checkpoint(context.folder)
    trainer = EncoderTrainer(model, data, settings, objective, context, _read_mark(resume))
    if resume:
        log.info("going on from %s", resume)
    trainer.train(resume_from_checkpoint=str(resume) if resume else None)
    _take_autocast_off(model)
    return trainer.finish()


def _take_autocast_off(model: nn.Module) -> None:
    """accelerate leaves its mixed-precision `forward` on the model: float32 scores would be bfloat16 ones."""
    for name in ("forward", "_original_forward"):
        model.__dict__.pop(name, None)


class EncoderTrainer(Trainer):
    """transformers' Trainer with our batches, objective and evaluation."""

    def __init__(
        self,
        model: PreTrainedModel,
        data: FitData,
        settings: TrainSettings,
        objective: Objective,
        context: FitContext,
        before: Mark,
    ) -> None:
        self.data, self.settings, self.context = data, settings, context
        self.objective: Objective = objective
        self.encoder = model
        self.precision = choose_precision(settings.precision, best_device())
        self.sampler = TokenBudgetSampler(
            data.train.lengths,
            token_budget=settings.token_budget,
            max_rows=settings.max_rows,
            min_rows=settings.processes,
            seed=context.seed,
        )
        self.clock = _Clock(before.seconds)
        arguments = _arguments(settings, context, self.precision, min(settings.log_steps, len(self.sampler)))
        if before.last_epoch:
            arguments.num_train_epochs = before.last_epoch
        super().__init__(
            model=model,
            args=arguments,
            train_dataset=_Positions(len(data.train)),
            eval_dataset=_Positions(len(data.validation)),
            callbacks=[
                EarlyStoppingCallback(settings.patience),
                *context.callbacks,
                self.clock,
                _Reporter(context.report),
                Progress(self.sampler.mean_rows),
            ],
        )
        self.remove_callback(PrinterCallback)

    def get_train_dataloader(self) -> DataLoader:
        """Batches by token budget; the sampler makes them, so accelerate has nothing to add."""
        return _Loader(_Positions(len(self.data.train)), batch_sampler=self.sampler, collate_fn=self._collate)

    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        """Sum over the rows divided by the rows of an average batch: every row weighs alike.

        Several processes hold a share of the batch each and average their gradients, hence the factor.
        """
        terms, _ = self.objective.terms(model, inputs)
        total = torch.stack(list(terms.values())).sum()
        return total * rank_and_world()[1] / self.sampler.mean_rows

    def evaluate(self, eval_dataset=None, ignore_keys=None, metric_key_prefix="eval"):
        """Validation metrics under `eval_…`, from one pass over sorted batches."""
        logits = predict_logits(self.encoder, self.data.validation, precision=self.precision)
        if not np.isfinite(logits).all():
            self._diverged("validation logits are not finite")
        scores = self.context.score(logits, self.data.validation_labels)
        metrics = {f"{metric_key_prefix}_{name}": value for name, value in scores.items()}
        self.log(dict(metrics))
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        return metrics

    def finish(self) -> Fit:
        """What was measured."""
        history = list(self.state.log_history)
        losses = [entry["loss"] for entry in history if "loss" in entry]
        if losses and not np.isfinite(losses[-1]):
            self._diverged(f"the training loss is {losses[-1]}")
        scored = [entry for entry in history if "eval_f1_macro" in entry]
        best = max(scored, key=lambda entry: entry["eval_f1_macro"], default={"epoch": 0})
        rows = len(self.data.train) * round(float(self.state.epoch or 0))
        seconds = self.clock.seconds
        figures = {
            "cost/train_seconds": seconds,
            "cost/train_rows_per_second": rows / seconds,
            "cost/train_tokens_per_second": rows * float(np.mean(self.data.train.lengths)) / seconds,
            "cost/padding_share": self.sampler.padding_share,
        }
        last = losses[-max(1, len(losses) // max(len(scored), 1)) :]
        return Fit(_tidy(history), figures, round(best["epoch"]), float(np.mean(last)) if last else float("nan"))

    def _diverged(self, what: str) -> NoReturn:
        raise RuntimeError(f"{what}: training diverged. Lower train.learning_rate={self.settings.learning_rate}.")

    def _collate(self, rows: list[int]) -> Batch:
        positions = np.asarray(share_of_batch(rows))
        batch = self.data.train.collate(positions, pad_to_multiple=1)
        batch["labels"] = torch.from_numpy(self.data.train_labels[positions])
        return batch | self.objective.fields(positions)


class _Loader(DataLoader):
    """Tells its sampler which epoch it is."""

    def set_epoch(self, epoch: int) -> None:
        sampler: Any = self.batch_sampler
        sampler.set_epoch(epoch)


class _Positions(torch.utils.data.Dataset):
    """Row positions; collating looks up what lies there."""

    def __init__(self, rows: int) -> None:
        self.rows = rows

    def __len__(self) -> int:
        return self.rows

    def __getitem__(self, index: int) -> int:
        return index


@dataclass(frozen=True)
class Mark:
    """What the mark of a complete checkpoint says.

    Attributes:
        seconds: of training up to it.
        last_epoch: the epoch after which training ended, early or not; 0 while it goes on.
    """

    seconds: float = 0.0
    last_epoch: int = 0


class _Clock(TrainerCallback):
    """Counts the seconds of a fit over its interruptions, and marks a checkpoint once all its files are written.

    A checkpoint without the mark was interrupted.
    """

    def __init__(self, before: float) -> None:
        self.before, self.start = before, time.perf_counter()

    @property
    def seconds(self) -> float:
        return self.before + time.perf_counter() - self.start

    def on_train_begin(self, args, state, control, **kwargs):
        self.start = time.perf_counter()

    def on_save(self, args, state, control, **kwargs):
        if not state.is_world_process_zero:
            return
        mark = Mark(self.seconds, round(state.epoch) if control.should_training_stop else 0)
        path = Path(args.output_dir) / f"checkpoint-{state.global_step}" / MARKER
        written = path.with_suffix(".partial")
        written.write_text(json.dumps(asdict(mark)), encoding="utf-8")
        written.rename(path)


class _Reporter(TrainerCallback):
    """Hands metrics on under their names in the tracking store."""

    def __init__(self, report: Report) -> None:
        self.report = report

    def on_train_begin(self, args, state, control, **kwargs):
        """What an interrupted fit has logged before is said again: this run did not see it."""
        for entry in state.log_history if state.is_world_process_zero else ():
            named = _named(entry)
            if named:
                self.report(named, entry["step"])

    def on_log(self, args, state, control, logs=None, **kwargs):
        named = _named(logs or {})
        if named and state.is_world_process_zero:
            self.report(named, state.global_step)
        if logs and "eval_f1_macro" in logs:
            log.info("epoch %d | validation macro-F1 %.4f", round(state.epoch), logs["eval_f1_macro"])


def _named(entry: dict[str, Any]) -> dict[str, float]:
    found = ((_metric_name(key), value) for key, value in entry.items())
    return {name: value for name, value in found if name}


def _read_mark(checkpoint: Path | None) -> Mark:
    return Mark(**json.loads((checkpoint / MARKER).read_text(encoding="utf-8"))) if checkpoint else Mark()


def last_checkpoint(folder: Path) -> Path | None:
    """The newest complete checkpoint; those that an interruption cut short are removed."""
    found = sorted(folder.glob("checkpoint-*"), key=lambda path: int(path.name.rpartition("-")[2]))
    complete = [path for path in found if (path / MARKER).exists()]
    for path in set(found) - set(complete):
        shutil.rmtree(path, ignore_errors=True)
    return complete[-1] if complete else None


def _arguments(settings: TrainSettings, context: FitContext, precision: str, log_steps: int) -> TrainingArguments:
    return TrainingArguments(
        output_dir=str(context.folder),
        num_train_epochs=settings.epochs,
        learning_rate=settings.learning_rate,
        weight_decay=settings.weight_decay,
        warmup_steps=settings.warmup_share,
        lr_scheduler_type=settings.scheduler,
        max_grad_norm=settings.max_grad_norm,
        optim="adamw_torch_fused",
        bf16=precision == "bf16",
        use_cpu=best_device() == "cpu",
        seed=context.seed,
        data_seed=context.seed,
        eval_strategy="epoch",
        save_strategy="epoch",
        save_total_limit=2,
        load_best_model_at_end=True,
        metric_for_best_model="f1_macro",
        greater_is_better=True,
        restore_callback_states_from_checkpoint=True,
        logging_steps=log_steps,
        logging_nan_inf_filter=False,
        remove_unused_columns=False,
        report_to=[],
        disable_tqdm=True,
        dataloader_pin_memory=False,
        ddp_find_unused_parameters=False,
    )


def _metric_name(key: str) -> str | None:
    if key.startswith("eval_"):
        return "validation/" + key.removeprefix("eval_")
    return {"loss": "train/loss", "learning_rate": "train/learning_rate", "grad_norm": "train/grad_norm"}.get(key)


def _tidy(history: list[dict[str, Any]]) -> list[dict[str, Any]]:
    rows = []
    for entry in history:
        for key, value in entry.items():
            name = _metric_name(key)
            if name:
                rows.append({"step": entry["step"], "epoch": entry.get("epoch", 0.0), "metric": name, "value": value})
    return rows
