"""No student is distilled from a teacher that does no better than a guess."""

from __future__ import annotations

import re
from pathlib import Path
from types import ModuleType

import pytest
from finished_runs import Made, add_finished

from evenodd.console import main
from evenodd.flow.entries import ENTRIES
from evenodd.flow.materials import gather
from evenodd.flow.plan import make_plan
from evenodd.settings import make_request


def test_a_teacher_at_chance_is_refused_in_one_line(
    tracking: ModuleType, tiny_encoder: Path, rows_file: Path, tmp_path: Path, capsys
) -> None:
    """Hours would go into a student of nothing, whose scores look like any other's."""
    said = {
        "data": str(rows_file),
        "teacher": str(tiny_encoder),
        "home": str(tmp_path / "home"),
        "data.max_length": "64",
    }
    plan = make_plan("odd", make_request(said))
    materials = gather(plan.settings)
    assert plan.teacher
    fingerprint = plan.teacher.fingerprint(materials.corpus.digest, materials.encoder_digest)
    add_finished(tracking, materials.corpus, Made("teacher", skill=0.0), fingerprint=fingerprint)
    words = [f"{key}={value}" for key, value in said.items()]
    with pytest.raises(SystemExit) as left:
        main(["distill_odd", *words])
    told = capsys.readouterr().err
    (line,) = [line for line in told.splitlines() if line.startswith("distill_odd: ")]
    assert left.value.code == 2
    assert "does not beat the no-skill floor" in line
    assert "Traceback" not in told
    assert "odd" not in tracking.aliases("rows")
    (student,) = tracking.find_runs({"variant": "odd"}, finished=False)
    assert student.info.status == "FAILED"
    ((name, value),) = re.findall(r"-P (teacher\.(?:epochs|min_steps))=(\d+)", line)
    followed = make_plan("odd", ENTRIES["distill_odd"].request({**said, name: value}))
    assert followed.teacher
    setting = name.removeprefix("teacher.")
    before, after = (getattr(each.settings.train, setting) for each in (plan.teacher, followed.teacher))
    assert after == int(value) > before
    assert followed.teacher.fingerprint(materials.corpus.digest, materials.encoder_digest) != fingerprint
    assert followed.settings.train == plan.settings.train
