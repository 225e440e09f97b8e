"""Caches and checkpoints under damage: never used, never in the way, and made again to what they were."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from damage import DAMAGES, damaged
from release_models import tiny_tokenizer
from training_rows import random_store, still_model

from evenodd.rows import Corpus, load_corpus, token_store
from evenodd.settings import DataSettings, TrainSettings
from evenodd.storage import SEAL, seal
from evenodd.training import FitContext, FitData, LabelObjective, fit, teacher_targets
from evenodd.training.checkpoints import last_checkpoint

pytestmark = pytest.mark.reliability


def rows(folder: Path) -> Path:
    path = folder / "rows.jsonl"
    lines = [{"text": f"text number {n}", "label_text": "hate" if n % 3 == 0 else "noHate"} for n in range(90)]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def corpus(folder: Path) -> Corpus:
    return load_corpus(DataSettings(source=str(rows(folder))), seed=0, cache=folder / "cache")


def read_corpus(folder: Path) -> Any:
    found = corpus(folder)
    return [list(split.texts) for split in found.splits], found.digest, found.counts


def read_table(folder: Path) -> Any:
    """The table is read again for another seed, whose corpus is not there."""
    found = load_corpus(DataSettings(source=str(rows(folder))), seed=1, cache=folder / "cache")
    texts = [list(split.texts) for split in found.splits]
    for path in (folder / "cache" / "corpora").iterdir():
        for file in path.iterdir():
            file.unlink()
        path.rmdir()
    return texts, found.digest


def read_tokens(folder: Path) -> Any:
    store = token_store(corpus(folder).train, tiny_tokenizer(), max_length=16, cache=folder / "cache")
    return np.array(store.flat).tolist(), np.array(store.offsets).tolist()


def read_targets(folder: Path) -> Any:
    found = teacher_targets(still_model(), random_store(40), folder / "cache" / "targets", "fp32")
    return np.array(found.logits).tolist(), np.array(found.hidden).tolist()


KINDS: dict[str, tuple[str, tuple[str, ...], Callable[[Path], Any]]] = {
    "corpora": ("corpora/*", ("corpus.json", "train.arrow", "validation.arrow", "test.arrow", SEAL), read_corpus),
    "tables": ("tables/*", ("table.json", "numbers.npz", "texts.arrow", SEAL), read_table),
    "tokens": ("tokens/*", ("ids.npy", "offsets.npy", "tokens.json", SEAL), read_tokens),
    "targets": ("targets/targets-*", ("logits.npy", "hidden.npy", SEAL), read_targets),
}


@pytest.mark.parametrize(("kind", "name"), [(kind, name) for kind, (_, names, _) in KINDS.items() for name in names])
def test_a_damaged_cache_is_named_and_made_again(kind: str, name: str, tmp_path: Path, caplog) -> None:
    """Zeros as a teacher's targets, texts under another's digest: a fit on them looks like any other."""
    pattern, _, read = KINDS[kind]
    before = read(tmp_path)
    for how in DAMAGES:
        (folder,) = (tmp_path / "cache").glob(pattern)
        damaged(folder / name, how)
        caplog.clear()
        with caplog.at_level(logging.WARNING):
            assert read(tmp_path) == before
        assert name in caplog.text
        assert "It is rebuilt." in caplog.text


CHECKPOINT_FILES = (
    "model.safetensors",
    "optimizer.pt",
    "scheduler.pt",
    "trainer_state.json",
    "rng_state.pth",
    "training_args.bin",
    SEAL,
)


class CutError(Exception):
    pass


@pytest.fixture(scope="module")
def data() -> FitData:
    store, held = random_store(96), random_store(24, seed=1)
    labels = np.arange(96) % 2
    return FitData(store, labels, held, labels[:24])


def fit_until(folder: Path, data: FitData, epoch: int | None) -> tuple[list[int], Any]:
    """A fit of four epochs that gets better, interrupted when it validates after the given one; epochs, and weights."""
    model, seen, calls = still_model(), list[int](), list[int]()

    def score(logits: np.ndarray, labels: np.ndarray) -> dict[str, float]:
        calls.append(1)
        if epoch is not None and len(calls) == epoch + 1:
            raise CutError
        return {"f1_macro": float(np.exp(logits).mean())}

    def report(metrics: dict[str, float], step: int) -> None:
        if "validation/f1_macro" in metrics:
            seen.append(step)

    settings = TrainSettings(epochs=4, learning_rate=1e-3, precision="fp32", freeze_embeddings=False, patience=9)
    fit(model, data, settings, LabelObjective(), FitContext(folder, 0, score, report))
    return seen, {name: value.clone() for name, value in model.state_dict().items()}


@pytest.fixture(scope="module")
def interrupted(data: FitData, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fit that was interrupted in its last epoch."""
    folder = tmp_path_factory.mktemp("interrupted")
    with pytest.raises(CutError):
        fit_until(folder, data, 3)
    return folder


@pytest.fixture(scope="module")
def undisturbed(data: FitData, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Weights of the same fit without an interruption."""
    return fit_until(tmp_path_factory.mktemp("undisturbed"), data, None)[1]


@pytest.mark.parametrize("name", CHECKPOINT_FILES)
def test_a_damaged_checkpoint_is_left_for_the_one_before(
    name: str, data: FitData, interrupted: Path, undisturbed: dict[str, Any], tmp_path: Path, caplog
) -> None:
    """Flipped weights are trained on as any others; a file that does not load ends the same command for ever."""
    folder = shutil.copytree(interrupted, tmp_path / "fit")
    newest = last_checkpoint(folder)
    assert newest is not None
    damaged(newest / name, "flipped")
    with caplog.at_level(logging.WARNING):
        before = last_checkpoint(folder)
    assert before is None or int(before.name.rpartition("-")[2]) < int(newest.name.rpartition("-")[2])
    assert newest.name in caplog.text
    _, weights = fit_until(folder, data, None)
    assert all(weights[key].equal(undisturbed[key]) for key in undisturbed)


def test_a_checkpoint_whose_best_epoch_is_gone_is_not_gone_on_from(tmp_path: Path) -> None:
    """Trainer would say so in a warning, and end with the last epoch's weights instead of the best one's."""
    for step, best in ((2, 2), (4, 4), (6, 4)):
        folder = tmp_path / f"checkpoint-{step}"
        folder.mkdir()
        (folder / "trainer_state.json").write_text(json.dumps({"best_model_checkpoint": f"home/checkpoint-{best}"}))
        seal(folder)
    assert last_checkpoint(tmp_path) == tmp_path / "checkpoint-6"
    damaged(tmp_path / "checkpoint-4" / "trainer_state.json", "flipped")
    assert last_checkpoint(tmp_path) == tmp_path / "checkpoint-2"
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint-2"]
