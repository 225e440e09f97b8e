"""What MLflow shows of a comparison: the run that a person opens, and its experiment, say what was found."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import mlflow
import pytest
from finished_runs import Made, add_finished, materials_of
from mlflow import MlflowClient

from evenodd.flow.compare import Compared, compare_runs
from evenodd.rows import Corpus, load_corpus
from evenodd.settings import resolve_settings


@pytest.fixture
def corpus(tracking: ModuleType, rows_file: Path, tmp_path: Path) -> Corpus:
    return load_corpus(resolve_settings({"data": str(rows_file)}).data, seed=0, cache=tmp_path / "cache")


def compare(tracking: ModuleType, corpus: Corpus, tmp_path: Path) -> Compared:
    """Compares two made-up runs, the teacher at twice the cost."""
    dear = {"cost/operations_per_token": 21.4e6}
    runs = [add_finished(tracking, corpus, Made("teacher", metrics=dear)), add_finished(tracking, corpus, Made("odd"))]
    settings = resolve_settings({"evidence.bootstrap_samples": "200", "home": str(tmp_path / "home")})
    return compare_runs(runs, materials_of(corpus, tmp_path), settings)


def test_the_run_of_a_comparison_carries_what_it_found(tracking, corpus, tmp_path) -> None:
    """Who opens it would find settings and have to look for the winner among files."""
    compared = compare(tracking, corpus, tmp_path)
    run = MlflowClient().get_run(compared.run_id)
    figures = tracking.figures_of(run)
    assert run.info.run_name == "odd ships · compare · rows"
    assert (run.data.tags["winner"], run.data.tags["winner_version"]) == ("odd", "1")
    assert figures["test/f1_macro"] == pytest.approx(compared.found.frame.set_index("variant")["test/f1_macro"]["odd"])
    assert figures["validation/may_lose"] == pytest.approx(compared.verdict.may_lose)
    table = mlflow.load_table("tables/comparison.json", run_ids=[compared.run_id])
    assert table.set_index("variant")["kind"].to_dict()["odd"] == "winner"
    assert {each.dataset.name for each in run.inputs.dataset_inputs} == {f"rows-{s.name}" for s in corpus.splits}
    assert [model.model_id for model in run.inputs.model_inputs] == ["none"]  # as made-up runs name theirs
    assert tracking.artifact_text(compared.run_id, "report.html") == compared.report.read_text(encoding="utf-8")
    described = run.data.tags["mlflow.note.content"]
    assert described.startswith(f"**{compared.verdict.sentences[0]}**")
    assert "evenodd export" in described


def test_the_experiment_says_first_what_ships(tracking, corpus, tmp_path) -> None:
    """Its page shows one line before anything is clicked."""
    compared = compare(tracking, corpus, tmp_path)
    client = MlflowClient()
    experiment = client.get_run(compared.run_id).info.experiment_id
    first = client.get_experiment(experiment).tags["mlflow.note.content"].splitlines()[0]
    assert first.startswith("**odd ships** · macro-F1 **")
    assert f"loses ≤ **{compared.verdict.may_lose:.3f}** (validation)" in first
    assert first.endswith("**50%** of teacher's operations")
    assert len(first.replace("*", "")) < 95


def test_what_a_person_wrote_of_an_experiment_stays(tracking, corpus, tmp_path) -> None:
    """A team's notes would be replaced by every comparison."""
    client = MlflowClient()
    experiment = client.get_experiment_by_name("tests").experiment_id
    client.set_experiment_tag(experiment, "mlflow.note.content", "ours")
    compare(tracking, corpus, tmp_path)
    assert client.get_experiment(experiment).tags["mlflow.note.content"] == "ours"
