"""The Python API: the steps of the command line, from a file of rows to answers."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from small_study import write_encoder, write_moods
from tracking_store import mlflow_store

from evenodd import Project
from evenodd.project import Model

SIGNS = {"calm": "rain", "loud": "never", "odd one": "group"}
SMALL = {
    "train__freeze_embeddings": False,
    "train__token_budget": 256,
    "train__precision": "fp32",
    "epochs": 3,
    "learning_rate": 3e-3,
    "teacher__epochs": 6,
    "evidence__bootstrap_samples": 200,
    "data__max_length": 32,
    "export__kinds": "fp32",
    "run__build": False,
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, empty_store: Path) -> Iterator[Path]:
    """A working directory with `moods.csv` (three labels), a small encoder, and a tracking store."""
    folder = tmp_path_factory.mktemp("project")
    write_encoder(folder / "encoder")
    write_moods(folder / "moods.csv", SIGNS, columns=("Review", "mood"))
    shutil.copy(empty_store, folder / "mlflow.db")
    with pytest.MonkeyPatch.context() as patch, mlflow_store(f"sqlite:///{folder}/mlflow.db"):
        patch.chdir(folder)
        yield folder


@pytest.fixture(scope="module")
def project(folder: Path) -> Project:
    return Project("moods.csv", teacher="encoder", label_column="mood", **SMALL)


@pytest.fixture(scope="module")
def odd(project: Project) -> Model:
    """Half of the encoder's layers."""
    return project.fit("odd")


@pytest.mark.slow
def test_a_file_becomes_answers_and_a_bundle(project: Project, odd: Model) -> None:
    """The five lines of the README; each step takes what the one before has made."""
    assert project.name == "moods"
    lora = project.fit("lora", seeds=2)
    assert [run.seed for run in lora.runs] == [0, 1]
    compared = project.compare(odd, lora)
    assert set(compared.verdict.scores["f1_macro"].keys()) == {"odd", "lora"}
    assert compared.report.is_file()
    bundle = project.export(odd).bundle
    assert (bundle / "bundle.json").is_file()
    assert project.package(odd).tag == "not built"
    assert project.promote(odd, gates__above_floor=False, gates__max_ece=1.0).version == odd.version
    figures = project.evaluate(odd, data="moods.csv").figures
    assert figures["evaluate/f1_macro"] > 0.5
    champion = project.evaluate(data="moods.csv").figures
    assert champion == pytest.approx(figures)


@pytest.mark.slow
def test_answers_are_those_of_the_registered_model(project: Project, odd: Model) -> None:
    """A label from one model and a probability from another would look like an answer."""
    from evenodd.flow.scorer import open_scorer

    texts = ["we like rain", "never never", "a group of people"]
    answers = odd.predict(texts)
    scorer = open_scorer(odd.version, project.name)
    expected = scorer.probabilities(texts)
    assert [answer.label for answer in answers] == [scorer.label_names[row.argmax()] for row in expected]
    for answer, row in zip(answers, expected, strict=True):
        assert set(answer.probabilities) == set(SIGNS)
        np.testing.assert_allclose([answer.probabilities[name] for name in scorer.label_names], row, atol=1e-6)
        assert answer.score == pytest.approx(max(row))
        assert answer.decision in {*SIGNS, "review"}


@pytest.mark.parametrize(
    ("settings", "what"),
    [
        ({"epoch": 3}, "'epoch' is not known: did you mean 'epochs'"),
        ({"epochs": "many", "seeds": 0}, "epochs='many'.*seeds=0"),
        ({"teacher__epochs": "many"}, r"teacher\.epochs='many'"),
        ({"config": "no.yaml"}, "no such file"),
    ],
)
def test_faults_in_settings_are_told_when_the_project_is_made(settings: dict, what: str) -> None:
    """Told at the first fit, they cost what was done before."""
    with pytest.raises(ValueError, match=what):
        Project("sample", **settings)


def test_settings_of_a_project_hold_where_they_are_used_and_those_of_a_call_must_be() -> None:
    """A project's export settings are no mistake in a fit; a fit's own setting without effect is one."""
    project = Project("sample", export__kinds="fp32", lora__rank=4, teacher__epochs=2, epochs=5)
    assert project._request("lora", {}).settings_for("lora", "lora").lora.rank == 4
    assert "export.kinds" not in project._request("lora", {}).said
    assert project._request("distill_odd", {"train.epochs": 6}).said["train.epochs"] == 6
    with pytest.raises(ValueError, match=r"lora\.rank: 'distill_odd' does not use it"):
        project.fit("odd", lora__rank=4)
    with pytest.raises(ValueError, match="nothing to score"):
        project.evaluate()
    with pytest.raises(ValueError, match="variants=od: not known"):
        project.fit("od")


def test_the_package_costs_nothing_before_its_api_is_used() -> None:
    """The classifier travels with `evenodd/__init__.py` to where neither pydantic nor torch is."""
    code = "import sys, evenodd; assert evenodd.__version__; print({'pydantic', 'torch', 'yaml'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
