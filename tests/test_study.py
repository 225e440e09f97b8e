"""The study and the ablation: which fits they are made of, in which order, and what they say of the time left."""

from __future__ import annotations

import pandas as pd
import pytest

from evenodd.config import resolve_settings
from evenodd.variants.catalog import VARIANTS
from evenodd.variants.importance import Importance
from pipelines import study
from pipelines.ablation import ABLATIONS, ablation_figure, ablation_plans
from pipelines.adapters import sensitive_layers
from pipelines.fit import seed_plans


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
    monkeypatch.setattr(study, "time", fake)
    return fake


def progress_of(total: int, clock: Clock) -> study.Progress:
    return study.Progress(total, _started=clock.now)


def test_time_left_is_that_of_what_is_left_at_the_pace_of_what_was_fitted(clock):
    """Runs that were reused cost nothing and would make the rest look quick."""
    progress = progress_of(30, clock)
    assert progress.line() == "1/30"
    clock.now += 1
    progress.advance(6, timed=0)
    clock.now += 240
    progress.advance(2, timed=2)
    assert progress.line() == "9/30 | 44 min left"


def test_a_study_names_the_teacher_once_and_refuses_what_it_does_not_know():
    """A teacher fitted twice, or a variant left out in silence, would make another comparison."""
    settings = resolve_settings({"variants": "odd,teacher,even,odd"})
    assert study.variant_names(settings) == ("teacher", "odd", "even")
    with pytest.raises(ValueError, match="variants=fast"):
        study.variant_names(resolve_settings({"variants": "odd,fast"}))


def test_students_of_all_seeds_share_the_teacher_that_the_study_fits():
    """Students of different teachers differ by more than their seed."""
    parameters = {"seeds": "3", "epochs": "2"}
    plans = study.study_plans(("teacher", "odd", "lora"), parameters, None, study.Progress(9))
    assert [(plan.variant.name, plan.settings.seed) for plan in plans] == [
        (name, seed) for seed in range(3) for name in ("teacher", "odd", "lora")
    ]
    fitted = plans[0].fingerprint("rows", "encoder")
    for plan in plans:
        if plan.variant.name == "odd":
            assert plan.teacher.fingerprint("rows", "encoder") == fitted


def test_every_ablation_changes_the_fit_and_nothing_but_what_it_names():
    """Two losses with one fingerprint would be one run counted twice."""
    plans = ablation_plans("odd", {"seeds": "2"})
    assert len(plans) == 2 * (1 + len(ABLATIONS))
    assert len({plan.fingerprint("rows", "encoder") for plan in plans}) == len(plans)
    whole = seed_plans("odd", {"seeds": "2"})[0].settings
    by_name = {plan.variant.name: plan.settings for plan in plans if plan.settings.seed == 0}
    soft_off = by_name["odd-without-soft"]
    assert soft_off.distill == whole.distill.model_copy(update={"soft_weight": 0.0})
    assert soft_off.train == whole.train
    assert not set(by_name) - {"odd"} & set(VARIANTS)


def test_an_ablation_that_would_repeat_the_whole_loss_is_left_out():
    """It would be reported as a term that adds nothing."""
    names = {plan.variant.name for plan in ablation_plans("odd", {"distill.hidden_weight": "0"})}
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
