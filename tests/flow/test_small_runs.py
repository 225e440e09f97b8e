"""Whole commands on a tiny encoder and a few hundred rows: what they leave in the tracking store and on disk."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd
import psutil
import pytest
import torch
from interruption import at_full_size, hear_ctrl_c
from mlflow import MlflowClient
from small_study import GIVEN, SIGNS, study_copy, write_rows

from evenodd import tracking as tracking_module
from evenodd.classifier.bundle import read_bundle
from evenodd.classifier.engine import open_engine
from evenodd.flow import ablation, compare, fit, main, study
from evenodd.flow.scorer import open_scorer
from evenodd.settings import make_request, resolve_settings
from serving.settings import Settings

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory, small_study: Path) -> Iterator[tuple[ModuleType, dict[str, str]]]:
    """A tracking store, and the parameters of every command here: rows, encoder, settings."""
    with study_copy(small_study, tmp_path_factory.mktemp("small") / "study") as folder:
        write_rows(folder / "four.jsonl", tuple(SIGNS), 1200)
        yield tracking_module, dict(GIVEN)


def only_run(tracking: ModuleType, *, experiment: str = "two", **tags: str) -> Any:
    """The newest finished run with these tags in an experiment: the commands of other tests here used other rows."""
    number = MlflowClient().get_experiment_by_name(experiment).experiment_id
    return next(run for run in tracking.find_runs(tags) if run.info.experiment_id == number)


def check_what_is_shown(tracking: ModuleType, run: Any) -> None:
    """A run of `main` and those under it: 25 parameters, 40 metrics and 12 tags at most, and what was found on top."""
    stages = {"compare", "export", "promote", "package"}
    client = MlflowClient()
    under = client.search_runs([run.info.experiment_id], f"tags.`mlflow.parentRunId` = '{run.info.run_id}'")
    assert {each.data.tags.get("stage") for each in under} == {None, *stages}
    for each in (run, *under):
        tags = [key for key in each.data.tags if not key.startswith("mlflow.")]
        assert (len(each.data.params) <= 25, len(each.data.metrics) <= 40, len(tags) <= 12) == (True, True, True)
        assert not [key for key in each.data.metrics if key.startswith("system/")]
    fitted = next(each for each in under if each.data.tags.get("variant") == "odd" and "stage" not in each.data.tags)
    finals = [key for key in fitted.data.metrics if not key.endswith("_by_step")]
    assert {point.step for key in finals for point in client.get_metric_history(fitted.info.run_id, key)} == {0}
    (model,) = client.get_run(fitted.info.run_id).outputs.model_outputs
    measured = {metric.key for metric in client.get_logged_model(model.model_id).metrics}
    assert {"1_test/f1_macro", "3_cost/latency_p50_ms"} <= measured
    assert len(client.get_run(run.info.run_id).outputs.model_outputs) == 2
    assert run.info.run_name.startswith(f"{run.data.tags['winner']} ships · main")
    kind = client.get_experiment(run.info.experiment_id).tags["mlflow.experimentKind"]
    assert kind == "custom_model_development"


def state_of(tracking: ModuleType, run: Any) -> str:
    """Digest of the weights that a run made."""
    return str(tracking.artifact_json(run.info.run_id, "lineage.json")["state_digest"])


def has_picture(tracking: ModuleType, run: Any, name: str) -> bool:
    return tracking.download(run.info.run_id, f"plots/{name}.png").stat().st_size > 1000


def test_four_labels_go_from_rows_to_the_service(store):
    """A task without a positive label would stop at the first threshold, or be served on the scale of two labels."""
    tracking, given = store
    main.run(make_request({**given, "data": "four.jsonl", "labels": "all", "name": "four", "variants": "odd"}))
    compared = only_run(tracking, experiment="four", stage="compare")
    winner = compared.data.tags["winner"]
    engine = open_engine(read_bundle(Path(given["home"]) / "bundles" / winner), Settings(graph="fp32"))
    assert sorted(engine.bundle.task.labels) == sorted(SIGNS)
    assert engine.bundle.task.kind == "multiclass"
    texts = ["we like rain", "i hate people", "a group of people and a group", "never never never", "12"]
    scorer = open_scorer(winner, "four")
    np.testing.assert_allclose(engine.score(texts), scorer.probabilities(texts), atol=1e-4)
    told = [engine.decision.answer(row) for row in engine.score(texts)]
    answers = scorer.classifier.answer(texts)
    assert [(one["label"], one["decision"]) for one in told] == [(answer.label, answer.decision) for answer in answers]
    check_what_is_shown(tracking, only_run(tracking, experiment="four", stage="main"))
    figures = tracking.figures_of(only_run(tracking, experiment="four", variant=winner, seed="0"))
    assert {f"test/f1_label_{name}" for name in SIGNS} <= set(figures)


def test_the_ablation_runs_to_its_end_with_every_loss(store):
    """The attention term alone needs a live teacher and eager attention: it would fail after all the others."""
    tracking, given = store
    ablated = ablation.run(make_request(given))
    run = only_run(tracking, stage="ablation")
    table = pd.read_csv(tracking.download(run.info.run_id, "tables/ablation.csv"))
    assert table["loss"].tolist() == ["odd", *(f"odd-{name}" for name in ablation.ABLATIONS)]
    assert table["validation/f1_macro"].between(0, 1).all()
    assert table["difference"].iloc[0] == 0
    assert has_picture(tracking, run, "ablation")
    assert "odd-with-attention" in ablated.text


def test_quality_against_latency_is_tuned_on_real_fits(store):
    """Depths that are not built, or a front of trials that nobody measured, would choose the wrong student."""
    tracking, given = store
    fit.run("odd", make_request({**given, "objective": "f1,latency", "trials": "4", "epochs": "2"}))
    run = only_run(tracking, stage="tuning")
    metrics, run_id = run.data.metrics, run.info.run_id
    table = pd.read_csv(tracking.download(run_id, "tables/trials.csv"))
    assert table["state"].tolist() == ["complete"] * 4
    assert (table["latency"] > 0).all()
    near = table[table["f1"] >= table["f1"].max() - 0.01]
    chosen = table[table["trial"] == int(run.data.tags["best_trial"])].iloc[0]
    assert metrics["tuning/best_latency"] == pytest.approx(chosen["latency"])
    assert chosen["latency"] == near["latency"].min()
    assert has_picture(tracking, run, "tuning_pareto")
    path = tracking.download(run_id, "tuned_odd.yaml")
    final = only_run(tracking, variant="odd", **{"mlflow.parentRunId": run_id})
    tuned = resolve_settings({"config": str(path), "epochs": "2"}, family="student", name="odd")
    assert tuned.variant.depth == chosen["variant.depth"]
    assert float(final.data.params["train.learning_rate"]) == tuned.train.learning_rate
    layers = tracking.artifact_json(final.info.run_id, "layer_map.json")["teacher_layers"]
    assert len(layers) == tuned.variant.depth


def test_fits_at_once_are_those_of_one_after_another(store):
    """How many run at once is a matter of time and cost: not of weights, of scores, or of where they are kept."""
    tracking, given = store
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        for jobs in ("1", "2"):
            study.run(make_request({**given, "variants": "odd,even,lora", "fresh": "true", "jobs": jobs, "seed": "5"}))
    finally:
        torch.set_num_threads(threads)
    at_once, before = tracking.find_runs({"stage": "study"})[:2]
    versions = []
    for name in ("teacher", "odd", "even", "lora"):
        new, old = tracking.find_runs({"variant": name, "seed": "5"})[:2]
        assert new.data.tags["mlflow.parentRunId"] == at_once.info.run_id
        assert old.data.tags["mlflow.parentRunId"] == before.info.run_id
        assert new.info.experiment_id == at_once.info.experiment_id
        assert state_of(tracking, new) == state_of(tracking, old)
        measured = [
            {
                key: value
                for key, value in tracking.figures_of(run).items()
                if key.startswith(("test/", "validation/", "floor/"))
            }
            for run in (new, old)
        ]
        assert measured[0] == measured[1]
        assert tracking.figures_of(new)["cost/latency_p50_ms"] > 0
        versions.append(new.data.tags["version"])
    assert len(set(versions)) == 4
    teacher = tracking.find_runs({"variant": "teacher", "seed": "5"})[0].info.run_id
    odd, even = (tracking.find_runs({"variant": name, "seed": "5"})[0] for name in ("odd", "even"))
    assert odd.data.tags["teacher_run_id"] == even.data.tags["teacher_run_id"] == teacher


@at_full_size
@pytest.mark.reliability
@pytest.mark.parametrize("how", ["ctrl-c", "killed"])
def test_fits_at_once_end_with_their_command(store, how):
    """Fits that went on alone would hold the machine, and versions nobody waits for would be registered."""
    tracking, given = store
    seed = {"ctrl-c": "21", "killed": "22"}[how]
    long = {**given, "variants": "lora", "jobs": "2", "seed": seed, "epochs": "1000", "train.patience": "1000"}
    root = Path(study.__file__).parents[3]
    command = [sys.executable, "-m", "pipelines", "study"]
    process = subprocess.Popen(
        [*command, *(word for key, value in long.items() for word in (f"--{key}", value))],
        env={**os.environ, "PYTHONPATH": f"{root}{os.pathsep}{root / 'src'}"},
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=hear_ctrl_c,
    )
    started: list[psutil.Process] = []
    try:
        left = {"(teacher", "(lora"}
        for line in process.stderr or ():
            left -= {name for name in left if name in line and "fitting" in line}
            if not left:
                break
        assert not left
        started = psutil.Process(process.pid).children(recursive=True)
        names = ([f"ray::teacher {seed}"], [f"ray::lora {seed}"])
        fitting = [child for child in started if child.cmdline()[:1] in names]
        assert len(fitting) == 2
        if how == "ctrl-c":
            os.killpg(process.pid, signal.SIGINT)
        else:
            process.kill()
        process.communicate(timeout=60)
        _, alive = psutil.wait_procs(fitting, timeout=60)
        assert not alive
    finally:
        for one in (process, *started):
            with suppress(psutil.NoSuchProcess):
                one.kill()
    tracking.close_interrupted()
    ended = [run for run in tracking.find_runs({"seed": seed}, finished=False) if "variant" in run.data.tags]
    assert {run.data.tags["variant"]: run.info.status for run in ended} == {"teacher": "KILLED", "lora": "KILLED"}
    assert not any("version" in run.data.tags for run in ended)
    if how == "ctrl-c":
        assert process.returncode == 130


def test_a_study_over_varied_splits_pairs_variants_within_each(store):
    """A teacher trained on another seed's test rows, or floors of another division, would flatter every student."""
    tracking, given = store
    varied = {**given, "variants": "odd", "seed": "30", "seeds": "2", "vary_split": "true"}  # seeds of no other test
    study.run(make_request(varied))
    runs = {name: [only_run(tracking, variant=name, seed=seed) for seed in ("30", "31")] for name in ("teacher", "odd")}
    digests = [run.data.tags["data_digest"] for run in runs["odd"]]
    assert digests == [run.data.tags["data_digest"] for run in runs["teacher"]]
    assert digests[0] != digests[1]
    teachers = [run.data.tags["teacher_run_id"] for run in runs["odd"]]
    assert teachers == [run.info.run_id for run in runs["teacher"]]
    rows = [
        set(np.load(tracking.download(run.info.run_id, "scores/test.npz"))["row_ids"].tolist()) for run in runs["odd"]
    ]
    assert rows[0] != rows[1]
    compared = only_run(tracking, stage="compare")
    text = tracking.artifact_text(compared.info.run_id, "comparison.md")
    floors = [tracking.figures_of(run)["floor/tfidf_f1_macro"] for run in runs["odd"]]
    assert f"{sum(floors) / 2:.3f}" in text
    compare.run(make_request(varied))
    again = only_run(tracking, stage="compare")
    assert again.info.run_id != compared.info.run_id
    files = [tracking.download(run.info.run_id, "tables/comparison.csv") for run in (again, compared)]
    tables = [pd.read_csv(file).sort_values("variant", ignore_index=True) for file in files]
    assert {"odd", "teacher"} <= set(tables[0]["variant"])
    pd.testing.assert_frame_equal(*tables)


def test_a_fit_with_counterexamples_is_mixed_with_the_fit_without(store):
    """Weights that are not where `augment_mix` says, or mixed with another fit's, are nobody's."""
    tracking, given = store
    named = {**given, "augment": "counterexamples", "data.augment_rows": "60", "variants": "odd"}
    study.run(make_request({**named, "data.augment_mix": "1e-9"}))
    for name in ("teacher", "odd"):
        (mixed,) = (run for run in tracking.find_runs({"variant": name}) if "plain_run_id" in run.data.tags)
        assert mixed.data.params["data.augment"] == "counterexamples"
        plain = tracking.get_run(mixed.data.tags["plain_run_id"])
        assert (plain.data.tags["variant"], "data.augment" in plain.data.params) == (name, False)
        weights, expected = (tracking.load_model(run.data.tags["model_uri"])[0].state_dict() for run in (mixed, plain))
        for key, value in weights.items():
            np.testing.assert_allclose(value, expected[key], atol=1e-6)
    (student,) = (run for run in tracking.find_runs({"variant": "odd"}) if "plain_run_id" in run.data.tags)
    teacher = tracking.get_run(student.data.tags["teacher_run_id"])
    plain_student = tracking.get_run(student.data.tags["plain_run_id"])
    assert plain_student.data.tags["teacher_run_id"] == teacher.data.tags["plain_run_id"]
    compared = only_run(tracking, stage="compare")
    assert "with 60 rows an epoch (4 sets, 0% of the mix) against none" in tracking.artifact_text(
        compared.info.run_id, "augmentation.txt"
    )


def test_a_study_of_adapters_and_draws_leaves_what_each_is_about(store):
    """A heat map, a chart of scores or a layer map that is not there cannot be asked for later."""
    tracking, given = store
    names = ("adalora", "lora_student", "hybrid", "importance", "random")
    study.run(make_request({**given, "variants": ",".join(names), "seeds": "2"}))
    runs = {name: only_run(tracking, variant=name, seed="0") for name in names}
    assert has_picture(tracking, runs["adalora"], "adapter_ranks")
    ranks = pd.read_csv(tracking.download(runs["adalora"].info.run_id, "tables/adapter_ranks.csv"))
    assert sorted(ranks["layer"].unique()) == [1, 2, 3, 4]
    assert 1 <= ranks["rank"].mean() < 12
    for name in ("hybrid", "importance"):
        assert has_picture(tracking, runs[name], "layer_importance")
        assert tracking.artifact_text(runs[name].info.run_id, "tables/layer_importance.csv")
    for name in ("adalora", "lora_student", "hybrid"):
        metrics = tracking.figures_of(runs[name])
        assert metrics["check/merged_max_abs_diff"] < 1e-3
        assert metrics["check/reloaded_max_abs_diff"] < 1e-3
        assert metrics["cost/adapter_mb"] > 0
        assert metrics["cost/trainable_share"] < 1
    for name in ("lora_student", "hybrid", "random"):
        layers = tracking.artifact_json(runs[name].info.run_id, "layer_map.json")["teacher_layers"]
        assert len(layers) == 2
    compared = only_run(tracking, stage="compare")
    found = pd.read_csv(tracking.download(compared.info.run_id, "tables/runs.csv"))
    assert found.groupby("variant").size().to_dict() == dict.fromkeys(("teacher", *names), 2)
