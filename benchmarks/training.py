"""Distillation speed: the class-room loop, transformers' Trainer and this project in one run, on the same rows.

All recipes distil the same teacher into the same student with the same loss and optimizer, and differ in what surrounds
the step: padding, batching, precision, and whether the teacher runs again for every batch.

    python -m benchmarks.training            speeds, and the macro-F1 that each recipe reaches over three seeds
    python -m benchmarks.training --quick    speeds alone, in a few minutes
"""

from __future__ import annotations

import argparse
import copy
import json
import os
import resource
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import PreTrainedModel, PrinterCallback, Trainer, TrainingArguments

from evenodd.config import DataSettings, DistillSettings, TrainSettings
from evenodd.data import Corpus, TokenStore, load_corpus, resolve_model, token_store
from evenodd.evidence import classification_metrics
from evenodd.training import (
    DistillObjective,
    FitContext,
    FitData,
    LabelObjective,
    fit,
    predict_logits,
    teacher_targets,
)
from evenodd.training.precision import product_rates
from evenodd.variants import init_student, load_encoder, odd_layers

CLASSROOM_TOKENS = 128
BATCH_ROWS = 32
FORWARD_BACKWARD = 3


@dataclass
class Bench:
    """What all recipes share."""

    corpus: Corpus
    teacher: PreTrainedModel
    tokenizer: Any
    train: TokenStore
    validation: TokenStore
    cache: Path
    work: Path
    settings: TrainSettings
    distill: DistillSettings = field(default_factory=DistillSettings)

    @property
    def layers(self) -> tuple[int, ...]:
        return odd_layers(self.teacher.config.num_hidden_layers)

    def student(self) -> PreTrainedModel:
        """A fresh copy of the teacher's odd layers."""
        return init_student(self.teacher, self.layers).model

    def rows(self, count: int, seed: int) -> np.ndarray:
        """Row positions of a run, in a random order."""
        return np.random.default_rng(seed).permutation(len(self.train))[:count]


@dataclass(frozen=True)
class Measured:
    """One recipe's run."""

    rows: int
    tokens: float
    seconds: float
    f1_macro: float | None = None


def classroom(bench: Bench, rows: int, seed: int, epochs: int = 1) -> Measured:
    """Padded to 128 tokens, random batches of 32, float32, the teacher runs again for every batch."""
    student, loss = bench.student(), _live(bench)
    optimizer = torch.optim.AdamW(student.parameters(), lr=bench.settings.learning_rate)
    student.train()
    chosen = bench.rows(rows, seed)
    start = time.perf_counter()
    for _ in range(epochs):
        for part in np.array_split(chosen, max(len(chosen) // BATCH_ROWS, 1)):
            batch = _pad(bench.train.collate(part, pad_to_multiple=1), CLASSROOM_TOKENS)
            batch["labels"] = torch.from_numpy(bench.corpus.train.labels[part])
            terms, _ = loss.terms(student, batch)
            torch.stack(list(terms.values())).sum(0).mean().backward()
            torch.nn.utils.clip_grad_norm_(student.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad()
    return _measured(bench, student, chosen, time.perf_counter() - start, epochs)


def trainer(*, bf16: bool, grouped: bool) -> Callable[..., Measured]:
    """transformers' Trainer with dynamic padding and the teacher inside `compute_loss`."""

    def run(bench: Bench, rows: int, seed: int, epochs: int = 1) -> Measured:
        student, loss = bench.student(), _live(bench)
        chosen = bench.rows(rows, seed)
        arguments = TrainingArguments(
            output_dir=str(bench.work), num_train_epochs=epochs, learning_rate=bench.settings.learning_rate, bf16=bf16,
            use_cpu=not torch.cuda.is_available(), per_device_train_batch_size=BATCH_ROWS, save_strategy="no",
            report_to=[], disable_tqdm=True, remove_unused_columns=False, seed=seed, logging_strategy="no",
            train_sampling_strategy="group_by_length" if grouped else "random", dataloader_pin_memory=False,
        )  # fmt: skip
        found = _LiveTrainer(bench, loss, model=student, args=arguments, train_dataset=_Rows(bench, chosen))
        found.remove_callback(PrinterCallback)
        start = time.perf_counter()
        found.train()
        return _measured(bench, student, chosen, time.perf_counter() - start, epochs)

    return run


def ours(frozen: bool = False, **changes: Any) -> Callable[..., Measured]:
    """Cached targets, batches by token budget, bf16; the same recipe unless `frozen` or changes are given."""

    def run(bench: Bench, rows: int, seed: int, epochs: int = 1) -> Measured:
        settings = bench.settings.model_copy(update={"epochs": epochs, "freeze_embeddings": frozen, **changes})
        student = bench.student()
        if changes.get("dropout") == 0:
            _without_dropout(student)
        start = time.perf_counter()
        targets = teacher_targets(bench.teacher, bench.train, bench.cache, "bf16")
        objective = DistillObjective(bench.distill, bench.layers, targets=targets)
        data = FitData(bench.train, bench.corpus.train.labels, bench.validation, bench.corpus.validation.labels)
        with tempfile.TemporaryDirectory(dir=bench.work) as folder:
            fit(student, data, settings, objective, FitContext(Path(folder), seed, _score(bench)))
        chosen = np.arange(len(bench.train))
        return _measured(bench, student, chosen, time.perf_counter() - start, epochs)

    return run


class _LiveTrainer(Trainer):
    def __init__(self, bench: Bench, loss: DistillObjective, **arguments: Any) -> None:
        self.bench, self.loss = bench, loss
        super().__init__(data_collator=_collate(bench), **arguments)

    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):  # type: ignore[no-untyped-def]
        terms, _ = self.loss.terms(model, inputs)
        return torch.stack(list(terms.values())).sum(0).mean()


class _Rows(torch.utils.data.Dataset):
    """Token ids of rows, as lists: what grouping by length wants."""

    def __init__(self, bench: Bench, rows: np.ndarray) -> None:
        self.bench, self.rows = bench, rows

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> dict[str, Any]:
        row = int(self.rows[index])
        return {"row": row, "input_ids": self.bench.train.ids(row).tolist()}


def _collate(bench: Bench) -> Callable[[list[dict[str, Any]]], dict[str, torch.Tensor]]:
    def collate(items: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
        rows = np.array([item["row"] for item in items])
        return {
            **bench.train.collate(rows, pad_to_multiple=1),
            "labels": torch.from_numpy(bench.corpus.train.labels[rows]),
        }

    return collate


def _live(bench: Bench) -> DistillObjective:
    return DistillObjective(bench.distill, bench.layers, teacher=copy.deepcopy(bench.teacher))


def _pad(batch: dict[str, torch.Tensor], width: int) -> dict[str, torch.Tensor]:
    return {key: torch.nn.functional.pad(value, (0, width - value.shape[1])) for key, value in batch.items()}


def _score(bench: Bench) -> Callable[[np.ndarray, np.ndarray], dict[str, float]]:
    def score(logits: np.ndarray, labels: np.ndarray) -> dict[str, float]:
        shifted = np.exp(logits - logits.max(1, keepdims=True))
        probabilities = shifted / shifted.sum(1, keepdims=True)
        names, positive = bench.corpus.label_names, bench.corpus.positive
        return classification_metrics(labels, probabilities, label_names=names, positive=positive)

    return score


def _measured(bench: Bench, student: PreTrainedModel, rows: np.ndarray, seconds: float, epochs: int) -> Measured:
    tokens = float(bench.train.lengths[rows].sum()) * epochs
    f1 = _score(bench)(predict_logits(student, bench.validation), bench.corpus.validation.labels)["f1_macro"]
    return Measured(len(rows) * epochs, tokens, seconds, f1)


def _without_dropout(model: torch.nn.Module) -> None:
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0


RECIPES: dict[str, Callable[..., Measured]] = {
    "classroom": classroom,
    "trainer fp32": trainer(bf16=False, grouped=False),
    "trainer bf16": trainer(bf16=True, grouped=False),
    "trainer bf16 grouped": trainer(bf16=True, grouped=True),
    "ours": ours(),
    "ours, embeddings frozen": ours(frozen=True),
    "ours, frozen, no dropout": ours(frozen=True, dropout=0),
}
SPEED_ROWS = {"classroom": 320, "trainer fp32": 480, "trainer bf16": 640, "trainer bf16 grouped": 1920}


def run(*, quick: bool, data: str, seeds: int, epochs: int, home: Path) -> dict[str, Any]:
    """Every recipe's speed, and without `quick` the macro-F1 that it reaches."""
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as work:
        bench = prepare(data, home, Path(work))
        figures: dict[str, Any] = {name: _speed(bench, name) for name in RECIPES}
        if not quick:
            for name in RECIPES:
                scores = [RECIPES[name](bench, len(bench.train), seed, epochs).f1_macro for seed in range(seeds)]
                figures[name] |= {"f1_macro": statistics.mean(scores), "f1_macro_sd": statistics.stdev(scores)}
                print(f"{name:<28} macro-F1 {figures[name]['f1_macro']:.3f} ± {figures[name]['f1_macro_sd']:.3f}")
    return figures | _ratios(figures)


def prepare(data: str, home: Path, work: Path) -> Bench:
    """Rows, a teacher fine-tuned on them for an epoch, and token ids."""
    corpus = load_corpus(DataSettings(source=data), seed=0, cache=home / "cache")
    teacher, tokenizer = load_encoder(resolve_model("minilm"), corpus.label_names)
    train = token_store(corpus.train, tokenizer, max_length=CLASSROOM_TOKENS, cache=home / "cache")
    validation = token_store(corpus.validation, tokenizer, max_length=CLASSROOM_TOKENS, cache=home / "cache")
    settings = TrainSettings(learning_rate=1e-4, epochs=2, freeze_embeddings=False)
    bench = Bench(corpus, teacher, tokenizer, train, validation, home / "cache", work, settings)
    data_of = FitData(train, corpus.train.labels, validation, corpus.validation.labels)
    fit(teacher, data_of, settings, LabelObjective(), FitContext(work / "teacher", 0, _score(bench)))
    bench.settings = settings.model_copy(update={"learning_rate": 2e-4})
    return bench


def _speed(bench: Bench, name: str) -> dict[str, float]:
    rows = SPEED_ROWS.get(name, len(bench.train))
    RECIPES[name](bench, min(rows, 64), 0)
    found = RECIPES[name](bench, rows, 0)
    flops = _flops_per_token(bench) * found.tokens / found.seconds / 1e9
    figures = {
        "sentences_per_second": found.rows / found.seconds,
        "tokens_per_second": found.tokens / found.seconds,
        "share_of_ceiling": flops / product_rates()["bf16"],
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }
    print(
        f"{name:<28} {figures['sentences_per_second']:7.0f} sentences/s {figures['tokens_per_second']:8.0f} tokens/s "
        f"{figures['share_of_ceiling']:6.1%} of the bf16 ceiling",
        flush=True,
    )
    return figures


def _flops_per_token(bench: Bench) -> float:
    """Matrix products of the student's layers, forward and backward; the teacher's are not work that has to be done."""
    config = bench.teacher.config
    layer = 4 * config.hidden_size**2 + 2 * config.hidden_size * config.intermediate_size
    return FORWARD_BACKWARD * 2 * layer * len(bench.layers)


def _ratios(figures: dict[str, Any]) -> dict[str, float]:
    ours_speed = figures["ours"]["sentences_per_second"]
    best = max(figures[name]["sentences_per_second"] for name in figures if name.startswith("ours"))
    return {
        "ours_over_classroom": ours_speed / figures["classroom"]["sentences_per_second"],
        "ours_over_trainer_bf16_grouped": ours_speed / figures["trainer bf16 grouped"]["sentences_per_second"],
        "best_over_classroom": best / figures["classroom"]["sentences_per_second"],
        "share_of_ceiling": figures["ours"]["share_of_ceiling"],
    }


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="speeds alone")
    parser.add_argument("--json", type=Path, help="file to write the figures to")
    parser.add_argument("--data", default="sample", help="rows, as for -P data")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=2, help="of the runs that measure macro-F1")
    parser.add_argument("--home", type=Path, default=Path(".evenodd"))
    given = parser.parse_args()
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    figures = run(quick=given.quick, data=given.data, seeds=given.seeds, epochs=given.epochs, home=given.home)
    for name in ("ours_over_classroom", "ours_over_trainer_bf16_grouped", "best_over_classroom", "share_of_ceiling"):
        print(f"{name:<34} {figures[name]:.2f}")
    if given.json:
        given.json.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
