"""Fitting: transformers' Trainer over batches by token budget, with checkpoints that a later call resumes from."""

from __future__ import annotations

import logging
from dataclasses import replace

from torch import nn
from transformers import PreTrainedModel

from evenodd.encoders.encoder import word_embeddings
from evenodd.settings import TrainSettings
from evenodd.training.ceiling import ceiling_figures
from evenodd.training.checkpoints import Mark, drop_others, last_checkpoint, read_mark
from evenodd.training.inputs import Fit, FitContext, FitData
from evenodd.training.objective import Objective
from evenodd.training.precision import Precision, best_device, choose_precision
from evenodd.training.processes import check_gpus, run_in_processes
from evenodd.training.speedups import apply_speedups, needed_tokens
from evenodd.training.speedups.dropout import DropoutPool
from evenodd.training.trainer import EncoderTrainer

log = logging.getLogger(__name__)


def fit(
    model: PreTrainedModel, data: FitData, settings: TrainSettings, objective: Objective, context: FitContext
) -> Fit:
    """Trains the model in place.

    A fit that runs to its planned end leaves the mean of its weights over the last `average_share` of the steps; one
    that patience ended early, the weights of its best epoch on validation macro-F1. The best epoch's are left as well
    where the mean's macro-F1 is more than .02 below: there the fit was still learning fast.

    A folder with a complete checkpoint of an earlier, interrupted call is resumed: with the same random numbers,
    patience and history, and its metrics are reported again, so the weights are those of a call that ran through. One
    in another precision or number of processes starts anew.

    Raises:
        ValueError: more processes than GPUs.
        RuntimeError: the loss is not a number, or one of several processes failed.
    """
    if settings.freeze_embeddings:
        word_embeddings(model).requires_grad_(False)
    precision = choose_precision(settings.precision, best_device())
    settings = settings.model_copy(update={"precision": precision})
    drop_others(context.folder, _begun(settings))
    if settings.processes > 1:
        check_gpus(settings.processes)
        fitted = run_in_processes(_fit, (model, data, settings, objective), context, settings.processes)
    else:
        fitted = _fit(model, data, settings, objective, context)
    figures = fitted.figures
    with needed_tokens(model, all_tokens=objective.reads_all_tokens):
        figures |= ceiling_figures(
            model,
            data.epoch_lengths,
            rows_per_second=figures["cost/train_rows_per_second"],
            precision=precision,
            processes=settings.processes,
        )
    _say(fitted, precision)
    return fitted


def _say(fitted: Fit, precision: Precision) -> None:
    """One line of what it took."""
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


def _fit(
    model: PreTrainedModel, data: FitData, settings: TrainSettings, objective: Objective, context: FitContext
) -> Fit:
    resume = last_checkpoint(context.folder)
    before = read_mark(resume) if resume else _begun(settings)
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


def _begun(settings: TrainSettings) -> Mark:
    return Mark(settings.precision, settings.processes)


def _remove_autocast(model: nn.Module) -> None:
    """accelerate leaves its mixed-precision `forward` on the model: float32 scores would be bfloat16 ones. It leaves a
    mark too, and would give none to a further fit of the model or of a student copied from it.
    """
    for name in ("forward", "_original_forward", "_is_accelerate_prepared"):
        model.__dict__.pop(name, None)
