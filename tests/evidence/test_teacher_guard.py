"""No student is distilled from a teacher that does no better than a guess."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType

import pytest
from finished_runs import Made, add_finished

from evenodd.console import command
from evenodd.flow.fit import run
from evenodd.flow.materials import gather
from evenodd.flow.plan import make_plan


def test_a_teacher_at_chance_is_refused_in_one_line(
    tracking: ModuleType, tiny_encoder: Path, rows_file: Path, tmp_path: Path, monkeypatch, capsys
) -> None:
    """Hours would go into a student of nothing, whose scores look like any other's."""
    said = {"data": str(rows_file), "teacher": str(tiny_encoder), "home": str(tmp_path / "home")}
    plan = make_plan("odd", said)
    materials = gather(plan.settings)
    assert plan.teacher
    fingerprint = plan.teacher.fingerprint(materials.corpus.digest, materials.encoder_digest)
    add_finished(tracking, materials.corpus, Made("teacher", skill=0.0), fingerprint=fingerprint)
    words = [f"--{key}={value}" for key, value in said.items()]
    monkeypatch.setattr(sys, "argv", ["distill_odd", *words])
    with pytest.raises(SystemExit) as left:
        command("distill_odd", lambda parameters: run("distill_odd", parameters))
    told = capsys.readouterr().err
    (line,) = [line for line in told.splitlines() if line.startswith("distill_odd: ")]
    assert left.value.code == 2
    assert "does not beat the no-skill floor" in line
    assert "Traceback" not in told
    assert tracking.aliases("hate-speech") == {}
    (student,) = tracking.find_runs({"variant": "odd"}, finished=False)
    assert student.info.status == "FAILED"
