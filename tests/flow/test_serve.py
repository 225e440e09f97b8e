"""`serve`: what it serves is named, or the champion; never a bundle that happens to be the newest."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient
from serving_bundle import copy_bundle, shared_bundle
from tracking_store import mlflow_store

from evenodd.flow.serve import BUNDLE, CORRECTIONS, MODEL, keep_corrections, served_environment
from evenodd.settings import make_request


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A registry with a version of `reviews`; the newest bundle lies where `export` puts it."""
    for name in (BUNDLE, MODEL, CORRECTIONS):
        monkeypatch.delenv(name, raising=False)
    copy_bundle(shared_bundle(), tmp_path / "bundles" / "odd")
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    with mlflow_store(uri):
        client = MlflowClient()
        client.create_registered_model("reviews")
        client.create_model_version("reviews", source=(tmp_path / "bundles" / "odd").as_uri())
        yield uri


def served(tmp_path: Path, **said: Any) -> dict[str, str]:
    return served_environment(make_request({"home": str(tmp_path), **said}))


def test_without_a_champion_nothing_is_guessed(store: str, tmp_path: Path) -> None:
    """The newest bundle may be one that failed its gates."""
    with pytest.raises(ValueError, match="no model has a champion") as refused:
        served(tmp_path)
    assert "model=" in str(refused.value)
    assert "\n" not in str(refused.value)


def test_the_only_champion_is_followed(store: str, tmp_path: Path) -> None:
    """Told nothing, there is one model that was found good."""
    MlflowClient().set_registered_model_alias("reviews", "champion", "1")
    assert served(tmp_path) == {MODEL: "models:/reviews@champion", "MLFLOW_TRACKING_URI": store}


def test_of_two_champions_one_has_to_be_named(store: str, tmp_path: Path) -> None:
    """One of them would answer for the other."""
    client = MlflowClient()
    client.create_registered_model("films")
    client.create_model_version("films", source=tmp_path.as_uri())
    for name in ("reviews", "films"):
        client.set_registered_model_alias(name, "champion", "1")
    with pytest.raises(ValueError, match=r"films, reviews have a champion: pass model=models:/films@champion"):
        served(tmp_path)
    assert served(tmp_path, name="films")[MODEL] == "models:/films@champion"


def test_model_names_a_folder_or_a_version(store: str, tmp_path: Path) -> None:
    """What is named is served; what names nothing is refused before BentoML starts."""
    folder = tmp_path / "bundles" / "odd"
    assert served(tmp_path, model=str(folder)) == {BUNDLE: str(folder), MODEL: ""}
    for model in ("models:/reviews/1", "reviews/1"):
        assert served(tmp_path, model=model)[MODEL] == "models:/reviews/1"
    for model in ("models:/reviews@nobody", "models:/nothing@champion", "odd", str(tmp_path)):
        with pytest.raises(ValueError, match="model="):
            served(tmp_path, model=model)


def test_an_alias_or_a_version_is_that_of_the_model_with_a_champion(store: str, tmp_path: Path) -> None:
    """Every other command takes `model=odd`."""
    MlflowClient().set_registered_model_alias("reviews", "champion", "1")
    MlflowClient().set_registered_model_alias("reviews", "odd", "1")
    assert served(tmp_path, model="odd")[MODEL] == "models:/reviews@odd"
    assert served(tmp_path, model="1", name="reviews")[MODEL] == "models:/reviews/1"
    for model in ("even", "2"):
        with pytest.raises(ValueError, match="not in the registry"):
            served(tmp_path, model=model)


def test_variables_say_it_as_well(store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A container is told by its environment."""
    monkeypatch.setenv(MODEL, "models:/reviews@odd")
    assert served(tmp_path) == {}


def test_corrections_are_kept_on_this_machine_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who opens the service to others decides whether their words are kept."""
    for host, given, kept in (
        ("127.0.0.1", None, str(tmp_path / "corrections.db")),
        ("127.0.0.1", "off", ""),
        ("127.0.0.1", "other.db", "other.db"),
        ("0.0.0.0", None, None),
    ):
        monkeypatch.delenv(CORRECTIONS, raising=False)
        if given is not None:
            monkeypatch.setenv(CORRECTIONS, given)
        keep_corrections(host, tmp_path)
        assert os.environ.get(CORRECTIONS) == kept
