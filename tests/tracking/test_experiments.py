"""Where runs go: one experiment a name, however a command is started."""

from __future__ import annotations

import os
from types import ModuleType

import pytest
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from evenodd.flow.entries import ENTRIES
from evenodd.settings.settings import name_of


def experiment_of(tracking: ModuleType) -> str:
    """The experiment of a run that is opened now."""
    with tracking.start_run("fit", tags={}):
        return tracking.experiment_name()


@pytest.fixture
def unchosen(tracking: ModuleType, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """A store in which nobody has chosen an experiment."""
    monkeypatch.setattr("mlflow.tracking.fluent._active_experiment_id", None)
    for name in ("MLFLOW_EXPERIMENT_ID", "EVENODD_EXPERIMENT_ID"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    return tracking


def test_each_name_has_an_experiment_of_its_own_in_one_process(unchosen: ModuleType) -> None:
    """The second project of a notebook would log among the first one's runs."""
    for name in ("reviews", "intents", "reviews"):
        unchosen.configure(name)
        assert experiment_of(unchosen) == name


def test_a_command_under_mlflow_run_uses_the_experiment_of_its_name(
    unchosen: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`mlflow run` opens its run in the default experiment, where runs of all tasks would mix."""
    client = MlflowClient()
    opened = client.create_run("0").info.run_id
    monkeypatch.setenv("MLFLOW_RUN_ID", opened)
    monkeypatch.setenv("MLFLOW_EXPERIMENT_ID", "0")
    unchosen.configure("reviews")
    assert experiment_of(unchosen) == "reviews"
    left = client.get_run(opened)
    assert left.info.status == "RUNNING"
    assert "**reviews**" in left.data.tags["mlflow.note.content"]
    kind = client.get_experiment_by_name("reviews").tags["mlflow.experimentKind"]
    assert kind == "custom_model_development"


def test_an_experiment_that_the_user_chose_is_kept(unchosen: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    """`--experiment-name` would be passed over."""
    client = MlflowClient()
    opened = client.create_run(client.create_experiment("mine")).info.run_id
    monkeypatch.setenv("MLFLOW_RUN_ID", opened)
    unchosen.configure("reviews")
    with unchosen.start_run("fit", tags={}) as run_id:
        assert run_id == opened
        assert unchosen.experiment_name() == "mine"
    monkeypatch.delenv("MLFLOW_RUN_ID", raising=False)
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "mine")
    unchosen.configure("reviews")
    assert os.environ["MLFLOW_EXPERIMENT_NAME"] == "mine"
    assert client.get_experiment_by_name("reviews") is None


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("sample", "sample"),
        ("reviews.csv", "reviews"),
        ("data/My reviews (2).csv.gz", "My-reviews-2"),
        ("rows.v2.jsonl", "rows.v2"),
        ("SetFit/hate_speech18", "hate_speech18"),
        ("folder/", "folder"),
        (".csv", "csv"),
        ("отзывы.csv", "model"),
    ],
)
def test_a_name_follows_from_the_data(source: str, name: str) -> None:
    """The registry takes few characters, and a model called after another task is not found."""
    assert name_of(source) == name
    settings = ENTRIES["main"].request({"data": source}).settings
    assert (settings.name, settings.experiment) == (name, name)
    said = ENTRIES["main"].request({"data": source, "name": "mine", "experiment": "ours"}).settings
    assert (said.name, said.experiment) == ("mine", "ours")


def test_a_tag_that_another_host_creates_at_the_same_moment_is_no_fault(
    unchosen: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of two hosts that started one study at once, one ended with UNIQUE constraint failed: experiment_tags.key."""
    set_tag = MlflowClient.set_experiment_tag
    refused: list[str] = []

    def beaten(client: MlflowClient, experiment_id: str, key: str, value: str) -> None:
        if key not in refused:
            refused.append(key)
            set_tag(client, experiment_id, key, "of another host")
            raise MlflowException("(sqlite3.IntegrityError) UNIQUE constraint failed: experiment_tags.key")
        set_tag(client, experiment_id, key, value)

    monkeypatch.setattr(MlflowClient, "set_experiment_tag", beaten)
    unchosen.configure("another")
    found = MlflowClient().get_experiment_by_name("another")
    assert len(refused) == 3
    assert found is not None
    assert "of another host" not in found.tags.values()
