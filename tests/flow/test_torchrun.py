"""A command under torchrun: one flow, one run and one version for each fit, the other processes only join in."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from pathlib import Path

import mlflow
import pytest
import transformers
from release_models import WORDS, tiny_tokenizer

ROOT = Path(__file__).resolve().parents[2]
SECONDS = 300


def write_encoder(folder: Path) -> None:
    """A BERT of four layers that begins near zero, as one that was trained does."""
    transformers.set_seed(0)
    sizes = {"hidden_size": 32, "num_hidden_layers": 4, "num_attention_heads": 2, "intermediate_size": 64}
    rest = {"hidden_dropout_prob": 0, "attention_probs_dropout_prob": 0, "initializer_range": 0.1}
    config = transformers.BertConfig(vocab_size=len(tiny_tokenizer()), max_position_embeddings=72, **sizes, **rest)
    transformers.BertForSequenceClassification(config).save_pretrained(folder)
    tiny_tokenizer().save_pretrained(folder)


def write_rows(path: Path, rows: int) -> None:
    """A third of them hate, told by one word."""
    dice = random.Random(0)
    plain = [word for word in WORDS if word != "hate"]
    with path.open("w") as file:
        for number in range(rows):
            words = dice.choices(plain, k=dice.randint(4, 10)) + ["hate"] * (number % 3 == 0)
            dice.shuffle(words)
            file.write(json.dumps({"text": " ".join(words), "label": ("hate", "noHate")[number % 3 > 0]}) + "\n")


@pytest.mark.slow
def test_a_command_in_two_processes_makes_the_runs_of_one(tmp_path: Path) -> None:
    """Each process would fit, log and register on its own: every run and version twice."""
    store = f"sqlite:///{tmp_path}/mlflow.db"
    variables = {"PYTHONPATH": f"{ROOT / 'src'}:{ROOT}", "OMP_NUM_THREADS": "1", "MLFLOW_TRACKING_URI": store}
    write_rows(tmp_path / "two.jsonl", 720)
    write_encoder(tmp_path / "encoder")
    settings = ["data=two.jsonl", "teacher=encoder", "positive=hate", "data.max_length=32", "train.precision=fp32"]
    settings += ["learning_rate=0.003", "epochs=2", "teacher.epochs=6", "train.freeze_embeddings=false"]
    settings += ["train.token_budget=256"]
    start = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "pipelines"]
    done = subprocess.run(
        [*start, "distill_odd", *settings],
        cwd=tmp_path,
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        timeout=SECONDS,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.count("odd (seed 0): version") == 1
    client = mlflow.MlflowClient(store)
    (experiment,) = (one.experiment_id for one in client.search_experiments(filter_string="name = 'two'"))
    runs = client.search_runs([experiment])
    assert sorted(run.data.tags["variant"] for run in runs) == ["odd", "teacher"]
    assert {run.info.status for run in runs} == {"FINISHED"}
    assert len(client.search_model_versions("name = 'two'")) == 2
