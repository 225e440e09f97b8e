"""One text, one answer: whoever asks, and by whatever way, of a version that was fitted and of its export."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import mlflow
import numpy as np
import pandas as pd
import pytest
from release_models import WORDS
from serving_process import free_port, serve, started
from small_study import GIVEN, TWO, study_copy

from evenodd import Project, tracking
from evenodd.classifier import Classifier
from evenodd.classifier.engine import SAMPLE_TOLERANCE, EngineOptions
from evenodd.classifier.manifest import CHECKED
from evenodd.flow.entries import ENTRIES
from evenodd.flow.fit_variant import FittedRun
from evenodd.project import Model
from evenodd.registered.pyfunc import RegisteredClassifier
from evenodd.task.task import REVIEW

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
FITTED, EXPORTED = "models:/two/2", "models:/two/3"
MLFLOW = [sys.executable, "-m", "mlflow", "models"]


def many_texts() -> list[str]:
    """500 texts as people send them: of any script, signs alone, empty, and longer than any window."""
    dice = random.Random(11)
    texts = ["", " ", "0", "12345 67890", "007", "3.14", "null", "NaN", "true", "=1+1", 'he said "hate", no?']
    texts += ["😀 🤦🏽‍♀️ 😡", "👩‍👩‍👧‍👦 hate", "שלום עולם", "مرحبا بالعالم، hate", "東京は晴れ", "ﬁ ½ Ünïcödé"]
    texts += ["a\tb\nc\r\nd", "\u200bzero\u200dwidth", "x" * 5000, "hate " * 3000]
    texts.append(" ".join(dice.choices(WORDS, k=10_000)))
    while len(set(texts)) < 500:
        words = dice.choices(WORDS, k=dice.choice((1, 3, 8, 20, 90)))
        texts.append(" ".join([*words, *dice.choices(("", "12", "😡", "!", "כן", "'hate'"), k=2)]))
    return list(dict.fromkeys(texts))


TEXTS = many_texts()


READABLE = [text for text in TEXTS if text.strip()]
"""Rows without a text are refused in a file."""


@dataclass(frozen=True)
class Said:
    """Answers to texts, in their order."""

    labels: list[str]
    decisions: list[str]
    scores: list[float]

    @classmethod
    def of(cls, table: pd.DataFrame) -> Said:
        """The same of a table with these columns."""
        return cls(table["label"].tolist(), table["decision"].tolist(), table["score"].astype(float).tolist())

    def check(self, expected: Said, texts: list[str] = TEXTS) -> None:
        """Labels and decisions are equal, scores to 1e-4."""
        kept = [number for number, text in enumerate(TEXTS) if text in set(texts)]
        np.testing.assert_allclose(self.scores, [expected.scores[number] for number in kept], atol=1e-4)
        assert self.labels == [expected.labels[number] for number in kept]
        assert self.decisions == [expected.decisions[number] for number in kept]


@pytest.fixture(scope="module")
def study(small_study: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with study_copy(small_study, tmp_path_factory.mktemp("same") / "study") as folder:
        lines = [json.dumps({"text": text, "label": TWO[number % 2]}) for number, text in enumerate(READABLE)]
        (folder / "texts.jsonl").write_text("\n".join(lines), encoding="utf-8")
        yield folder


@pytest.fixture(scope="module")
def service(study: Path) -> Said:
    """The exported bundle's answers over HTTP, which all others are held against."""
    environ = {"EVENODD_BUNDLE": str(study / "home" / "bundles" / "odd"), "BENTOML_HOME": str(study / "bentoml")}
    with serve(ROOT, study / "service.log", **environ) as served:
        served.wait_ready(180)
        found = posted(f"{served.url}/classify", "texts", "results")
    assert {answer["decision"] for answer in found} == {*TWO, REVIEW}
    assert sum(0.001 < answer["score"] < 0.999 for answer in found) > 50
    assert max(answer["windows"] for answer in found) > 100
    return Said.of(pd.DataFrame(found))


def posted(url: str, given: str, answered: str) -> list[dict[str, Any]]:
    """What a server answers to the texts, 50 a request."""
    parts = [TEXTS[start : start + 50] for start in range(0, len(TEXTS), 50)]
    replies = [httpx.post(url, json={given: part}, timeout=120) for part in parts]
    return [answer for reply in replies for answer in reply.raise_for_status().json()[answered]]


@pytest.mark.parametrize("uri", [FITTED, EXPORTED])
def test_the_registered_model_says_what_the_service_says(uri: str, service: Said) -> None:
    """`models:/NAME@champion` in a notebook, and the page beside it."""
    Said.of(mlflow.pyfunc.load_model(uri).predict(TEXTS)).check(service)


@pytest.mark.parametrize("uri", [FITTED, EXPORTED])
def test_files_are_scored_as_the_service_answers(uri: str, study: Path, service: Said, tmp_path: Path) -> None:
    """Figures, and a night's scores, of a model that nobody is served."""
    project, model = Project(**GIVEN), uri.removeprefix("models:/")
    project.evaluate(model, data="texts.jsonl", predictions=str(tmp_path / "evaluated.csv"))
    said = {"model": model, "input": "texts.jsonl", "output": str(tmp_path / "scored.csv"), "home": "home"}
    ENTRIES["score"].run(ENTRIES["score"].request({**said, "name": "two"}))
    for name in ("evaluated", "scored"):
        table = pd.read_csv(tmp_path / f"{name}.csv", keep_default_na=False, dtype=str)
        Said.of(table[table["label"] != ""]).check(service, READABLE)


def test_the_python_api_says_what_the_service_says(study: Path, service: Said) -> None:
    """`Project` is the first thing that somebody asks."""
    found = tracking.find_version("odd", "two")
    fitted = FittedRun(found.run_id, found.uri, found.version, "odd", 0)
    answers = Model("two", "odd", (fitted,)).predict(TEXTS)
    Said.of(pd.DataFrame([vars(answer) for answer in answers])).check(service)


def test_mlflow_serves_a_fitted_version(study: Path, service: Said) -> None:
    """`mlflow models serve` is what a user of MLflow tries; texts of digits were a 400, or a number."""
    port = free_port()
    command = [*MLFLOW, "serve", "-m", FITTED, "--env-manager", "local", "--host", "127.0.0.1", "--port", str(port)]
    environ = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    with started(command, port, study, study / "invocations.log", environ) as served:
        served.wait_ready(180, "/ping")
        invocations = f"{served.url}/invocations"
        Said.of(pd.DataFrame(posted(invocations, "inputs", "predictions"))).check(service)
        two = {"columns": ["id", "text"], "data": [["1", "x"]]}
        refused = httpx.post(invocations, json={"dataframe_split": two}, timeout=60)
        assert refused.status_code == 400
        assert "pass only the column with the texts" in refused.text


def test_mlflow_predicts_a_file_with_an_exported_version(study: Path, service: Said) -> None:
    """A batch job without code of its own."""
    (study / "few").write_text(json.dumps({"inputs": TEXTS[:40]}), encoding="utf-8")
    command = [
        *MLFLOW,
        "predict",
        "-m",
        EXPORTED,
        "--env-manager",
        "local",
        "-t",
        "json",
        "-i",
        "few",
        "-o",
        "out",
    ]
    done = subprocess.run(command, cwd=study, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads((study / "out").read_text(encoding="utf-8"))["predictions"]
    Said.of(pd.DataFrame(found)).check(service, TEXTS[:40])


def test_a_container_is_described_that_holds_all_it_needs(study: Path, service: Said) -> None:
    """`mlflow models generate-dockerfile` copies the version; its folder alone has to answer."""
    command = [*MLFLOW, "generate-dockerfile", "-m", EXPORTED, "-d", "image", "--env-manager", "local"]
    done = subprocess.run(command, cwd=study, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "COPY model_dir /opt/ml/model" in (study / "image" / "Dockerfile").read_text()
    Said.of(mlflow.pyfunc.load_model(str(study / "image" / "model_dir")).predict(TEXTS)).check(service)


def test_int8_keeps_labels_and_decisions_and_its_stated_bound(study: Path, service: Said) -> None:
    """Where int8 serves, a score may move by what samples of a bundle may, and for texts like the rows nothing else
    moves; when asked to be exact, scores of any text are float32's.
    """
    loose = {"export__max_int8_flips": 1.0, "export__max_int8_f1_loss": 1.0}
    folder = Project(**GIVEN).export("2", export__kinds="fp32,int8", home="home-int8", **loose).bundle
    checked = RegisteredClassifier(Classifier.open(folder, EngineOptions(graph=CHECKED)))
    Said.of(checked.predict(TEXTS, params={"exact": True})).check(service)
    rows = pd.read_json(study / "two.jsonl", lines=True)["text"]
    found, exact = checked.predict(rows), checked.predict(rows, params={"exact": True})
    assert found[["label", "decision"]].equals(exact[["label", "decision"]])
    for texts in (rows, TEXTS):
        moved = checked.predict(texts)["score"] - checked.predict(texts, params={"exact": True})["score"]
        assert 0 < moved.abs().max() <= SAMPLE_TOLERANCE["int8"]


SPARK = """
import json, mlflow
from pyspark.sql import SparkSession
spark = SparkSession.builder.master("local[1]").config("spark.ui.enabled", "false").getOrCreate()
answer = mlflow.pyfunc.spark_udf(spark, {uri!r}, env_manager="local")
texts = json.load(open("spark.json"))
rows = spark.createDataFrame([(number, text) for number, text in enumerate(texts)], ["number", "review"])
found = rows.withColumn("answer", answer("review")).orderBy("number").select("answer.*").toPandas()
found.to_json("spark.out", orient="records")
spark.stop()
"""


@pytest.mark.spark
def test_spark_scores_a_column_of_any_name(study: Path, service: Said) -> None:
    """A table of a hundred million rows is scored where it lies."""
    (study / "spark.json").write_text(json.dumps(TEXTS), encoding="utf-8")
    environ = {**os.environ, "PYSPARK_PYTHON": sys.executable, "SPARK_LOCAL_IP": "127.0.0.1"}
    program = [sys.executable, "-c", SPARK.format(uri=EXPORTED)]
    done = subprocess.run(program, cwd=study, env=environ, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    Said.of(pd.read_json(study / "spark.out", dtype=False)).check(service)
