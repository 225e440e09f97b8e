"""Every setting has an effect: another fit, another step, or a refusal."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any, get_args

import pytest

from evenodd.encoders.catalog import VARIANTS
from evenodd.flow.entries import ENTRIES
from evenodd.flow.plan import Plan, make_plan
from evenodd.settings import Settings, field_paths, flatten, is_among, make_request

SOURCES = Path(__file__).resolve().parents[2] / "src" / "evenodd"
# Settings of a fit that do not decide what it gives: what they change is read where the name says.
NOT_THE_RESULT = {
    "data.source": "rows",
    "data.slices": "rows",
    "teacher.source": "flow/materials.py",
    "train.log_steps": "training",
    "distill.cache_budget_mb": "flow/build.py",
}
OTHER: dict[str, Any] = {
    "data.source": "reviews.csv",
    "data.slices": "region",
    "data.labels": "a,b",
    "data.positive": "b",
    "data.split_column": "part",
    "data.text_column": "words",
    "data.label_column": "kind",
    "data.group_columns": "author",
    "data.encoding": "cp1252",
    "data.revision": "main",
    "data.augment": "counterexamples",
    "data.augment_kinds": "threat",
    "name": "mine",
    "teacher.source": "folder",
    "teacher.revision": "main",
    "train.class_weight": "balanced",
    "train.dropout": 0.2,
    "lora.targets": "query",
    "variant.layers": "1,2",
    "evidence.suite": "none",
    "run.format": "csv",
}


def other_value(path: str) -> Any:
    """Another valid value than the default."""
    if path in OTHER:
        return OTHER[path]
    section, _, key = path.partition(".")
    model: Any = Settings.model_fields[section].annotation if key else Settings
    field, default = model.model_fields[key or section], flatten(Settings())[path]
    choices = [choice for choice in get_args(field.annotation) if isinstance(choice, str) and choice != default]
    if isinstance(default, bool):
        return not default
    if isinstance(default, int):
        return default + 7
    if isinstance(default, float):
        return default / 2 or 0.5
    return next(value for value in (*choices, "odd", 9, 0.5, "fp16", "f1,latency") if accepted(path, value))


def accepted(path: str, value: Any) -> bool:
    """Whether a setting takes the value."""
    try:
        return bool(make_request({path: value}))
    except ValueError:
        return False


def prints(said: dict[str, Any]) -> dict[str, str]:
    """Fingerprints of the variants, teachers and fits without added rows among them."""

    def all_of(plan: Plan) -> str:
        parts = [plan.fingerprint("rows", "encoder"), *(all_of(more) for more in (plan.teacher, plan.plain) if more)]
        return " ".join(parts)

    request = make_request(said)
    return {name: all_of(make_plan(name, request)) for name in VARIANTS}


@pytest.mark.parametrize("path", field_paths())
def test_a_setting_that_an_entry_point_of_a_fit_uses_makes_another_fit(path: str) -> None:
    """A setting that is recorded and does nothing is believed; one that does not tell fits apart mixes their runs."""
    base = {"data.augment": "counterexamples"} if path.startswith("data.augment_") else {}
    used = {name for name, variant in VARIANTS.items() if is_among(path, make_plan(name, make_request({})).used)}
    if path in NOT_THE_RESULT or not used:
        assert reads(path, SOURCES / NOT_THE_RESULT.get(path, "")), path
        return
    before, after = prints(base), prints(base | {path: other_value(path)})
    changed = {name for name in VARIANTS if before[name] != after[name]}
    assert used <= changed
    taught = {name for name, variant in VARIANTS.items() if variant.distilled}
    assert changed <= used | (taught if "teacher" in used else set())


@pytest.mark.parametrize("path", field_paths())
def test_a_setting_is_refused_by_the_entry_points_that_do_not_use_it(path: str) -> None:
    """It would be passed over in silence."""
    said = {path: other_value(path)} | ({"seeds": 2} if path == "evidence.vary_split" else {})
    for entry in ENTRIES.values():
        if is_among(path, entry.used(Settings())):
            assert path in entry.request(said).said
        else:
            with pytest.raises(ValueError, match="does not use it"):
                entry.request(said)


def reads(path: str, place: Path) -> bool:
    """Whether some source below a place, other than the settings' own, reads an attribute of this name."""
    files = [place] if place.is_file() else [file for file in place.rglob("*.py") if "settings" not in file.parts[-2:]]
    name = path.rpartition(".")[2]
    return any(
        isinstance(node, ast.Attribute) and node.attr == name
        for file in files
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
    )
