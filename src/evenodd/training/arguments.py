"""Arguments of transformers' Trainer, from this project's settings."""

from __future__ import annotations

from pathlib import Path

from transformers import TrainingArguments

from evenodd.settings import TrainSettings
from evenodd.training.precision import Precision, best_device


class OneDevice(TrainingArguments):
    """Uses one GPU: Trainer would split each batch over all GPUs with DataParallel. For several, use torchrun."""

    @property
    def n_gpu(self) -> int:
        """One GPU, or none."""
        return min(int(super().n_gpu), 1)


def trainer_arguments(
    settings: TrainSettings, folder: Path, *, seed: int, precision: Precision, log_steps: int
) -> TrainingArguments:
    """Arguments of a fit: validation and a checkpoint in each epoch, the best epoch's weights at the end.

    Args:
        settings: of the fit.
        folder: for checkpoints.
        seed: of weights, batches and dropout.
        precision: of the forward pass.
        log_steps: number of steps between two reported losses.
    """
    return OneDevice(
        output_dir=str(folder),
        num_train_epochs=settings.epochs,
        learning_rate=settings.learning_rate,
        weight_decay=settings.weight_decay,
        warmup_steps=settings.warmup_share,
        lr_scheduler_type=settings.scheduler,
        max_grad_norm=settings.max_grad_norm,
        optim="adamw_torch_fused",
        bf16=precision == "bf16",
        use_cpu=best_device() == "cpu",
        seed=seed,
        data_seed=seed,
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
