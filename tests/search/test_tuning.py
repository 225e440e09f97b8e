"""Tuning: search spaces, studies that are resumed and shared, trials that fail or are pruned."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import optuna
import pytest
import yaml
from optuna.trial import TrialState
from postgres_server import postgres_server

from evenodd import search
from evenodd.encoders.catalog import VARIANTS
from evenodd.report.study_plots import study_figures
from evenodd.search import storage as storage_module
from evenodd.search import study as study_module
from evenodd.settings import Settings, flatten, resolve_settings

SPACE = {"train.learning_rate": optuna.distributions.FloatDistribution(1e-5, 1e-1, log=True)}


def score(number: int, settings: dict[str, Any], report: search.Report) -> tuple[float, ...]:
    """Best near a learning rate of 1e-3."""
    return (1 / (1 + abs(float(settings["train.learning_rate"]) - 1e-3)),)


def open_at(path: Path, name: str = "odd-1", **more: Any) -> optuna.Study:
    return search.open_study(name, f"sqlite:///{path / 'optuna.db'}", seed=0, **more)


@pytest.mark.parametrize("name", VARIANTS)
def test_every_setting_that_is_searched_exists_and_takes_the_whole_range(name):
    """A space with a name or value that settings refuse would fail every trial."""
    variant = VARIANTS[name]
    for path, distribution in search.search_space(variant, depth=3).items():
        values = getattr(distribution, "choices", None) or (distribution.low, distribution.high)
        if isinstance(distribution, optuna.distributions.FloatDistribution):
            values = (*values, distribution.low + 0.37 * (distribution.high - distribution.low))
        for value in values:
            settings = resolve_settings({path: str(value)}, family=variant.family, name=name)
            assert str(flatten(settings)[path]) == str(value) or float(flatten(settings)[path]) == float(value)


def test_a_given_setting_is_not_searched():
    """Tuning would overrule the user."""
    space = search.search_space(VARIANTS["odd"], said={"train.learning_rate"})
    assert "train.learning_rate" not in space
    assert "distill.temperature" in space


@pytest.mark.parametrize(
    ("objective", "name"), [(("latency",), "odd"), (("f1", "latency"), "lora"), (("f1", "f1"), "odd")]
)
def test_objectives_that_cannot_be_searched_are_refused(objective, name):
    """A study would run for hours and say nothing."""
    with pytest.raises(ValueError, match="objective="):
        search.check_objective(objective, VARIANTS[name])


def test_ranges_are_widened_to_hold_the_settings_as_given():
    """The first trial would not be what it is called, and tuned settings could be worse than those given."""
    given = {"train.learning_rate": 0.02, "train.epochs": 1, "train.class_weight": 3.0, "train.weight_decay": 0.3}
    space = search.search_space(VARIANTS["odd"], given=given)
    assert space["train.learning_rate"].high == 0.02
    assert space["train.epochs"].low == 1
    assert space["train.class_weight"].choices == ("none", "sqrt", "balanced", 3.0)
    assert (space["train.weight_decay"].low, space["train.weight_decay"].high) == (0, 0.3)
    for variant in VARIANTS.values():
        flat = flatten(resolve_settings({}, family=variant.family))
        assert search.search_space(variant, given=flat) == search.search_space(variant)


def test_study_name_depends_on_all_that_trials_depend_on():
    """Trials of other rows or another space would be counted as this study's."""
    names = {
        search.study_name("odd", "a", SPACE, ("f1",)),
        search.study_name("odd", "b", SPACE, ("f1",)),
        search.study_name("odd", "a", {}, ("f1",)),
        search.study_name("odd", "a", SPACE, ("f1", "latency")),
    }
    assert len(names) == 4
    assert search.study_name("odd", "a", SPACE, ("f1",)) in names


def test_an_interrupted_study_resumes_and_ends_like_an_uninterrupted_one(tmp_path):
    """Finished trials would be run again, or the draws after them would differ."""
    whole = open_at(tmp_path, "whole")
    search.run_trials(whole, SPACE, 12, score)
    search.run_trials(open_at(tmp_path, "parts"), SPACE, 5, score)
    calls = []
    search.run_trials(open_at(tmp_path, "parts"), SPACE, 12, lambda *a: calls.append(a[0]) or score(*a))
    assert calls == list(range(5, 12))
    parts = open_at(tmp_path, "parts")
    assert [t.params for t in parts.trials] == [t.params for t in whole.trials]


def test_tuning_never_ends_below_the_settings_as_given(tmp_path):
    """The first trial has the settings as given, so the best cannot be worse."""
    study = open_at(tmp_path)
    search.enqueue_given(study, SPACE, flatten(Settings()))
    assert search.run_trials(study, SPACE, 1, score) == 1
    search.enqueue_given(study, SPACE, flatten(Settings()))
    assert search.run_trials(study, SPACE, 3, score) == 2
    assert sum(search.GIVEN in trial.user_attrs for trial in study.trials) == 1
    assert study.trials[0].params["train.learning_rate"] == Settings().train.learning_rate
    given = search.given_trial(study)
    assert given == study.trials[0]
    assert search.best_trial(study).value >= given.value


def test_a_lucky_trial_gives_way_to_one_that_holds_under_other_seeds(tmp_path):
    """The best of many trials on one seed owes its place to that seed."""
    scores = iter([0.70, 0.74, 0.60, 0.73, 0.72])
    study = open_at(tmp_path)
    search.enqueue_given(study, SPACE, flatten(Settings()))
    search.run_trials(study, SPACE, 5, lambda number, settings, report: (next(scores),))
    assert search.best_trial(study).number == 1
    assert [trial.number for trial in search.finalists(study)] == [1, 3, 0]
    for number, found in ((1, (0.68, 0.70)), (3, (0.73, 0.71)), (0, (0.69, 0.71))):
        for seed, value in enumerate(found, start=1):
            search.keep_confirmation(study, study.trials[number], seed, value)
    assert search.confirmed_means(study) == pytest.approx({0: 0.70, 1: 0.69, 3: 0.72})
    assert search.best_trial(open_at(tmp_path)).number == 3
    table = search.trials_table(study, ("f1",)).set_index("trial")
    assert table["confirmed_f1"].dropna().to_dict() == pytest.approx({0: 0.70, 1: 0.69, 3: 0.72})
    search.keep_confirmation(study, study.trials[0], 2, 0.99)
    assert search.best_trial(study).number == 0, "the settings as given can win"
    search.keep_confirmation(study, study.trials[0], 3, 0.10)
    assert list(search.confirmed_means(study)) == [0], "means over other seeds do not compare"


def test_nothing_is_confirmed_where_nothing_beat_the_settings_as_given(tmp_path):
    scores = iter([0.75, 0.74, 0.60])
    study = open_at(tmp_path)
    search.enqueue_given(study, SPACE, flatten(Settings()))
    search.run_trials(study, SPACE, 3, lambda number, settings, report: (next(scores),))
    assert search.finalists(study) == []
    assert search.confirmed_means(study) == {}
    assert search.best_trial(study) == search.given_trial(study)


def test_a_failed_trial_is_failed_and_keeps_its_fault(tmp_path):
    """A score of 0 would teach the sampler something that is not true."""

    def faulty(number: int, settings: dict[str, Any], report: search.Report) -> tuple[float, ...]:
        if number % 2:
            raise RuntimeError("the loss is not a number")
        return score(number, settings, report)

    study = open_at(tmp_path)
    search.run_trials(study, SPACE, 4, faulty)
    assert [t.state for t in study.trials] == [TrialState.COMPLETE, TrialState.FAIL] * 2
    table = search.trials_table(study, ("f1",))
    assert table["fault"].dropna().tolist() == ["the loss is not a number"] * 2
    assert table.loc[table["state"] == "fail", "f1"].isna().all()


def test_a_study_in_which_every_trial_fails_says_so(tmp_path):
    """The final fit would run with settings that nobody chose."""

    def broken(number: int, settings: dict[str, Any], report: search.Report) -> tuple[float, ...]:
        raise ValueError("no rows")

    with pytest.raises(RuntimeError, match=r"no trial was completed\. no rows"):
        search.run_trials(open_at(tmp_path), SPACE, 2, broken)


def test_a_fault_of_the_program_is_not_a_failed_trial(tmp_path):
    """A wrong name in the code would look like thirty unlucky trials."""

    def broken(number: int, settings: dict[str, Any], report: search.Report) -> tuple[float, ...]:
        raise AttributeError("no such thing")

    with pytest.raises(AttributeError):
        search.run_trials(open_at(tmp_path), SPACE, 2, broken)


def test_hopeless_trials_are_pruned_after_an_epoch_that_is_below_the_median(tmp_path):
    """Pruning by another number than the reported one would stop good trials."""

    def by_epoch(number: int, settings: dict[str, Any], report: search.Report) -> tuple[float, ...]:
        quality = 0.8 if number < 6 else 0.2
        for epoch in (1, 2, 3):
            report(quality, epoch)
        return (quality,)

    study = open_at(tmp_path)
    search.run_trials(study, SPACE, 8, by_epoch)
    assert [t.state for t in study.trials] == [TrialState.COMPLETE] * 6 + [TrialState.PRUNED] * 2
    assert max(study.trials[-1].intermediate_values) == 2


def test_two_objectives_keep_the_front_and_choose_the_fast_one_that_is_nearly_best(tmp_path):
    """A slow trial would win by a hair."""
    space = {"variant.depth": optuna.distributions.IntDistribution(1, 6)}

    def both(number: int, settings: dict[str, Any], report: search.Report) -> tuple[float, ...]:
        depth = settings["variant.depth"]
        return (0.80 + 0.004 * min(depth, 3) - (0.2 if depth == 1 else 0), float(depth))

    study = open_at(tmp_path, objective=("f1", "latency"))
    search.run_trials(study, space, 20, both)
    assert {t.params["variant.depth"] for t in study.best_trials} == {1, 2, 3}
    assert search.best_trial(study).params == {"variant.depth": 2}
    figures = study_figures(study)
    assert {"tuning_history", "tuning_parallel", "tuning_pareto", "tuning_importances"} <= figures.keys()


def test_the_best_settings_come_back_from_their_file_for_their_variant_alone(tmp_path):
    """A file that config= refuses, or that changes the teacher too, would make another model than the tuned one."""
    study = open_at(tmp_path)
    search.run_trials(study, SPACE, 4, score)
    path = tmp_path / "best.yaml"
    base = tmp_path / "base.yaml"
    base.write_text("train: {epochs: 7}\nvariants: {odd: {train: {learning_rate: 0.5}}, even: {seed: 3}}\n")
    path.write_text(search.best_yaml(study, "odd", base))
    best = search.best_trial(study).params["train.learning_rate"]
    alone = yaml.safe_load(search.best_yaml(study, "odd"))
    assert alone == {"variants": {"odd": {"train": {"learning_rate": best}}}}
    tuned = resolve_settings({"config": str(path)}, family="student", name="odd")
    other = resolve_settings({"config": str(path)}, family="teacher", name="teacher")
    assert (tuned.train.learning_rate, tuned.train.epochs) == (best, 7)
    assert resolve_settings({"config": str(path)}, family="student", name="even").seed == 3
    assert other.train.learning_rate == resolve_settings({}, family="teacher").train.learning_rate


def _work(url: str, count: int, out: Any) -> None:
    def slow(number: int, settings: dict[str, Any], report: search.Report) -> tuple[float, ...]:
        out.put((os.getpid(), number))
        time.sleep(0.3)
        return score(number, settings, report)

    search.run_trials(search.open_study("shared", url, seed=0), SPACE, count, slow)


def _share(url: str, count: int = 8) -> tuple[optuna.Study, list[tuple[int, int]]]:
    context = multiprocessing.get_context("spawn")
    out: Any = context.Queue()
    workers = [context.Process(target=_work, args=(url, count, out)) for _ in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(240)
    assert [worker.exitcode for worker in workers] == [0, 0]
    done = []
    while not out.empty():
        done.append(out.get())
    return search.open_study("shared", url, seed=0), done


def _assert_shared(study: optuna.Study, done: list[tuple[int, int]]) -> None:
    numbers = [number for _, number in done]
    assert sorted(numbers) == list(range(len(study.trials)))
    assert 8 <= len(study.trials) <= 9
    assert all(trial.state == TrialState.COMPLETE for trial in study.trials)
    draws = [trial.params["train.learning_rate"] for trial in study.trials]
    assert len(set(draws)) == len(draws)


@pytest.mark.slow
def test_two_processes_share_one_sqlite_study(tmp_path):
    """Workers would repeat each other's trials, draw alike, or lock each other out."""
    study, done = _share(f"sqlite:///{tmp_path / 'shared.db'}")
    _assert_shared(study, done)


@pytest.mark.slow
def test_a_trial_whose_process_was_killed_is_not_waited_for(tmp_path):
    """The study would wait for ever for a trial that nobody runs, or count it."""
    url = f"sqlite:///{tmp_path / 'killed.db'}"
    context = multiprocessing.get_context("spawn")
    out: Any = context.Queue()
    worker = context.Process(target=_stall, args=(url, out))
    worker.start()
    out.get(timeout=240)
    os.kill(worker.pid, signal.SIGKILL)
    worker.join(30)
    study = search.open_study("killed", url, seed=0)
    assert study.trials[0].state == TrialState.FAIL
    search.run_trials(study, SPACE, 3, score)
    assert sum(trial.state == TrialState.COMPLETE for trial in study.trials) == 3


def _stall(url: str, out: Any) -> None:
    def forever(number: int, settings: dict[str, Any], report: search.Report) -> tuple[float, ...]:
        out.put(number)
        time.sleep(600)
        return (0.0,)

    search.run_trials(search.open_study("killed", url, seed=0), SPACE, 3, forever)


def give_up(study: optuna.Study, number: int) -> None:
    """What another worker does when it has heard nothing of a trial's process for too long."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(study_module, "_process_is_gone", lambda name: True)
        search.fail_interrupted(study)
    assert study.trials[number].state == TrialState.FAIL


@pytest.mark.parametrize("how", ["reports", "returns", "fails"])
def test_a_worker_that_was_taken_for_dead_goes_on_without_its_trial(tmp_path, caplog, how):
    """Woken after three minutes, it crashed on `tell`, or its trial counted although another was run for it."""
    given_up: list[int] = []

    def woken(number: int, settings: dict[str, Any], report: search.Report) -> tuple[float, ...]:
        if number == 1:
            give_up(open_at(tmp_path), number)
            given_up.append(number)
            if how == "reports":
                report(0.5, 1)
            if how == "fails":
                raise RuntimeError("the connection was closed meanwhile")
        return score(number, settings, report)

    study = open_at(tmp_path)
    with caplog.at_level("WARNING", logger="evenodd"):
        assert search.run_trials(study, SPACE, 3, woken) == 3
    assert given_up == [1]
    states = [trial.state for trial in study.trials]
    assert states == [TrialState.COMPLETE, TrialState.FAIL, TrialState.COMPLETE, TrialState.COMPLETE]
    assert "fault" not in study.trials[1].user_attrs
    told = [record.message for record in caplog.records if "trial 1" in record.message]
    assert told == ["trial 1 was given up while this process was stopped: its result is ignored"]


def test_the_settings_as_given_are_tried_again_when_their_trial_was_interrupted(tmp_path):
    """Tuning could end below the settings as given, only because a machine was lost."""

    def lost(number: int, settings: dict[str, Any], report: search.Report) -> tuple[float, ...]:
        if number == 0:
            give_up(open_at(tmp_path), number)
        return score(number, settings, report)

    study = open_at(tmp_path)
    search.enqueue_given(study, SPACE, flatten(Settings()))
    search.run_trials(study, SPACE, 2, lost)
    given = search.given_trial(study)
    assert given is not None
    assert given.number == 1
    assert given.params == study.trials[0].params
    assert sum(search.GIVEN in trial.user_attrs for trial in study.trials) == 2


def _until_told(url: str, out: Any) -> None:
    """A worker whose first trial lasts until it is told to go on."""
    _short_silence()

    def slow(number: int, settings: dict[str, Any], report: search.Report) -> tuple[float, ...]:
        out.put(number)
        if number == 0:
            time.sleep(2)
        return score(number, settings, report)

    search.run_trials(search.open_study("stopped", url, seed=0), SPACE, 3, slow)


def _short_silence() -> None:
    storage_module.HEARTBEAT_SECONDS, storage_module.STALE_SECONDS = 1, 3


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["sqlite", "proxy"])
def test_a_worker_that_is_stopped_and_continued_neither_crashes_nor_counts_twice(tmp_path, monkeypatch, kind):
    """Its heartbeat stops, another worker runs a trial in its place, and then it is there again."""
    monkeypatch.setattr(storage_module, "HEARTBEAT_SECONDS", 1)
    monkeypatch.setattr(storage_module, "STALE_SECONDS", 3)
    url = f"sqlite:///{tmp_path / 'stopped.db'}"
    if kind == "proxy":
        pytest.importorskip("grpc", reason="grpcio is not installed: make install")
        url = storage_module._serve(url, "127.0.0.1")
    context = multiprocessing.get_context("spawn")
    out: Any = context.Queue()
    worker = context.Process(target=_until_told, args=(url, out))
    worker.start()
    try:
        assert out.get(timeout=240) == 0
        os.kill(worker.pid, signal.SIGSTOP)
        study = search.open_study("stopped", url, seed=0)
        search.run_trials(study, SPACE, 3, score)
        assert study.trials[0].state == TrialState.FAIL
    finally:
        os.kill(worker.pid, signal.SIGCONT)
    worker.join(60)
    assert worker.exitcode == 0
    states = [trial.state for trial in study.trials]
    assert states == [TrialState.FAIL] + [TrialState.COMPLETE] * 3


@pytest.mark.slow
def test_two_processes_share_a_study_through_a_proxy(tmp_path):
    """Workers on other machines cannot open a SQLite file of this one."""
    pytest.importorskip("grpc", reason="grpcio is not installed: make install")
    url = f"sqlite:///{tmp_path / 'shared.db'}"
    proxy = search.shared_url(url, 2, "127.0.0.1")
    assert proxy.startswith("grpc://127.0.0.1:")
    study, done = _share(proxy)
    _assert_shared(study, done)
    assert len(search.open_study("shared", url, seed=0).trials) == len(study.trials)


def test_a_proxy_is_used_where_workers_cannot_open_the_database_or_are_many(monkeypatch):
    """Workers elsewhere would each create a study in a file of their own."""
    monkeypatch.setattr(storage_module, "_serve", lambda url, host: f"grpc://{host}:1")
    monkeypatch.setattr(storage_module, "find_spec", lambda name: object())
    file, server, many = "sqlite:///a.db", "postgresql+psycopg://x/y", storage_module.DIRECT_WORKERS + 1
    assert search.shared_url(file, 2) == file
    assert search.shared_url(file, 2, "10.0.0.1") == "grpc://10.0.0.1:1"
    assert search.shared_url(file, many) == "grpc://127.0.0.1:1"
    assert search.shared_url(server, 2, "10.0.0.1") == server
    assert search.shared_url(server, many, "10.0.0.1") == "grpc://10.0.0.1:1"
    assert search.shared_url("grpc://a:1", many, "10.0.0.1") == "grpc://a:1"
    monkeypatch.setattr(storage_module, "find_spec", lambda name: None)
    assert search.shared_url(server, many, "10.0.0.1") == server
    with pytest.raises(RuntimeError, match=r"workers on other machines cannot open this file.*evenodd\[ray\]"):
        search.shared_url(file, 2, "10.0.0.1")


def test_a_database_that_cannot_be_opened_is_reported_without_its_password():
    """A password would end up in a log."""
    with pytest.raises(RuntimeError, match="cannot be opened") as caught:
        search.open_study("x", "postgresql+psycopg://me:secret-word@127.0.0.1:1/none", seed=0)
    assert "secret-word" not in str(caught.value)


@pytest.fixture
def postgres_url() -> Iterator[str]:
    """A separate server; see postgres_server.py."""
    pytest.importorskip("psycopg", reason="psycopg is not installed: pip install 'psycopg[binary]'")
    with postgres_server() as folder:
        yield f"postgresql+psycopg://evenodd@/postgres?host={folder}"


@pytest.mark.postgres
@pytest.mark.slow
def test_two_processes_share_one_postgresql_study(postgres_url):
    """What holds for SQLite's locks may not hold for a server's."""
    study, done = _share(postgres_url)
    _assert_shared(study, done)
