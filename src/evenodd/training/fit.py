"""Fitting: transformers' Trainer over batches by token budget, with checkpoints that a later call resumes from."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

from torch import nn
from transformers import PreTrainedModel

from evenodd.encoders.encoder import word_embeddings
from evenodd.settings import TrainSettings
from evenodd.training.ceiling import ceiling_figures
from evenodd.training.checkpoints import Mark, drop_others, last_checkpoint, read_mark
from evenodd.training.history import AfterEachStep
from evenodd.training.inputs import Fit, FitContext, FitData
from evenodd.training.objective import Objective
from evenodd.training.precision import Precision, best_device, choose_precision
from evenodd.training.ranks import SharedFault, agreed, rank_and_world, together
from evenodd.training.speedups import apply_speedups, needed_tokens
from evenodd.training.speedups.dropout import DropoutPool
from evenodd.training.trainer import EncoderTrainer

log = logging.getLogger(__name__)


def fit(
    model: PreTrainedModel, data: FitData, settings: TrainSettings, objective: Objective, context: FitContext
) -> Fit:
    """Trains the model in place.

    After a fit that was not stopped early, the model has the mean of its weights over the last `average_share` of the
    steps. It has the weights of the epoch with the best validation macro-F1 if patience stopped the fit, or if the
    mean's macro-F1 is lower by more than .02, because the fit was still learning fast.

    If the folder has a complete checkpoint of an interrupted call, the fit resumes from it with the same random
    numbers, patience and history, and reports its metrics again; the final weights are those of an uninterrupted call.
    With another precision or number of processes the fit starts anew. With several processes (`ranks.py`), all call
    this with the same arguments.

    Raises:
        RuntimeError: the loss is not a number.
    """
    if settings.freeze_embeddings:
        word_embeddings(model).requires_grad_(False)
    precision, resume = agreed(_beginning(settings, context) if rank_and_world()[0] == 0 else ("fp32", None))
    settings = settings.model_copy(update={"precision": precision})
    context = _shared(context)
    fitted = together(lambda: _fit(model, data, settings, objective, context, resume))
    if rank_and_world()[0] > 0:
        return fitted
    figures = fitted.figures
    with needed_tokens(model, all_tokens=objective.reads_all_tokens):
        figures |= ceiling_figures(
            model,
            data.epoch_lengths,
            rows_per_second=figures["cost/train_rows_per_second"],
            precision=precision,
            processes=rank_and_world()[1],
        )
    _say(fitted, precision)
    return fitted


def _say(fitted: Fit, precision: Precision) -> None:
    """Logs speed and padding in one line."""
    figures = fitted.figures
    log.info(
        "fitted | %s | %.0f sentences/s, %.0f tokens/s | %.0f GFLOP/s, %.0f %% of a product's %.0f | padding %.1f %%",
        precision,
        figures["cost/train_rows_per_second"],
        figures["cost/train_tokens_per_second"],
        figures["cost/train_gflops"],
        100 * figures["cost/share_of_ceiling"],
        figures["cost/product_gflops"],
        100 * figures["cost/padding_share"],
    )


def _beginning(settings: TrainSettings, context: FitContext) -> tuple[Precision, Path | None]:
    """Precision, and the checkpoint to resume from."""
    precision = choose_precision(settings.precision, best_device())
    drop_others(context.folder, Mark(precision, rank_and_world()[1]))
    return precision, last_checkpoint(context.folder)


def _shared(context: FitContext) -> FitContext:
    """The context of one of several processes: they end together, and only the first one reports."""
    rank, world = rank_and_world()
    if world == 1:
        return context
    fault = SharedFault()
    for callback in context.callbacks:
        if isinstance(callback, AfterEachStep):
            callback.check = fault.noting(callback.check)
    report = fault.noting(context.report) if rank == 0 else lambda metrics, step: None
    return replace(context, report=report, callbacks=(*context.callbacks, fault))


def _fit(
    model: PreTrainedModel,
    data: FitData,
    settings: TrainSettings,
    objective: Objective,
    context: FitContext,
    resume: Path | None,
) -> Fit:
    before = read_mark(resume) if resume else Mark(settings.precision, rank_and_world()[1])
    dropout = DropoutPool()
    context = replace(context, callbacks=(*context.callbacks, dropout))
    with apply_speedups(model, (data.train, data.validation), dropout, all_tokens=objective.reads_all_tokens):
        trainer = EncoderTrainer(model, data, settings, objective, context, before)
        if resume:
            log.info("resumed from %s", resume)
        trainer.train(resume_from_checkpoint=str(resume) if resume else None)
        averaged = trainer.take_average()
    _remove_autocast(model)
    return trainer.finish(averaged)


def _remove_autocast(model: nn.Module) -> None:
    """Restores the model's own `forward`: with accelerate's, float32 scores would be computed in bfloat16.

    accelerate's mark on the model is removed too, or a later fit of it, or of a student copied from it, would get no
    mixed precision.
    """
    for name in ("forward", "_original_forward", "_is_accelerate_prepared"):
        model.__dict__.pop(name, None)
