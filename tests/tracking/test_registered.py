"""Versions as MLflow's users load them: texts in, the service's answers out, fitted or exported."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import pytest
import yaml
from mlflow import MlflowClient
from release_models import WORDS
from serving_bundle import shared_bundle
from small_study import GIVEN, study_copy

from evenodd import Project, tracking
from evenodd.classifier import Answer, Classifier
from evenodd.flow.entries import ENTRIES
from evenodd.registered.pyfunc import RegisteredClassifier, texts_of

pytestmark = pytest.mark.slow

TEXTS = ["i hate you", "we love rain", "12345", "😀 😡", "שלום", "", " ".join(WORDS * 30)]
VERSIONS = {"fitted": "models:/two@odd", "exported": "models:/two@odd-onnx"}


@pytest.fixture(scope="module")
def study(small_study: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with study_copy(small_study, tmp_path_factory.mktemp("registry") / "study") as folder:
        yield folder


@pytest.fixture(params=list(VERSIONS))
def uri(request: pytest.FixtureRequest, study: Path) -> str:
    return VERSIONS[request.param]


@pytest.fixture(scope="module")
def answers(study: Path) -> list[Answer]:
    """The exported bundle's, which the service gives."""
    return Classifier.open(study / "home" / "bundles" / "odd").answer(TEXTS)


def assert_answers(found: pd.DataFrame, answers: list[Answer]) -> None:
    assert list(found) == ["label", "decision", "score", "windows", "p_noHate", "p_hate"]
    assert found["label"].tolist() == [answer.label for answer in answers]
    assert found["decision"].tolist() == [answer.decision for answer in answers]
    assert found["windows"].tolist() == [answer.windows for answer in answers]
    assert found["score"].tolist() == pytest.approx([answer.score for answer in answers], abs=1e-4)
    assert found["p_noHate"].tolist() == pytest.approx([a.probabilities["noHate"] for a in answers], abs=1e-4)


def test_every_input_form_is_answered_as_the_service_does(uri: str, answers: list[Answer]) -> None:
    """A version and the service said two things of one text: .940 and hate, .828 and review."""
    model = mlflow.pyfunc.load_model(uri)
    forms: list[Any] = [TEXTS, tuple(TEXTS), pd.Series(TEXTS), pd.DataFrame({"any name": TEXTS}), {"review": TEXTS}]
    forms += [np.array(TEXTS), np.array(TEXTS, dtype=object), np.array(TEXTS)[:, None]]
    for given in forms:
        assert_answers(model.predict(given), answers)
    assert_answers(model.predict(TEXTS[0]), answers[:1])
    assert_answers(model.predict({"text": TEXTS[0]}), answers[:1])
    assert_answers(model.predict(TEXTS, params={"exact": True}), answers)
    assert_answers(model.predict([]), [])


def test_two_columns_are_refused_and_named(uri: str) -> None:
    """MLflow cuts a table to as many columns as a signature has: ids were classified in the texts' place, unheard."""
    model = mlflow.pyfunc.load_model(uri)
    with pytest.raises(ValueError, match=r"columns=\['id', 'text'\]: pass only the column with the texts"):
        model.predict(pd.DataFrame({"id": ["1", "2"], "text": ["x", "y"]}))
    with pytest.raises(ValueError, match=r"an array of shape \(1, 2\)"):
        model.predict(np.array([["x", "y"]]))


@pytest.mark.parametrize("missing", [None, float("nan"), 12])
def test_what_is_no_text_is_refused_with_its_row(missing: Any) -> None:
    """`nan` read as a word has a score like any other."""
    with pytest.raises(ValueError, match=r"row 1: .* is not text"):
        texts_of(["x", missing])


def test_exact_scores_depend_on_no_text_beside_them() -> None:
    """In int8 a text's score moves with its neighbours; a moderator who asks twice must not get two answers."""
    model = RegisteredClassifier(Classifier.open(shared_bundle("int8")))
    texts = [" ".join(WORDS[i : i + 5]) for i in range(12)]
    alone = [model.predict(text)["score"].item() for text in texts]
    assert model.predict(texts, params={"exact": True})["score"].tolist() == pytest.approx(alone, abs=1e-7)
    assert model.predict(texts)["score"].tolist() != pytest.approx(alone, abs=1e-7)


def test_the_code_on_a_model_card_runs(study: Path) -> None:
    """Who copies it from the card into a notebook would get an error, or another model's answers."""
    run_id = tracking.find_version("odd", "two").run_id
    card = tracking.artifact_text(run_id, "model_card.md") or ""
    (code,) = re.findall(r"```python\n(.*?)```", card, re.DOTALL)
    given: dict[str, Any] = {}
    exec(code, given)
    texts = ["one text", "another"]
    assert given["classifier"].predict(texts).equals(mlflow.pyfunc.load_model("models:/two@odd").predict(texts))
    assert given["model"].config.num_hidden_layers == 2
    (command,) = re.findall(r"```sh\nevenodd (.*?)\n```", card, re.DOTALL)
    entry, *settings = shlex.split(command)
    assert ENTRIES[entry].request(dict(word.split("=", 1) for word in settings)).settings.run.model == "odd"


def test_slices_of_an_evaluation_add_up_to_its_figures(study: Path) -> None:
    """`slices` was accepted and had no effect; a table of other rows would be worse."""
    found = Project(**GIVEN).evaluate("two@odd", data="two.jsonl", slices="author")
    run = tracking.find_runs({"stage": "evaluate"})[0]
    table = pd.read_csv(tracking.download(run.info.run_id, "tables/slices.csv"))
    assert table["rows"].sum() == 960
    assert np.average(table["accuracy"], weights=table["rows"]) == pytest.approx(found.figures["evaluate/accuracy"])
    counted = table[table["false_positive_rate_counts"]]
    assert found.figures["slices/max_false_positive_rate"] == pytest.approx(counted["false_positive_rate"].max())
    assert "false-positive rate" in found.text


def test_mlflow_evaluates_it_with_our_figures(uri: str, study: Path) -> None:
    """Two tables of figures for one model, of which one is wrong."""
    rows = pd.read_json(study / "two.jsonl", lines=True)[["text", "label"]].head(200)
    rows.to_csv(study / "rows.csv", index=False)
    options = {"log_explainer": False, "pos_label": "hate"}
    table = {"targets": "label", "model_type": "classifier", "evaluator_config": options}
    found = mlflow.models.evaluate(uri, rows, model_config={"output": "label"}, **table).metrics
    ours = Project(**GIVEN).evaluate(uri.removeprefix("models:/"), data="rows.csv").figures
    assert found["accuracy_score"] == pytest.approx(ours["evaluate/accuracy"])
    assert found["f1_score"] == pytest.approx(ours["evaluate/f1_label_hate"])
    assert found["accuracy_score"] > 0.5


def test_latest_takes_texts_and_tags_tell_the_versions_apart(study: Path, answers: list[Answer]) -> None:
    """`latest` is what a user tries first; after an export it wanted token ids."""
    assert_answers(mlflow.pyfunc.load_model("models:/two/latest").predict(TEXTS), answers)
    found = MlflowClient().search_model_versions("name = 'two'")
    kinds = {(version.tags["variant"], version.tags["kind"]) for version in found}
    assert kinds == {("teacher", "torch"), ("odd", "torch"), ("odd", "onnx")}
    assert all(version.description for version in found)
    described = MlflowClient().get_registered_model("two")
    assert 'load_model("models:/two@champion").predict' in described.description
    assert {"teacher", "odd", "odd-onnx"} <= set(described.aliases)


def test_those_who_train_on_get_the_transformers_model(study: Path) -> None:
    """The pyfunc stands beside the weights and does not replace them."""
    parts = mlflow.transformers.load_model(VERSIONS["fitted"], return_type="components")
    model, tokenizer = tracking.load_model(tracking.find_version("odd", "two").uri)
    for name, weights in parts["model"].state_dict().items():
        np.testing.assert_array_equal(weights, model.state_dict()[name])
    assert parts["tokenizer"](TEXTS)["input_ids"] == tokenizer(TEXTS)["input_ids"]


PROGRAM = """
import mlflow, sys
found = mlflow.pyfunc.load_model({uri!r}).predict({texts!r})
import evenodd
assert evenodd.__file__.startswith({artifacts!r}), evenodd.__file__
assert {foreign!r} not in sys.modules
print(found["label"].tolist())
"""


def test_it_loads_where_the_package_is_not_installed(uri: str, tmp_path: Path, answers: list[Answer]) -> None:
    """A version that needs a checkout beside it cannot be served anywhere else; an exported one needs no torch."""
    hide_package(tmp_path)
    foreign = "torch" if uri == VERSIONS["exported"] else "onnxruntime"
    artifacts = mlflow.artifacts.download_artifacts(uri)
    program = PROGRAM.format(uri=uri, texts=TEXTS[:2], artifacts=str(Path(artifacts)), foreign=foreign)
    environ = {**os.environ, "PYTHONPATH": str(tmp_path), "MLFLOW_TRACKING_URI": mlflow.get_tracking_uri()}
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, env=environ, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip().splitlines()[-1] == str([answer.label for answer in answers[:2]])


def hide_package(folder: Path) -> None:
    """Writes what takes this package out of the path of a Python that has the folder in its path."""
    (folder / "sitecustomize.py").write_text(
        "import os, sys\n"
        "sys.path[:] = [p for p in sys.path if not os.path.isfile(os.path.join(p, 'evenodd', '__init__.py'))]\n"
        "sys.meta_path[:] = [finder for finder in sys.meta_path if 'editable' not in repr(finder)]\n"
    )


def test_the_installed_package_goes_before_the_one_that_a_version_brings(study: Path, tmp_path: Path) -> None:
    """A notebook that loaded a version first would find `evenodd` without its `Project`."""
    program = f"import mlflow\nmlflow.pyfunc.load_model({VERSIONS['fitted']!r})\nfrom evenodd import Project"
    environ = {**os.environ, "MLFLOW_TRACKING_URI": mlflow.get_tracking_uri()}
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, env=environ, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_its_requirements_name_all_that_answering_imports(uri: str) -> None:
    """An environment that MLflow builds from them lacks what nobody named."""
    folder = Path(mlflow.artifacts.download_artifacts(uri))
    named = {line.partition("==")[0] for line in (folder / "requirements.txt").read_text().split()}
    ours = {"torch", "transformers"} if uri == VERSIONS["fitted"] else {"onnxruntime-gpu", "onnxruntime"}
    assert {"mlflow", "numpy", "pandas", "tokenizers"} <= named
    assert ours & named
    assert "evenodd" not in named


def described(change: Callable[[dict[str, Any]], None]) -> Callable[[Path], None]:
    """Changes a model's description."""

    def spoil(folder: Path) -> None:
        content = yaml.safe_load((folder / "MLmodel").read_text())
        change(content["flavors"])
        (folder / "MLmodel").write_text(yaml.safe_dump(content))

    return spoil


FOREIGN = {
    r"python_function\.loader_module=theirs": described(lambda f: f["python_function"].update(loader_module="theirs")),
    r"python_function\.code=None": described(lambda f: f["python_function"].pop("code")),
    r"transformers\.code=code": described(lambda f: f["transformers"].update(code="code")),
    "flavor sklearn": described(lambda f: f.update(sklearn={"pickled_model": "model.pkl"})),
    "code": lambda folder: (folder / "code" / "package" / "torch.py").write_text("raise SystemExit('run')"),
    "cannot be read": lambda folder: (folder / "MLmodel").write_text("{"),
}


@pytest.mark.parametrize("what", list(FOREIGN))
def test_a_version_by_somebody_elses_code_is_refused(what: str, study: Path, tmp_path: Path) -> None:
    """Whoever may register a version would run what they like in every `export`, `promote`, `score` and distillation,
    or wherever `@champion` is loaded.
    """
    uri = register_copy(tmp_path, FOREIGN[what])
    for read in (tracking.load_model, tracking.model_metadata):
        with pytest.raises(RuntimeError, match=what):
            read(uri)


COMMANDS = {
    "export": dict(GIVEN),
    "promote": {"name": "two"},
    "evaluate": {"data": "two.jsonl", "name": "two"},
    "score": {"input": "two.jsonl", "output": "scored.csv", "name": "two"},
}


@pytest.mark.parametrize("command", list(COMMANDS))
def test_commands_refuse_it_and_run_none_of_it(command: str, study: Path, tmp_path: Path) -> None:
    """A check that a command does not come by protects nobody."""
    version = register_copy(tmp_path, FOREIGN["code"]).rpartition("/")[2]
    request = ENTRIES[command].request({**COMMANDS[command], "model": version})
    with pytest.raises(RuntimeError, match=r"contains other code \(code\)"):
        ENTRIES[command].run(request)


def test_a_student_learns_from_no_teacher_that_brings_code(study: Path, tmp_path: Path) -> None:
    """The teacher is found by its run, which names a model like any other."""
    uri = register_copy(tmp_path, FOREIGN["code"])
    run = tracking.get_run(tracking.find_version("teacher", "two").run_id)
    MlflowClient().set_tag(run.info.run_id, "model_uri", uri)
    try:
        with pytest.raises(RuntimeError, match=r"contains other code \(code\)"):
            Project(**GIVEN).fit("even")
    finally:
        MlflowClient().set_tag(run.info.run_id, "model_uri", run.data.tags["model_uri"])


def register_copy(folder: Path, spoil: Callable[[Path], Any]) -> str:
    """Registers the fitted version once more as another client would, changed; its URI."""
    copy = Path(shutil.copytree(mlflow.artifacts.download_artifacts(VERSIONS["fitted"]), folder / "model"))
    client = MlflowClient()
    original = client.get_model_version_by_alias("two", "odd")
    spoil(copy)
    with mlflow.start_run():
        logged = mlflow.initialize_logged_model(name="foreign")
        client.log_model_artifacts(logged.model_id, str(copy))
        client.finalize_logged_model(logged.model_id, "READY")
    source = f"models:/{logged.model_id}"
    made = client.create_model_version("two", source, original.run_id, tags=original.tags, model_id=logged.model_id)
    return f"models:/two/{made.version}"
