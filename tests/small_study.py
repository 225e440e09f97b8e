"""A small study, made once a test session: an encoder that learns in seconds, rows whose label one word decides, a fit.

Everything whole commands are tested on is written by these functions; `copy_study` gives a test module a store of its
own in which a teacher and a student are fitted already, and the student is exported.
"""

from __future__ import annotations

import csv
import json
import os
import random
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import transformers
import yaml
from filelock import FileLock
from release_models import WORDS, tiny_tokenizer
from tracking_store import mlflow_store

SIGNS = {"noHate": None, "hate": "hate", "relation": "group", "skip": "never"}
"""Labels, and the word that makes a text one of them."""
TWO = ("noHate", "hate")
GIVEN = {"data": "two.jsonl", "teacher": "encoder", "config": "config.yaml", "home": "home"}
CONFIG: dict[str, Any] = {
    "train": {"freeze_embeddings": False, "token_budget": 256, "precision": "fp32", "learning_rate": 3e-3},
    "variants": {
        "teacher": {"train": {"epochs": 6}},
        "student": {"train": {"epochs": 2}},
        "lora": {"train": {"epochs": 2}},
    },
    "evidence": {"suite": "none", "bootstrap_samples": 200},
    "data": {"max_length": 64},
    "export": {"kinds": "fp32", "speed": "short"},
    "run": {"build": False},
}


def write_encoder(folder: Path) -> None:
    """A BERT of four layers and width 32, whose random weights are spread wide enough to learn from."""
    transformers.set_seed(0)
    config = transformers.BertConfig(
        vocab_size=len(tiny_tokenizer()),
        hidden_size=32,
        num_hidden_layers=4,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=72,
        hidden_dropout_prob=0,
        attention_probs_dropout_prob=0,
        initializer_range=0.1,
    )
    transformers.BertForSequenceClassification(config).save_pretrained(folder)
    tiny_tokenizer().save_pretrained(folder)


def write_config(path: Path, **more: Mapping[str, Any]) -> None:
    """The settings of small fits; sections that are given take the place of these."""
    path.write_text(yaml.safe_dump(CONFIG | more), encoding="utf-8")


def write_rows(path: Path, labels: tuple[str, ...] = TWO, count: int = 960, *, doubt: float = 0) -> None:
    """JSON lines of texts in which a label's sign comes up; the first label is by far the most frequent, eight rows an
    author.

    Args:
        path: of the file.
        labels: of `SIGNS`.
        count: of rows.
        doubt: share of rows that are labelled at random: without any, scores are calibrated to 0 and 1.
    """
    dice = random.Random(7)
    plain = [word for word in WORDS if word not in SIGNS.values()]
    with path.open("w", encoding="utf-8") as file:
        for number in range(count):
            turn = number % (2 * len(labels))
            label = labels[turn] if turn < len(labels) else labels[0]
            sign = SIGNS[label]
            words = dice.choices(plain, k=dice.randint(4, 12))
            if sign:
                words = [*(sign if dice.random() < 0.4 else word for word in words), sign]
            label = dice.choice(labels) if doubt and dice.random() < doubt else label
            text = " ".join(words)
            file.write(json.dumps({"text": text, "label": label, "author": f"author {number // 8}"}) + "\n")


def write_moods(path: Path, signs: Mapping[str, str], *, columns: tuple[str, str] = ("text", "label")) -> None:
    """A CSV file of 600 rows, equally many of each label, each with its label's sign and a number."""
    dice, plain = random.Random(3), [word for word in WORDS if word not in signs.values()]
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        for number in range(600):
            label = list(signs)[number % len(signs)]
            words = [*dice.choices(plain, k=dice.randint(3, 8)), signs[label], f"{number:03d}"]
            writer.writerow([" ".join(words), label])


def write_study(folder: Path, empty_store: Path) -> None:
    """Rows, encoder, settings and a store, in which the student of odd layers is fitted and exported."""
    from evenodd import Project

    folder.mkdir()
    write_encoder(folder / "encoder")
    write_rows(folder / "two.jsonl", doubt=0.15)
    write_config(folder / "config.yaml")
    shutil.copy(empty_store, folder / "mlflow.db")
    with pytest.MonkeyPatch.context() as patch, mlflow_store(f"sqlite:///{folder}/mlflow.db"):
        patch.chdir(folder)
        project = Project(**GIVEN)
        project.export(project.fit("odd"))


@contextmanager
def study_copy(study: Path, folder: Path) -> Iterator[Path]:
    """Works in a copy of the study, with its store."""
    copy = copy_study(study, folder)
    with pytest.MonkeyPatch.context() as patch, mlflow_store(f"sqlite:///{copy}/mlflow.db"):
        patch.chdir(copy)
        yield copy


def copy_study(study: Path, folder: Path) -> Path:
    """A copy to work in. Runs and models of the study keep their files where they are, which nobody may change."""
    return Path(shutil.copytree(study, folder, ignore=shutil.ignore_patterns("mlruns")))


def made_once(base: Path, name: str, make: Callable[[Path], None]) -> Path:
    """A folder or file that the first worker of a test session makes, and the others take.

    Args:
        base: pytest's temporary folder of this process.
        name: of what is made.
        make: makes it.
    """
    path = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / name
    with FileLock(f"{path}.lock"):
        if not path.with_name(f"{name}.made").exists():
            shutil.rmtree(path, ignore_errors=True)
            make(path)
            path.with_name(f"{name}.made").touch()
    return path
