"""A store that is damaged, emptied or away, and files of runs and models that are not what was written."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
from damage import damaged
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from release_models import tiny_model, tiny_tokenizer

from evenodd.tracking import outbox
from evenodd.tracking.outbox import Outbox


def away(*about: object, **more: object) -> None:
    raise MlflowException("API request to http://store/api failed with exception HTTPConnectionPool: refused")


READS: dict[str, tuple[str, Callable[[ModuleType], object]]] = {
    "a version": ("get_model_version_by_alias", lambda tracking: tracking.find_version("odd", "reviews")),
    "aliases": ("get_registered_model", lambda tracking: tracking.aliases("reviews")),
    "a run": ("get_run", lambda tracking: tracking.get_run("abc")),
    "the experiments": ("search_experiments", lambda tracking: tracking.configure("reviews")),
}


@pytest.mark.parametrize("what", READS)
def test_a_store_that_is_away_is_not_told_as_there_is_none(
    what: str, tracking: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    """ "Not in the registry" sends the reader to fit again what is there."""
    method, read = READS[what]
    monkeypatch.setattr(MlflowClient, method, away)
    with pytest.raises(tracking.StoreUnreachableError, match=r"does not answer\. Finished work is kept") as caught:
        read(tracking)
    assert "HTTPConnectionPool" not in str(caught.value)


def test_metrics_are_kept_while_the_store_is_away(tracking: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    """A restart of the server would leave a hole in the curves, or end the fit."""
    monkeypatch.setattr(outbox, "RETRY_SECONDS", 0.01)
    send, failures = MlflowClient.log_batch, iter(range(3))

    def sometimes(*about: object, **more: object) -> None:
        if next(failures, None) is not None:
            away()
        send(*about, **more)

    box = Outbox()
    with tracking.start_run("fit", tags={}) as run_id, monkeypatch.context() as patch:
        patch.setattr(MlflowClient, "log_batch", sometimes)
        for step in (1, 2, 3):
            box.add(run_id, {"train/loss": 1 / step}, step)
        box.flush()
    history = MlflowClient().get_metric_history(run_id, "train/loss")
    assert [(point.step, point.value) for point in history] == [(1, 1.0), (2, 0.5), (3, 1 / 3)]


def test_a_store_that_stays_away_ends_the_fit_in_one_sentence(
    tracking: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A fit that waits for ever holds the machine."""
    monkeypatch.setattr(outbox, "AWAY_SECONDS", 0.1)
    monkeypatch.setattr(MlflowClient, "log_batch", away)
    box = Outbox()
    box.add("a run", {"train/loss": 1.0}, 1)
    with pytest.raises(tracking.StoreUnreachableError, match="run the same command again when the server is back"):
        box.flush()


@pytest.mark.parametrize(
    ("content", "words"), [(b"", r"is empty \(0 bytes\)"), (b"no database at all" * 100, "cannot be read")]
)
def test_a_database_that_was_emptied_or_damaged_is_refused(
    content: bytes, words: str, tracking: ModuleType, tmp_path: Path
) -> None:
    """An emptied store became a new one without a word: no champion, no runs, all fitted anew."""
    (tmp_path / "mlflow.db").write_bytes(content)
    with pytest.raises(RuntimeError, match=f"mlflow.db: the file {words}.*backup"):
        tracking.configure("reviews")
    assert (tmp_path / "mlflow.db").read_bytes() == content


def test_a_locked_database_is_not_taken_for_a_damaged_one(tracking: ModuleType, tmp_path: Path) -> None:
    """Another process that writes just now would be told as damage."""
    content = (tmp_path / "mlflow.db").read_bytes()
    with sqlite3.connect(tmp_path / "mlflow.db") as base:
        base.execute("BEGIN IMMEDIATE")
        tracking.store.prepare()
        base.rollback()
    assert (tmp_path / "mlflow.db").read_bytes() == content


@pytest.mark.parametrize("how", ["flipped", "cut", "empty", "gone"])
def test_a_damaged_artifact_is_refused_and_named(how: str, tracking: ModuleType) -> None:
    """A truncated history or archive of scores ended in a traceback, or in a comparison of other scores."""
    with tracking.start_run("fit", tags={}) as run_id:
        tracking.log_text("step,metric,value\n1,loss,0.5\n", "tables/history.csv")
        tracking.log_json({"threshold": 0.5}, "decision.json")
    path = Path(tracking.get_run(run_id).info.artifact_uri.removeprefix("file://")) / "tables" / "history.csv"
    assert tracking.artifact_json(run_id, "decision.json") == {"threshold": 0.5}
    damaged(path, how)
    run = tracking.get_run(run_id)
    fault = ValueError if how == "gone" else RuntimeError
    with pytest.raises(fault, match=r"tables/history\.csv"):
        tracking.download(run_id, "tables/history.csv")
    with pytest.raises(fault, match=r"tables/history\.csv"):
        tracking.check_artifacts(run, ("tables/",))
    tracking.check_artifacts(run, ("decision.json",))


def test_every_file_of_a_model_is_checked_when_it_is_read(tracking: ModuleType) -> None:
    """One flipped bit in the weights, or another tokenizer, gave other answers under the same version."""
    with tracking.start_run("fit", tags={}):
        uri = tracking.log_model(
            tiny_model(depth=1), tiny_tokenizer(), tracking.ModelEntry("reviews", "odd", "tiny", metadata={"a": 1})
        )
    folder = tracking.sound_files(uri)
    assert tracking.model_metadata(uri) == {"a": 1}
    tracking.load_model(uri)
    files = [path for path in folder.rglob("*") if path.is_file() and path.name != "registered_model_meta"]
    assert {"MLmodel", "model.safetensors", "tokenizer.json", "config.json"} <= {path.name for path in files}
    for path in files:
        kept = path.read_bytes()
        if not kept:
            continue
        damaged(path, "flipped")
        for read in (tracking.load_model, tracking.model_metadata):
            with pytest.raises(RuntimeError, match=path.name.replace(".", r"\.")) as caught:
                read(uri)
            assert "\n" not in str(caught.value)
        path.write_bytes(kept)
    tracking.load_model(uri)
