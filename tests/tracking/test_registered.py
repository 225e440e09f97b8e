"""The exported model as MLflow's users load it: texts in, the bundle's answers out."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import mlflow
import pandas as pd
import pytest
from serving_bundle import WORDS, shared_bundle
from tracking_store import mlflow_store

from evenodd import tracking
from evenodd.classifier import Answer, Classifier
from evenodd.registered import texts_of
from evenodd.tracking.registry import refuse_code

TEXTS = ["i hate you", "we love rain", "12345", "😀 😡", "שלום", "", " ".join(WORDS * 8)]
ENTRY = tracking.ModelEntry("reviews", "odd", "A bundle.", tags={"kind": "onnx"}, requirements=("numpy",))


@pytest.fixture(scope="module")
def uri(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A registered bundle, in a store of its own."""
    folder = tmp_path_factory.mktemp("registry")
    with mlflow_store(f"sqlite:///{folder}/mlflow.db"):
        mlflow.create_experiment("registered", (folder / "artifacts").as_uri())
        mlflow.set_experiment("registered")
        with mlflow.start_run():
            logged = tracking.log_bundle(shared_bundle(), ENTRY, ("noHate", "hate"))
            number = tracking.register(logged, ENTRY)
        yield f"models:/reviews/{number}"


@pytest.fixture(scope="module")
def answers() -> list[Answer]:
    return Classifier.open(shared_bundle()).answer(TEXTS)


def assert_answers(found: pd.DataFrame, answers: list[Answer]) -> None:
    assert found["label"].tolist() == [answer.label for answer in answers]
    assert found["decision"].tolist() == [answer.decision for answer in answers]
    assert found["score"].tolist() == pytest.approx([answer.score for answer in answers], abs=1e-4)
    assert found["p_noHate"].tolist() == pytest.approx([a.probabilities["noHate"] for a in answers], abs=1e-4)


def test_every_input_form_is_answered_as_the_bundle_does(uri: str, answers: list[Answer]) -> None:
    """The registry's model and the service would answer one text in two ways."""
    model = mlflow.pyfunc.load_model(uri)
    forms: list[Any] = [TEXTS, pd.Series(TEXTS), pd.DataFrame({"review": TEXTS}), pd.DataFrame({"text": TEXTS})]
    for given in forms:
        assert_answers(model.predict(given), answers)
    assert_answers(model.predict(TEXTS[0]), answers[:1])


def test_mlflow_evaluates_it(uri: str, answers: list[Answer]) -> None:
    """Figures of MLflow's own evaluation, which takes one column of predictions, are those of the labels given."""
    rows = pd.DataFrame({"text": TEXTS, "label": ["hate", "noHate"] * 3 + ["hate"]})
    model = mlflow.pyfunc.load_model(uri)

    def labels(given: pd.DataFrame) -> list[str]:
        return list(model.predict(given)["label"])

    options = {"log_explainer": False}
    result = mlflow.models.evaluate(labels, rows, targets="label", model_type="classifier", evaluator_config=options)
    right = [answer.label == label for answer, label in zip(answers, rows["label"], strict=True)]
    assert result.metrics["accuracy_score"] == pytest.approx(sum(right) / len(right))


def test_it_loads_where_the_package_is_not_installed(uri: str, tmp_path: Path, answers: list[Answer]) -> None:
    """A version that needs a checkout beside it cannot be served anywhere else."""
    (tmp_path / "sitecustomize.py").write_text(
        "import os, sys\n"
        "sys.path[:] = [p for p in sys.path if not os.path.isfile(os.path.join(p, 'evenodd', '__init__.py'))]\n"
    )
    program = (
        "import mlflow, sys\n"
        f"found = mlflow.pyfunc.load_model({uri!r}).predict({TEXTS[:2]!r})\n"
        "assert 'evenodd.training' not in sys.modules and 'torch' not in sys.modules\n"
        "print(found['label'].tolist())\n"
    )
    environ = {**os.environ, "PYTHONPATH": str(tmp_path), "MLFLOW_TRACKING_URI": mlflow.get_tracking_uri()}
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, env=environ, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip().splitlines()[-1] == str([answer.label for answer in answers[:2]])


def test_a_table_with_several_columns_needs_one_called_text() -> None:
    """Another column would be classified in the text's place."""
    table = pd.DataFrame({"id": ["a", "b"], "Text": ["x", "y"]})
    assert texts_of(table) == ["x", "y"]
    with pytest.raises(ValueError, match="one column, or one that is called `text`"):
        texts_of(table.rename(columns={"Text": "body"}))
    with pytest.raises(ValueError, match="row 1: None is no text"):
        texts_of(["x", None])


def test_code_that_a_fitted_model_brings_is_not_run(tmp_path: Path) -> None:
    """Whoever may register a version would run what they like in every `export`, `promote` and `score`."""
    (tmp_path / "MLmodel").write_text("flavors:\n  transformers:\n    code: code\n    task: text-classification\n")
    with pytest.raises(RuntimeError, match=r"brings code of its own \(transformers\)"):
        refuse_code("models:/reviews/1", tmp_path)
    (tmp_path / "MLmodel").write_text("flavors:\n  transformers:\n    code: null\n")
    refuse_code("models:/reviews/1", tmp_path)
    (tmp_path / "MLmodel").write_text("{")
    with pytest.raises(RuntimeError, match="cannot be read"):
        refuse_code("models:/reviews/1", tmp_path)
