"""The study and the ablation: which fits they are made of, in which order, and what they say of the time left."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest

from evenodd.encoders.catalog import VARIANTS
from evenodd.encoders.importance import Importance
from evenodd.flow import study
from evenodd.flow.ablation import ABLATIONS, ablation_figure, ablation_plans
from evenodd.flow.adapters import sensitive_layers
from evenodd.flow.fit import seed_plans
from evenodd.flow.fit_variant import FittedRun
from evenodd.flow.plan import make_plan
from evenodd.flow.schedule import fits, places
from evenodd.settings import make_request, resolve_settings


class Clock:
    """Time that a test sets."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch):
    """Stands in for `time` in the study."""
    fake = Clock()
    monkeypatch.setattr(fits, "time", fake)
    return fake


def progress_of(total: int, clock: Clock) -> fits.Progress:
    return fits.Progress(total, _last=clock.now)


def test_time_left_is_that_of_what_is_left_at_the_pace_of_what_was_fitted(clock):
    """Runs that were reused cost nothing and would make the rest look quick."""
    progress = progress_of(30, clock)
    assert progress.line() == "1/30"
    clock.now += 1
    progress.advance(6, timed=0)
    clock.now += 240
    progress.advance(2, timed=2)
    assert progress.line() == "9/30 | 44 min left"


def test_time_left_counts_what_is_under_way(clock):
    """Of two fits at once, the one that ends first would make the rest look four times as long as it is."""
    progress = progress_of(4, clock)
    progress.places = 2
    for number in (0, 3):
        progress.begin(number)
    assert progress.line() == "3/4"
    clock.now += 240
    progress.advance(1, timed=1, number=0)
    assert progress.line() == "3/4 | 4 min left"
    progress.begin(1)
    clock.now += 60
    progress.advance(1, timed=1, number=3)
    assert progress.line() == "4/4 | 4 min left"


def test_a_study_names_the_teacher_once_and_refuses_what_it_does_not_know():
    """A teacher fitted twice, or a variant left out in silence, would make another comparison."""
    settings = resolve_settings({"variants": "odd,teacher,even,odd"})
    assert study.variant_names(settings) == ("teacher", "odd", "even")
    with pytest.raises(ValueError, match="variants=fast"):
        study.variant_names(resolve_settings({"variants": "odd,fast"}))


def test_students_of_all_seeds_share_the_teacher_that_the_study_fits():
    """Students of different teachers differ by more than their seed."""
    request = make_request({"seeds": "3", "epochs": "2"})
    nothing: Any = None
    plans, faults = study.study_plans(("teacher", "odd", "lora"), request, nothing, fits.Progress(9))
    assert not faults
    assert [(plan.variant.name, plan.settings.seed) for plan in plans] == [
        (name, seed) for seed in range(3) for name in ("teacher", "odd", "lora")
    ]
    fitted = plans[0].fingerprint("rows", "encoder")
    for plan in plans:
        if plan.variant.name == "odd":
            assert plan.teacher.fingerprint("rows", "encoder") == fitted


@pytest.mark.parametrize(("name", "value"), [("epochs", 2), ("learning_rate", 3e-5), ("train.max_rows", 32)])
def test_what_is_said_for_a_command_reaches_the_teacher_on_the_way(name, value):
    """`distill_odd -P epochs=1` would train three epochs of the teacher, which is most of the time."""
    plan = make_plan("odd", make_request({name: str(value)}))
    assert plan.teacher is not None
    for settings in (plan.settings, plan.teacher.settings):
        assert getattr(settings.train, name.rpartition(".")[2]) == value
    alone = make_plan("teacher", make_request({name: str(value)}))
    assert plan.teacher.fingerprint("rows", "encoder") == alone.fingerprint("rows", "encoder")


def test_what_is_said_for_the_teacher_is_the_teachers_alone(tmp_path):
    """A student that trains longer because its teacher does, or the reverse, is another experiment."""
    path = tmp_path / "settings.yaml"
    path.write_text("teacher: {epochs: 7}", encoding="utf-8")
    for said in ({"teacher.epochs": "7", "epochs": "2"}, {"teacher.epochs": 7, "epochs": 2}):
        plan = make_plan("odd", make_request(said))
        assert (plan.teacher.settings.train.epochs, plan.settings.train.epochs) == (7, 2)
        assert make_plan("teacher", make_request(said)) == plan.teacher
    plan = make_plan("odd", make_request({"config": str(path)}))
    assert (plan.teacher.settings.train.epochs, plan.settings.train.epochs) == (7, 4)
    with pytest.raises(ValueError, match=r"^teacher\.epochs='none'"):
        make_request({"teacher.epochs": "none"})


def test_with_varied_splits_every_seed_has_its_own_division_and_teacher():
    """A student of a teacher that was trained on its test rows knows them."""
    request = make_request({"seeds": "3", "epochs": "2", "vary_split": "true"})
    nothing: Any = None
    plans, _ = study.study_plans(("teacher", "odd", "lora"), request, nothing, fits.Progress(9))
    assert [plan.settings.data.split_seed for plan in plans] == [0, 0, 0, 1, 1, 1, 2, 2, 2]
    prints = [plan.fingerprint("rows", "encoder") for plan in plans]
    assert len(set(prints)) == 9
    assert [plan.teacher.fingerprint("rows", "encoder") for plan in plans if plan.teacher] == prints[::3]


def test_a_fit_with_counterexamples_knows_the_same_fit_without_them():
    """Mixed with the weights of another seed, or taught by a teacher that it does not share, it is no comparison."""
    said = {"seeds": "2", "augment": "counterexamples", "learning_rate": "3e-4"}
    nothing: Any = None
    plans, _ = study.study_plans(("teacher", "odd", "lora"), make_request(said), nothing, fits.Progress(6))
    without, _ = study.study_plans(
        ("teacher", "odd", "lora"), make_request(said | {"augment": "none"}), nothing, fits.Progress(6)
    )
    prints = [plan.fingerprint("rows", "encoder") for plan in without]
    assert [plan.plain.fingerprint("rows", "encoder") for plan in plans] == prints
    students = [plan for plan in plans if plan.teacher]
    assert all(plan.plain.teacher.fingerprint("rows", "encoder") == prints[0] for plan in students)
    assert all(plan.teacher.plain.fingerprint("rows", "encoder") == prints[0] for plan in students)
    assert all(plan.plain is None for plan in without)
    alone, _ = study.study_plans(("odd",), make_request(said | {"data.augment_mix": "1"}), nothing, fits.Progress(6))
    assert all(plan.plain is None for plan in alone)


def test_tuning_with_varied_splits_is_refused():
    """Its trials would be scored on rows that are test rows of another seed."""
    with pytest.raises(ValueError, match=r"^trials with vary_split"):
        resolve_settings({"vary_split": "true", "seeds": "2", "trials": "3"})
    with pytest.raises(ValueError, match=r"^vary_split needs several seeds"):
        resolve_settings({"vary_split": "true"})


def test_settings_of_counterexamples_do_not_matter_without_them():
    """Every plain fit would be made again beside each number of added rows."""
    nothing: Any = None
    said = {"data.augment_rows": "7", "data.augment_mix": "0.5"}
    found = [
        study.study_plans(("odd",), make_request(more), nothing, fits.Progress(1))[0][0].fingerprint("rows", "encoder")
        for more in ({}, said, said | {"augment": "counterexamples"})
    ]
    assert found[0] == found[1] != found[2]


def test_a_variant_with_rows_of_its_own_is_refused(tmp_path):
    """Its teacher would be fitted on rows that its own settings do not name."""
    path = tmp_path / "config.yaml"
    path.write_text("variants: {student: {data: {augment: none}}}")
    with pytest.raises(ValueError, match="student: data: all variants share their rows"):
        make_request({"config": str(path)})


@pytest.fixture
def fitted(monkeypatch) -> dict[str, list[str]]:
    """Fits that only note their names: those in `broken` fail, those in `finished` are there already."""
    seen: dict[str, list[str]] = {"fitted": [], "broken": [], "finished": []}
    names: dict[str, str] = {}

    def name_of(plan: Any) -> str:
        name = f"{plan.variant.name} {plan.settings.seed}"
        names[plan.fingerprint("rows", "files")] = name
        return name

    def found(name: str) -> Any:
        variant, _, seed = name.partition(" ")
        return FittedRun(f"run of {name}", "models:/x", "1", variant, int(seed))

    def fit(plan: Any, materials: Any, **how: bool) -> Any:
        name = name_of(plan)
        seen["fitted"].append(name)
        if name in seen["broken"]:
            raise RuntimeError("the training loss is nan")
        seen["finished"].append(name)
        return found(name)

    def find(fingerprint: str) -> Any:
        name = names.get(fingerprint, "")
        return found(name) if name in seen["finished"] else None

    monkeypatch.setattr(places, "fit_variant", fit)
    monkeypatch.setattr(fits, "find_fitted", find)
    monkeypatch.setattr(fits, "measure_latencies", lambda runs: None)
    monkeypatch.setattr(fits.tracking, "set_alias", lambda model, alias, version: None)
    seen["name_of"] = name_of  # type: ignore[assignment]
    return seen


def fits_of(names: tuple[str, ...], seen: Any) -> fits.Fits:
    """The fits of two seeds of these variants."""
    materials: Any = SimpleNamespace(corpus=SimpleNamespace(digest="rows"), encoder_digest="files", encoder="files")
    materials.under = lambda settings: materials
    plans, _ = study.study_plans(names, make_request({"seeds": "2", "jobs": "1"}), materials, fits.Progress(9))
    for plan in plans:
        seen["name_of"](plan)
    return fits.fit_plans(plans, materials, fits.Progress(len(plans)))


def test_a_variant_that_fails_does_not_stop_the_others_and_is_told_at_the_end(fitted, tracking, monkeypatch):
    """A fault in the 50th minute would cost the night, or a variant with a seed less would win on an easy one."""
    fitted["broken"].append("odd 1")
    came = fits_of(("teacher", "odd", "lora"), fitted)
    assert fitted["fitted"] == ["teacher 0", "odd 0", "lora 0", "teacher 1", "odd 1", "lora 1"]
    assert [run.run_id for run in came.complete] == [
        f"run of {name}" for name in ("teacher 0", "lora 0", "teacher 1", "lora 1")
    ]
    compared: list[list[str]] = []
    nothing = SimpleNamespace(text="", verdict=SimpleNamespace(winner=None), carry=lambda *about: None)
    monkeypatch.setattr(study, "compare_runs", lambda ids, *a, **k: compared.append(list(ids)) or nothing)
    unused: Any = None
    with (
        pytest.raises(RuntimeError, match=r"1 failed and 5 finished.*odd seed 1: the training loss is nan"),
        tracking.start_run("study", tags={}) as run_id,
    ):
        study.compare(came, unused, resolve_settings({}))
    assert compared == [[run.run_id for run in came.complete]]
    assert tracking.get_run(run_id).info.status == "FAILED"
    assert tracking.artifact_text(run_id, "faults.txt") == "odd seed 1: the training loss is nan"


def test_the_same_command_fits_only_what_is_missing(fitted):
    """A second start would pay for everything again."""
    fitted["finished"] += ["teacher 0", "odd 0", "lora 0", "teacher 1"]
    came = fits_of(("teacher", "odd", "lora"), fitted)
    assert fitted["fitted"] == ["odd 1", "lora 1"]
    assert len(came.complete) == 6


def test_students_are_not_tried_one_by_one_when_their_teacher_failed(fitted):
    """Each of them would fit the teacher anew, only to see it fail."""
    fitted["broken"].append("teacher 0")
    came = fits_of(("teacher", "odd", "even", "lora"), fitted)
    assert fitted["fitted"] == ["teacher 0", "lora 0", "teacher 1", "lora 1"]
    assert [run.variant for run in came.complete] == ["lora", "lora"]
    assert came.faults["even", "seed 1"] == "its teacher failed"


def test_every_ablation_changes_the_fit_and_nothing_but_what_it_names():
    """Two losses with one fingerprint would be one run counted twice."""
    plans = ablation_plans("odd", make_request({"seeds": "2"}))
    assert len(plans) == 2 * (1 + len(ABLATIONS))
    assert len({plan.fingerprint("rows", "encoder") for plan in plans}) == len(plans)
    whole = seed_plans("odd", make_request({"seeds": "2"}))[0].settings
    by_name = {plan.variant.name: plan.settings for plan in plans if plan.settings.seed == 0}
    soft_off = by_name["odd-without-soft"]
    assert soft_off.distill == whole.distill.model_copy(update={"soft_weight": 0.0})
    assert soft_off.train == whole.train
    assert not set(by_name) - {"odd"} & set(VARIANTS)


def test_an_ablation_that_would_repeat_the_whole_loss_is_left_out():
    """It would be reported as a term that adds nothing."""
    names = {plan.variant.name for plan in ablation_plans("odd", make_request({"distill.hidden_weight": "0"}))}
    assert "odd-without-hidden" not in names
    assert "odd-without-soft" in names


def test_the_ablation_figure_leaves_the_whole_loss_out():
    """A bar of zero for the whole loss reads like a term without effect."""
    table = pd.DataFrame({"loss": ["odd", "odd-without-soft"], "difference": [0.0, -0.02], "difference_sd": [0, None]})
    axes = ablation_figure(table).axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["odd-without-soft"]


def test_sensitive_layers_are_the_students_places_of_the_teachers_layers_that_matter():
    """Numbers of the teacher's layers would put adapters on layers that the student has not."""
    importance = Importance("influence", (0.1, 0.9, 0.3, 0.8, 0.7, 0.2), (2, 4, 5))
    assert sensitive_layers(importance, (1, 3, 5), None) == (3,)
    assert sensitive_layers(importance, (1, 3, 5), 2) == (2, 3)
    with pytest.raises(ValueError, match="sensitive=3"):
        sensitive_layers(importance, (1, 3, 5), 3)
