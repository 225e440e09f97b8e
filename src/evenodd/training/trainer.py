"""transformers' Trainer over batches by token budget."""

from __future__ import annotations

import logging
from typing import Any, NoReturn

import numpy as np
import torch
from torch.nn.utils import clip_grads_with_norm_, get_total_norm
from torch.utils.data import DataLoader
from transformers import EarlyStoppingCallback, PreTrainedModel, PrinterCallback, Trainer

from evenodd.settings import TrainSettings
from evenodd.training.adalora import RankAllocation
from evenodd.training.arguments import trainer_arguments
from evenodd.training.average import WeightAverage
from evenodd.training.batches import TokenBudgetSampler
from evenodd.training.checkpoints import Clock, Mark
from evenodd.training.few_rows import plan_batches
from evenodd.training.history import Reporter, tidy
from evenodd.training.inputs import Fit, FitContext, FitData
from evenodd.training.objective import Batch, Objective
from evenodd.training.precision import Precision
from evenodd.training.predict import predict_logits
from evenodd.training.progress import Progress
from evenodd.training.ranks import rank_and_world, share_of_batch, sum_over_processes
from evenodd.training.speedups.masks import mask_type, ready_mask

log = logging.getLogger(__name__)

AVERAGE_MAY_LOSE = 0.02


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
        self.training_mode = False
        self.mask_type = mask_type(model)
        self.precision: Precision = "bf16" if settings.precision == "bf16" else "fp32"
        batches = plan_batches(data.epoch_lengths, settings)
        self.sampler = TokenBudgetSampler(
            data.train.lengths,
            token_budget=batches.token_budget,
            max_rows=batches.max_rows,
            min_rows=rank_and_world()[1],
            passes=batches.passes,
            seed=context.seed,
            turns=data.turns,
        )
        self.clock = Clock(before)
        ranks_move = any(isinstance(callback, RankAllocation) for callback in context.callbacks)
        self.average = WeightAverage(0.0 if ranks_move else settings.average_share)
        arguments = trainer_arguments(
            settings,
            context.folder,
            seed=context.seed,
            precision=self.precision,
            log_steps=min(settings.log_steps, len(self.sampler)),
        )
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
                self.average,
                self.clock,
                Reporter(context.report),
                Progress(self.sampler.mean_rows),
            ],
        )
        self.model_accepts_loss_kwargs = False  # otherwise labels are counted per batch and the count sent to the GPU
        self.remove_callback(PrinterCallback)

    def get_train_dataloader(self) -> DataLoader:
        """Batches by token budget; the sampler makes them, so accelerate is not needed."""
        return _Loader(
            _Positions(len(self.data.train)),
            batch_sampler=self.sampler,
            collate_fn=self._collate,
            pin_memory=self.args.device.type == "cuda",
        )

    def training_step(self, model, inputs, num_items_in_batch=None):
        """Loss and gradients of a batch. Trainer's own method also walks over all modules and checks for optional
        packages, which takes 2 of a step's 55 ms.
        """
        if not self.training_mode:
            model.train()
            self.training_mode = True
        with self.compute_loss_context_manager():
            loss = self.compute_loss(model, self._on_device(inputs))
        self.accelerator.backward(loss)
        return loss.detach()

    def _on_device(self, batch: Batch) -> Batch:
        """The batch on the model's device. A GPU copies it from pinned memory while the host continues."""
        device = self.args.device
        return {name: value if value is None else value.to(device, non_blocking=True) for name, value in batch.items()}

    def floating_point_ops(self, inputs):
        """Not computed: Trainer's count walks over all parameters in every step. See `training_flops`."""
        return 0

    def _clip_grad_norm(self, model):
        """Clips gradients to the norm `max_grad_norm` and returns their norm before. On a CPU smaller gradients are
        not touched, which torch would multiply by one; a GPU would have to wait for the comparison.
        """
        if self.args.device.type != "cpu":
            return super()._clip_grad_norm(model)
        trained = [parameter for parameter in model.parameters() if parameter.grad is not None]
        norm = get_total_norm([parameter.grad for parameter in trained])
        if not norm <= self.args.max_grad_norm:
            clip_grads_with_norm_(trained, self.args.max_grad_norm, norm)
        return norm

    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        """Sum over the rows divided by the rows of an average batch, so that every row has the same weight.

        With several processes each has a share of the batch, and gradients are averaged, hence the factor.
        """
        terms, _ = self.objective.terms(model, inputs)
        total = torch.stack(list(terms.values())).sum()
        return total * rank_and_world()[1] / self.sampler.mean_rows

    def evaluate(self, eval_dataset=None, ignore_keys=None, metric_key_prefix="eval"):
        """Validation metrics under `eval_…`, from one pass over sorted batches."""
        metrics = {f"{metric_key_prefix}_{name}": value for name, value in self._validate().items()}
        self.training_mode = False
        self.log(dict(metrics))
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        return metrics

    def take_average(self) -> bool:
        """Replaces the best epoch's weights by the late mean if `fit` requires it. Returns whether it did."""
        best = self.state.best_metric
        self.score = float("nan") if best is None else best
        if not self.average.count or best is None or round(self.state.epoch or 0) < self.settings.epochs:
            return False
        self.average.swap(self.encoder)
        found = self._validate()["f1_macro"]
        taken = found >= best - AVERAGE_MAY_LOSE
        if not taken:
            self.average.swap(self.encoder)
        log.info(
            "weights averaged over %d late steps | validation macro-F1 %.4f (best epoch %.4f) | %s",
            self.average.count,
            found,
            best,
            "used" if taken else "best epoch kept",
        )
        self.score = found if taken else best
        return taken

    def _validate(self) -> dict[str, float]:
        share = rank_and_world()
        logits = predict_logits(self.encoder, self.data.validation, precision=self.precision, share=share)
        logits = sum_over_processes(logits, self.args.device)
        if not np.isfinite(logits).all():
            self._diverged("validation logits are not finite")
        return self.context.score(logits, self.data.validation_labels)

    def finish(self, averaged: bool) -> Fit:
        """Scores and measurements of the finished fit."""
        history = list(self.state.log_history)
        losses = [entry["loss"] for entry in history if "loss" in entry]
        if losses and not np.isfinite(losses[-1]):
            self._diverged(f"the training loss is {losses[-1]}")
        scored = [entry for entry in history if "eval_f1_macro" in entry]
        best = max(scored, key=lambda entry: entry["eval_f1_macro"], default={"epoch": 0})
        rows = len(self.sampler.ordered) * self.sampler.passes * round(float(self.state.epoch or 0))
        seconds = self.clock.seconds
        figures = {
            "cost/threads": float(torch.get_num_threads()),
            "cost/train_seconds": seconds,
            "cost/train_rows_per_second": rows / seconds,
            "cost/train_tokens_per_second": rows * self.sampler.mean_tokens / seconds,
            "cost/padding_share": self.sampler.padding_share,
            "train/averaged_weights": float(averaged),
        }
        last = losses[-max(1, len(losses) // max(len(scored), 1)) :]
        loss = float(np.mean(last)) if last else float("nan")
        return Fit(tidy(history), figures, round(best["epoch"]), loss, averaged, self.score)

    def _diverged(self, what: str) -> NoReturn:
        raise RuntimeError(f"{what}: training diverged. Lower train.learning_rate={self.settings.learning_rate}.")

    def _collate(self, rows: list[int]) -> Batch:
        positions = np.asarray(share_of_batch(rows))
        batch: Batch = {"labels": torch.from_numpy(self.data.train_labels[positions])}
        batch |= self.data.train.collate(positions, pad_to_multiple=1)
        if self.mask_type is not None:
            batch["ready_mask"] = ready_mask(batch["attention_mask"], self.mask_type)
        return batch | self.objective.fields(positions)


class _Loader(DataLoader):
    """Tells its sampler which epoch it is."""

    def set_epoch(self, epoch: int) -> None:
        sampler: Any = self.batch_sampler
        sampler.set_epoch(epoch)


class _Positions(torch.utils.data.Dataset):
    """Row positions; the collator looks up the rows."""

    def __init__(self, rows: int) -> None:
        self.rows = rows

    def __len__(self) -> int:
        return self.rows

    def __getitem__(self, index: int) -> int:
        return index
