"""Methods of training the same model on the same rows: the textbook loop, transformers' Trainer, and this project.

Each is timed from its first batch to its last step; work before (files, caches) and after (validation, checkpoints) is
not included. All use about 32 rows per step; ours differs where the table says so.
"""

from __future__ import annotations

import copy
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from benchmarks.bench import BATCH_ROWS, Bench, Drawn, Recipe, scores
from benchmarks.ways import classroom, ours, trainer
from evenodd.encoders import add_lora, init_student
from evenodd.settings import LoraSettings, TrainSettings
from evenodd.training import predict_logits, training_flops
from evenodd.training.precision import WORTH_IT
from evenodd.training.speedups.first_token import first_token_in_last_layer

QUALITY = ("f1_macro", "average_precision")


FROZEN = {"freeze_embeddings": True}
FREE = {**FROZEN, "dropout": 0.0, "token_budget": TrainSettings().token_budget}

RECIPES: dict[str, Recipe] = {
    "classroom": Recipe("distil", "classroom", 96),
    "trainer fp32": Recipe("distil", "trainer", 128),
    "trainer bf16": Recipe("distil", "trainer", 128, bf16=True),
    "trainer bf16 grouped": Recipe("distil", "trainer", 960, bf16=True, grouped=True),
    "trainer fp32 grouped": Recipe("distil", "trainer", 960, grouped=True),
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


def recipes_for(products: dict[str, float]) -> dict[str, Recipe]:
    """The recipes for a machine: peers also in bf16 if it is faster there, otherwise only in float32.

    Args:
        products: GFLOP/s of a matrix product by precision; on a processor without bf16 instructions bf16 reaches about
            1, and a peer in bf16 would take an hour.
    """
    pays = products["bf16"] >= WORTH_IT * products["fp32"]
    left_out = "trainer fp32 grouped" if pays else ""
    return {name: recipe for name, recipe in RECIPES.items() if name != left_out and (pays or not recipe.bf16)}


@dataclass(frozen=True)
class Measured:
    """One recipe's run.

    Attributes:
        seconds: duration of its steps.
        flops: operations of the whole trained model for the real tokens, without padding and the teacher.
        executed_flops: the part of them that was executed.
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


def _draw(bench: Bench, recipe: Recipe, count: int | None) -> Drawn:
    """The given number of rows for timing, or all (None) for a complete fit."""
    if recipe.grouped:
        return Drawn(bench.rows(None), "group_by_length", max(count // BATCH_ROWS, 1) if count else -1)
    return Drawn(bench.usual_batches(bench.rows(count)), "sequential") if count else Drawn(bench.rows(None))


def run_recipe(bench: Bench, recipe: Recipe, rows: int | None, *, seed: int = 0, epochs: int = 1) -> Measured:
    """Trains from the start on the given number of rows (None: all) and measures it."""
    torch.manual_seed(seed)
    drawn, model = _draw(bench, recipe, rows), _start(bench, recipe.task)
    if recipe.how == "classroom":
        done = classroom(bench, recipe, model, drawn.rows, seed, epochs)
    elif recipe.how == "trainer":
        done = trainer(bench, recipe, model, drawn, seed, epochs)
    else:
        done = ours(bench, recipe, model, drawn.rows, seed, epochs)
    lengths = bench.train.lengths[done.rows]
    found = scores(bench.corpus, predict_logits(model, bench.test), bench.test_labels)
    flops, executed = _count(bench, recipe, model, lengths)
    quality = {name: found[name] for name in QUALITY}
    return Measured(len(lengths), int(lengths.sum()), done.steps, done.seconds, flops, executed, **quality)


def _count(bench: Bench, recipe: Recipe, model: Any, lengths: np.ndarray) -> tuple[float, float]:
    """Operations for rows of these lengths: of the whole model, and the executed part."""
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
