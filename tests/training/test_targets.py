"""Cached teacher targets: equal to a live forward pass, kept apart by teacher, there whole or not at all."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from release_models import BUILDERS
from training_rows import random_store, still_model
from transformers import PreTrainedModel

from evenodd.encoders import init_student, state_digest
from evenodd.rows import TokenStore
from evenodd.settings import DistillSettings
from evenodd.training import DistillObjective, JoinedTargets, target_megabytes, targets, teacher_targets
from evenodd.training.predict import sorted_rows

# Of a value stored as float16: half a unit in the last of its 11 bits.
FLOAT16 = 2.0**-11


@pytest.mark.parametrize("family", BUILDERS)
def test_cached_targets_are_a_live_forward_pass(family: str, tmp_path: Path) -> None:
    """A row read back at another's place would teach noise. Logits to float32's rounding, states to float16's."""
    teacher, store = still_model(family, depth=4), random_store(40)
    before = state_digest(teacher.state_dict())
    cached = teacher_targets(teacher, store, tmp_path, "fp32")
    rows, layers = np.array([17, 3, 39, 0]), (2, 4)
    found = cached.fields(rows, layers)
    for place, row in enumerate(rows):
        logits, states = _live(teacher, store, row)
        torch.testing.assert_close(found["teacher_logits"][place], logits, rtol=1e-5, atol=2e-5)
        expected = torch.stack([states[layer] for layer in layers])
        torch.testing.assert_close(found["teacher_hidden"][place], expected, rtol=FLOAT16, atol=2e-5)
    assert found["teacher_hidden"].dtype == torch.float32
    assert state_digest(teacher.state_dict()) == before


def test_two_teachers_each_teach_their_own_rows(tmp_path: Path) -> None:
    """Targets that lie one row off, or come from the wrong teacher, would teach what the data does not say."""
    one, two = still_model("bert", depth=4), still_model("bert", depth=4, seed=1)
    data, added = random_store(6), random_store(5, seed=1)
    first, rest = (teacher_targets(*about, tmp_path, "fp32") for about in ((one, data), (two, added)))
    found = JoinedTargets(first, rest).fields(np.array([8, 2, 6, 5, 0, 10]), (2, 4))
    for place, (targets_of, row) in enumerate([(rest, 2), (first, 2), (rest, 0), (first, 5), (first, 0), (rest, 4)]):
        expected = targets_of.fields(np.array([row]), (2, 4))
        for name, values in found.items():
            assert torch.equal(values[place], expected[name][0])
    assert set(JoinedTargets(first, rest).fields(np.array([1, 2]), (2,))) == set(found)


def test_the_loss_is_the_same_cached_and_live(tmp_path: Path) -> None:
    """The cache may save time, not change what is minimised."""
    teacher, store = still_model(depth=4), random_store(30)
    student = init_student(still_model(depth=4, seed=5), (1, 3)).model
    settings = DistillSettings()
    rows = np.array([4, 9, 2, 21])
    batch = store.collate(rows, 1) | {"labels": torch.tensor([0, 1, 1, 0])}
    stored = DistillObjective(settings, (1, 3), targets=teacher_targets(teacher, store, tmp_path, "fp32"))
    live = DistillObjective(settings, (1, 3), teacher=teacher)
    cached_terms, _ = stored.terms(student, batch | stored.fields(rows))
    live_terms, _ = live.terms(student, batch | live.fields(rows))
    assert set(cached_terms) == set(live_terms) == {"soft", "label", "hidden"}
    for name, term in live_terms.items():
        torch.testing.assert_close(cached_terms[name], term, rtol=1e-3, atol=1e-4)


def test_targets_are_computed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Odd, even and every seed share them; a second pass would double what they save."""
    teacher, store = still_model(), random_store(10)
    first = teacher_targets(teacher, store, tmp_path, "fp32")
    monkeypatch.setattr(teacher, "forward", _refuse)
    again = teacher_targets(teacher, store, tmp_path, "fp32")
    np.testing.assert_array_equal(first.logits, again.logits)
    np.testing.assert_array_equal(first.hidden, again.hidden)


def test_another_teacher_other_rows_or_precision_get_their_own(tmp_path: Path) -> None:
    """The targets of a teacher that was fitted again would be the old one's."""
    teacher, store = still_model(), random_store(10)
    teacher_targets(teacher, store, tmp_path, "fp32")
    with torch.no_grad():
        teacher.classifier.bias[0] += 1
    changed = teacher_targets(teacher, store, tmp_path, "fp32")
    assert changed.logits[0, 0] == pytest.approx(float(_live(teacher, store, 0)[0][0]), abs=1e-4)
    teacher_targets(teacher, random_store(10, seed=1), tmp_path, "fp32")
    teacher_targets(teacher, store, tmp_path, "bf16")
    assert len(list(tmp_path.glob("targets-*"))) == 4


def test_an_interrupted_pass_leaves_nothing_and_is_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Half a cache taken for a whole one would hold zeros for the rest."""
    teacher, store = still_model(), random_store(200)
    whole = teacher_targets(teacher, store, tmp_path / "apart", "fp32")
    _interrupt(teacher, store, tmp_path / "cache", monkeypatch)
    assert [path.name for path in (tmp_path / "cache").iterdir()] == [".locks"]
    again = teacher_targets(teacher, store, tmp_path / "cache", "fp32")
    np.testing.assert_allclose(again.logits, whole.logits, atol=1e-5)
    np.testing.assert_allclose(again.hidden, whole.hidden, atol=2e-3)
    (left,) = (tmp_path / "cache").glob("targets-*")
    assert sorted(path.name for path in left.iterdir()) == ["hidden.npy", "logits.npy", "sealed.json"]


SHARING = """
import sys, time
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from training_rows import random_store, still_model
from evenodd.training import targets
targets.TOKEN_BUDGETS = {"cpu": 64}
teacher, calls = still_model(), []
forward = teacher.forward
def slow(*args, **about):
    calls.append(1)
    time.sleep(0.1)
    if sys.argv[3] == "dies" and len(calls) == 3:
        import os
        os.kill(os.getpid(), 9)
    return forward(*args, **about)
teacher.forward = slow
print("ready", flush=True)
sys.stdin.readline()
found = targets.teacher_targets(teacher, random_store(200), Path(sys.argv[2]), "fp32")
print(len(calls), float(abs(found.logits).sum()), flush=True)
"""


@pytest.mark.parametrize("second", ["lives", "dies"])
def test_of_two_students_one_does_the_pass(tmp_path: Path, second: str) -> None:
    """Students that are fitted at once would run the teacher twice; one that is killed must not stop the other."""
    command = [sys.executable, "-c", SHARING, str(Path(__file__).parents[1]), str(tmp_path / "cache")]
    both = [
        subprocess.Popen([*command, how], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for how in ("lives", second)
    ]
    assert [process.stdout.readline() if process.stdout else "" for process in both] == ["ready\n"] * 2
    for process in both:
        if process.stdin:
            process.stdin.write("\n")
            process.stdin.flush()
    told = [process.communicate()[0].split() for process in both]
    expected = teacher_targets(still_model(), random_store(200), tmp_path / "apart", "fp32")
    calls, batches = [int(words[0]) for words in told if words], len(sorted_rows(random_store(200), 64))
    if second == "lives":
        assert sorted(calls) == [0, batches]
    else:  # it died in its third batch, or found the pass done
        assert sorted(process.returncode for process in both) in ([-9, 0], [0, 0])
        assert max(calls) == batches
    for words in told:
        assert not words or float(words[1]) == pytest.approx(float(np.abs(expected.logits).sum()), rel=1e-5)
    assert len(list((tmp_path / "cache").glob("targets-*"))) == 1


def test_a_state_that_float16_cannot_hold_is_an_error(tmp_path: Path) -> None:
    """Infinity as a target turns the hidden term into no number, many steps later."""
    teacher = still_model()
    with torch.no_grad():
        teacher.bert.encoder.layer[0].output.LayerNorm.bias[0] = 1e5
    with pytest.raises(RuntimeError, match=r"does not fit float16.*cache_budget_mb=0"):
        teacher_targets(teacher, random_store(6), tmp_path, "fp32")
    assert not list(tmp_path.glob("targets-*"))


def test_the_size_is_known_before(tmp_path: Path) -> None:
    """The budget decides on the estimate."""
    teacher, store = still_model(depth=4), random_store(500)
    teacher_targets(teacher, store, tmp_path, "fp32")
    written = sum(path.stat().st_size for path in tmp_path.rglob("*.npy"))
    assert target_megabytes(teacher, len(store)) * 1e6 == pytest.approx(written, rel=0.01)


def _live(teacher: PreTrainedModel, store: TokenStore, row: int) -> tuple[torch.Tensor, dict[int, torch.Tensor]]:
    """Logits and the first token's state after each layer, from 1, of one row alone."""
    with torch.inference_mode():
        output = teacher.eval()(torch.from_numpy(store.ids(row).astype(np.int64))[None], output_hidden_states=True)
    return output.logits[0], {number: state[0, 0] for number, state in enumerate(output.hidden_states) if number}


def _interrupt(teacher: Any, store: TokenStore, folder: Path, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """A pass in batches of 64 tokens that ends at the fourth; what is returned counts further ones too."""
    monkeypatch.setattr(targets, "TOKEN_BUDGETS", {"cpu": 64})
    calls, forward = list[int](), teacher.forward

    def interrupted(*args: object, **about: object) -> object:
        calls.append(1)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return forward(*args, **about)

    monkeypatch.setattr(teacher, "forward", interrupted)
    with pytest.raises(KeyboardInterrupt):
        teacher_targets(teacher, store, folder, "fp32")
    return calls


def _refuse(*args: object, **about: object) -> object:
    raise AssertionError("the teacher was run again")
