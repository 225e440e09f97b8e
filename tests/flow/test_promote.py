"""Promotion on a real store: who is refused and why, that two at once cannot both win, and the way back."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace

import mlflow
import pytest
from finished_runs import Made, add_finished
from mlflow import MlflowClient
from release_models import tiny_model, tiny_tokenizer
from tracking_store import mlflow_store

from evenodd.console import main
from evenodd.encoders import state_digest
from evenodd.flow import promote as promotion
from evenodd.flow.promote import promote, read_audit
from evenodd.rows import Corpus, load_corpus
from evenodd.settings import DataSettings, Settings, make_request, resolve_settings

ROOT = Path(__file__).resolve().parents[2]
NAME = "sample"
NEVER = float("-inf")


@pytest.fixture(scope="module")
def logged(tmp_path_factory: pytest.TempPathFactory, empty_store: Path) -> SimpleNamespace:
    """A store with one logged model, which costs seconds; versions of it cost nothing."""
    from evenodd import tracking

    folder = tmp_path_factory.mktemp("registry")
    shutil.copy(empty_store, folder / "mlflow.db")
    with mlflow_store(f"sqlite:///{folder}/mlflow.db"):
        mlflow.create_experiment("promotions", (folder / "artifacts").as_uri())
        mlflow.set_experiment("promotions")
        model = tiny_model(depth=1)
        digest = state_digest(model.state_dict())
        with tracking.start_run("model", tags={}):
            uri = tracking.log_model(model, tiny_tokenizer(), tracking.ModelEntry(NAME, "odd", "tiny"))
        weights = Path(mlflow.artifacts.download_artifacts(uri)).rglob("*.safetensors")
    return SimpleNamespace(folder=folder, uri=uri, digest=digest, weights=next(weights))


@pytest.fixture(scope="module")
def corpus(rows_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    return load_corpus(DataSettings(source=str(rows_file)), seed=0, cache=tmp_path_factory.mktemp("cache"))


@pytest.fixture
def store(logged: SimpleNamespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """`evenodd.tracking` over a copy of that store."""
    from evenodd import tracking

    shutil.copy(logged.folder / "mlflow.db", tmp_path / "mlflow.db")
    monkeypatch.chdir(tmp_path)
    with mlflow_store(f"sqlite:///{tmp_path}/mlflow.db"):
        monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "promotions")
        mlflow.set_experiment("promotions")
        yield tracking


@pytest.fixture
def add(store: ModuleType, corpus: Corpus, logged: SimpleNamespace):
    """Registers a made-up run as a version; its number."""

    def one(variant: str, **about) -> str:
        made = Made(variant, **about)
        return add_finished(store, corpus, made, model_uri=logged.uri, state_digest=logged.digest)

    return one


def settings(**said: str) -> Settings:
    return resolve_settings({"evidence.bootstrap_samples": "200", **said})


def champion() -> str | None:
    from evenodd import tracking

    return tracking.aliases(NAME).get("champion")


def test_a_promotion_says_who_when_from_to_and_why(store: ModuleType, add) -> None:
    """A trail without the reason or the figures does not answer for a decision."""
    first, second = add("odd"), add("even")
    promote(first, "winner of the comparison", settings())
    promote(second, "asked for by name", settings())
    assert champion() == second
    newest, oldest = read_audit(NAME)
    assert (oldest["from"], oldest["to"], oldest["why"]) == (None, first, "winner of the comparison")
    assert (newest["from"], newest["to"], newest["alias"]) == (first, second, "champion")
    assert newest["who"]
    assert newest["when"].endswith("+00:00")
    assert {gate["name"] for gate in newest["gates"]} == {"above_floor", "champion", "calibration"}
    assert newest["figures"]["validation/f1_macro"] > 0.7


def test_an_always_no_model_is_refused_in_one_line(store, add, caplog, capsys) -> None:
    """Its accuracy is that of the majority, and nothing is cheaper: the floor alone stops it."""
    version = add("odd", skill=NEVER)
    with pytest.raises(SystemExit) as left:
        main(["promote", "--model", version])
    told = capsys.readouterr()
    assert left.value.code == 3
    (line,) = [line for line in told.err.splitlines() if line.startswith("promote: ")]
    assert f"version {version} is not promoted" in line
    assert "does not exceed the highest floor" in line
    assert "FAILED" in caplog.text
    assert "Traceback" not in told.err
    assert champion() is None
    assert read_audit(NAME) == []
    (run,) = store.find_runs({"stage": "promote"}, finished=False)
    assert run.info.status == "FAILED"


def test_other_training_rows_do_not_bar_a_version_from_the_same_validation_rows(store: ModuleType, add) -> None:
    """A model with counterexamples could never follow one without; other validation rows say nothing."""
    one, two, three = add("odd", seed=1), add("odd", seed=2), add("odd", seed=3)
    asked = settings(**{"gates.above_floor": "false", "gates.max_ece": "1"})
    runs = [store.find_version(version, NAME).run_id for version in (one, two, three)]
    MlflowClient().set_tag(runs[1], "data_digest", "with counterexamples")
    MlflowClient().set_tag(runs[2], "validation_digest", "other rows")
    promote(one, "first", asked)
    promote(two, "second", asked)
    with pytest.raises(RuntimeError, match="measured on different data"):
        promote(three, "third", asked)
    assert champion() == two


def test_what_is_significantly_worse_than_the_champion_is_refused(store: ModuleType, add) -> None:
    """A weaker model would take the champion's place because it is above the floor."""
    good, worse = add("odd", skill=5.0), add("even", skill=1.3)
    promote(good, "first", settings(**{"gates.above_floor": "false", "gates.max_ece": "1"}))
    with pytest.raises(RuntimeError, match="significantly worse than the champion"):
        promote(worse, "second", settings(**{"gates.above_floor": "false", "gates.max_ece": "1"}))
    assert champion() == good
    assert len(read_audit(NAME)) == 1


def test_the_champion_is_not_promoted_again(store: ModuleType, add) -> None:
    """A move from a version to itself would hide the champion before it from a roll-back."""
    first, second = add("odd"), add("even")
    for version in (first, second, second):
        promote(version, "test", settings())
    assert [entry["to"] for entry in read_audit(NAME)] == [second, first]
    promotion.run(make_request({"to": "previous"}))
    assert champion() == first


def test_an_alias_to_a_version_that_is_not_there_is_refused_and_rolled_back(store, add, tmp_path) -> None:
    """A gate that is held against a champion that nobody can read has checked nothing."""
    first, second, third = add("odd"), add("even"), add("lora")
    for version in (first, second):
        promote(version, "test", settings())
    with sqlite3.connect(tmp_path / "mlflow.db") as base:
        base.execute("UPDATE registered_model_aliases SET version = 99 WHERE alias = 'champion'")
    with pytest.raises(RuntimeError, match=r"champion alias is corrupted: .*99") as caught:
        promote(third, "test", settings())
    assert "\n" not in str(caught.value)
    assert champion() == "99"
    promotion.run(make_request({"to": "previous"}))
    assert champion() == second


@pytest.mark.parametrize("damage", ["cut", "gone", "other"])
def test_a_version_whose_files_are_damaged_is_refused(damage: str, store, add, logged) -> None:
    """The alias would point to a model that cannot be served, or to weights that nobody measured."""
    version, kept = add("odd"), logged.weights.read_bytes()
    try:
        if damage == "gone":
            logged.weights.unlink()
        else:
            logged.weights.write_bytes(kept[: len(kept) // 2] if damage == "cut" else kept[:-4] + b"\0\0\0\0")
        with pytest.raises(RuntimeError, match=r"cannot be loaded: .*model\.safetensors") as caught:
            promote("odd", "test", settings())
    finally:
        logged.weights.write_bytes(kept)
    assert "\n" not in str(caught.value)
    assert version == "1"
    assert champion() is None


def test_a_champion_whose_files_are_gone_stops_promotions_and_can_be_rolled_back(store, add, logged) -> None:
    """Rolling back is what one does then: it must not need the broken champion."""
    first, second, third = add("odd"), add("even"), add("lora")
    for version in (first, second):
        promote(version, "test", settings())
    broken = MlflowClient().get_model_version(NAME, second).source
    with sqlite3.connect("mlflow.db") as base:
        base.execute("UPDATE model_versions SET source='/no/such/folder', storage_location='/no/such/folder' "
                     "WHERE version = ?", (int(second),))  # fmt: skip
    assert broken == logged.uri
    with pytest.raises(RuntimeError, match="champion alias is corrupted"):
        promote(third, "test", settings())
    assert champion() == second
    promotion.run(make_request({"to": "previous"}))
    assert champion() == first


def test_rolling_back_goes_further_back_each_time(store: ModuleType, add) -> None:
    """A second roll-back must not restore the version that the first one withdrew."""
    first, second, third = add("odd"), add("even"), add("lora")
    for version in (first, second, third):
        promote(version, "test", settings())
    for expected in (second, first):
        promotion.run(make_request({"to": "previous"}))
        assert champion() == expected
    with pytest.raises(ValueError, match="no earlier champion"):
        promotion.run(make_request({"to": "previous"}))
    assert champion() == first
    trail = [(entry["from"], entry["to"]) for entry in reversed(read_audit(NAME))]
    assert trail == [(None, first), (first, second), (second, third), (third, second), (second, first)]
    promote(third, "found to be sound", settings())
    promotion.run(make_request({"to": "previous"}))
    assert champion() == first


CONTENDER = """
import sys, time
from pathlib import Path
from evenodd.flow import promote
from evenodd.settings import make_request, resolve_settings

version, here, there = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
check = promote.check_gates

def wait_for_the_other(*about):
    here.touch()
    end = time.monotonic() + 400
    while not there.exists() and time.monotonic() < end:
        time.sleep(0.01)
    return check(*about)

promote.check_gates = wait_for_the_other
try:
    promote.promote(version, "race", resolve_settings({"evidence.bootstrap_samples": "200"}))
except RuntimeError as error:
    sys.exit(str(error))
"""


@pytest.mark.slow
def test_of_two_promotions_at_once_one_wins(store, add, tmp_path) -> None:
    """Both would have been held against a champion that is not there any more, and the trail would hold one lie."""
    first, *others = add("odd"), add("even"), add("lora")
    promote(first, "test", settings())
    environ = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'src'}"}
    signs = [tmp_path / "one", tmp_path / "two"]
    words = zip(others, signs, reversed(signs), strict=True)
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", CONTENDER, *map(str, about)], env=environ, stderr=subprocess.PIPE, text=True
        )
        for about in words
    ]
    told = [process.communicate(timeout=500)[1] for process in processes]
    codes = [process.returncode for process in processes]
    assert sorted(codes) == [0, 1], told
    winner = others[codes.index(0)]
    lost = told[codes.index(1)].splitlines()[-1]
    assert "another one is under way" in lost or "changed from version" in lost
    assert champion() == winner
    assert [(entry["from"], entry["to"]) for entry in read_audit(NAME)] == [(first, winner), (None, first)]
    assert not [found for found in MlflowClient().search_registered_models() if found.name.endswith(".lock")]


def test_a_champion_that_changed_while_gates_were_checked_is_told(store, add, monkeypatch) -> None:
    """The slower of two promotions has compared itself with the wrong champion."""
    first, second, third = add("odd"), add("even"), add("lora")
    promote(first, "test", settings())
    check = promotion.check_gates

    def meanwhile(*about):
        store.set_alias(NAME, "champion", second)
        return check(*about)

    monkeypatch.setattr(promotion, "check_gates", meanwhile)
    with pytest.raises(RuntimeError, match=f"changed from version {first} to {second} while"):
        promote(third, "test", settings())
    assert champion() == second
    assert len(read_audit(NAME)) == 1
