"""The command line: errors are reported early, in one line, with an exit code for each kind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from mlflow.exceptions import MlflowException

from evenodd.console import main, parse
from evenodd.encoders.catalog import VARIANTS
from evenodd.flow.entries import ENTRIES, Entry
from evenodd.flow.promote import NotPromotedError
from evenodd.interruption import SignalError
from evenodd.settings import Request, Settings, field_paths, is_among

ROOT = Path(__file__).resolve().parents[1]
NAMES = st.from_regex(r"[a-z][a-z_.]{0,12}", fullmatch=True).filter(lambda name: name != "help")
SECONDS = 15
FREE = "Free some space and run the same command again: it reuses finished work."
FULL = f"distill_odd: the disk is full. {FREE}"
RESUME = "Run the same command again to resume from the last checkpoint."
BAD_ROWS = "3 bad rows. label missing: line 3; one class"


@given(st.dictionaries(NAMES, st.text(max_size=10), max_size=5), st.sampled_from(["--{}={}", "{}={}", "--{} {}"]))
def test_names_and_values_are_parsed_as_given(said: dict[str, str], form: str) -> None:
    """`mlflow run` passes `--name value`; values may hold spaces, `=` or dashes."""
    words = [form.format(name, value) for name, value in said.items()]
    if " " in form:
        words = [word for name, value in said.items() for word in (f"--{name}", value)]
    assert parse(words) == said


@pytest.mark.parametrize(
    ("words", "what"),
    [
        (["epochs", "3"], "'epochs': settings are given as name=value"),
        (["-P", "epochs=3"], "'-P': settings are given as"),
        (["=3"], "'=3': settings are given as"),
        (["--epochs"], "--epochs: a value is missing"),
        (["--seed", "1", "seed=2"], "seed: given twice"),
        (["--seed=1", "--seed", "2"], "seed: given twice"),
    ],
)
def test_unparsable_words_are_reported(words: list[str], what: str) -> None:
    """A word that is passed over would be a setting that never applies."""
    with pytest.raises(ValueError, match=what):
        parse(words)


@pytest.mark.parametrize("entry", ENTRIES.values(), ids=lambda entry: entry.name)
def test_help_shows_the_settings_that_an_entry_point_uses_with_the_defaults_it_will_have(entry: Entry) -> None:
    """A default that the run does not have, or a setting without effect, sends the reader the wrong way."""
    lines = entry.help().splitlines()
    assert lines[0].startswith(f"{entry.name}: ")
    for path in field_paths():
        shown = [line for line in lines[6:] if path in line.replace("(", "").replace(")", "").split()[:2]]
        assert bool(shown) == is_among(path, entry.used(Settings())), path
    for variant in entry.fitted(Settings()):
        if entry.variant in (None, variant.name):
            (line,) = [line for line in lines if "(train.epochs)" in line]
            default = str(Request().settings_for(variant.family, variant.name).train.epochs)
            assert line.endswith(f"[{default}]") if entry.variant else f"{variant.family} {default}" in line


def test_every_setting_is_used_by_some_entry_point() -> None:
    """A setting that no entry point uses could not be set anywhere."""
    used = {path for entry in ENTRIES.values() for path in field_paths() if is_among(path, entry.used(Settings()))}
    rare = {"variant.importance", "variant.importance_rows", "variant.sensitive", "lora.initial_rank"}
    assert used == set(field_paths())
    assert not [path for path in rare if is_among(path, ENTRIES["main"].used(Settings()))]


@pytest.mark.parametrize(
    ("entry", "said", "what"),
    [
        ("teacher", {"depth": "3"}, "depth: 'teacher' does not use it; used by distill_odd"),
        ("distill_odd", {"lora.rank": "4"}, "lora.rank: 'distill_odd' does not use it; used by lora"),
        ("distill_odd", {"gates.max_ece": "0.2"}, "gates.max_ece: 'distill_odd' does not use it; used by main, study"),
        (
            "main",
            {"variants": "odd", "lora.rank": "4"},
            "lora.rank: 'main' does not use it with variants=odd; used by lora",
        ),
        ("lora", {"teacher.epochs": "4"}, "teacher.epochs: 'lora' does not fit a teacher"),
        ("score", {"epochs": "4"}, "epochs: 'score' does not use it"),
        ("main", {"variants": "od"}, "variants=od: not known; there are teacher, odd"),
        ("main", {"model_name": "reviews"}, "'model_name' is called 'name' now"),
    ],
)
def test_a_setting_that_an_entry_point_does_not_use_is_refused(entry: str, said: dict[str, str], what: str) -> None:
    """It would be ignored, and the result would be attributed to it."""
    with pytest.raises(ValueError, match=what) as caught:
        ENTRIES[entry].request(said)
    assert "\n" not in str(caught.value)


def test_a_file_may_say_more_than_an_entry_point_uses(tmp_path: Path) -> None:
    """One file of settings serves fits, export and service."""
    path = tmp_path / "settings.yaml"
    path.write_text("{gates: {max_ece: 0.2}, variants: {lora: {lora: {rank: 4}}}}", encoding="utf-8")
    for entry in ENTRIES.values():
        assert entry.request({"config": str(path)}).settings.gates.max_ece == 0.2


def test_entry_points_stand_in_mlproject_and_in_modules_of_their_own() -> None:
    """One that is missing in a place cannot be started from there."""
    listed = yaml.safe_load((ROOT / "MLproject").read_text(encoding="utf-8"))["entry_points"]
    assert list(listed) == list(ENTRIES)
    modules = {path.stem for path in (ROOT / "pipelines").glob("*.py")} - {"__init__", "__main__"}
    assert modules == set(ENTRIES)
    for name in ENTRIES:
        assert listed[name]["command"].endswith(f"python -m pipelines.{name}")
        assert f'main(["{name}", *sys.argv[1:]])' in (ROOT / "pipelines" / f"{name}.py").read_text(encoding="utf-8")
    assert {variant.entry for variant in VARIANTS.values()} <= set(ENTRIES)


def run_by(run: Callable[[Request], Any], words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """The command line over an entry point that does this."""
    monkeypatch.setattr(Entry, "run", lambda self, request: run(request))
    main(["distill_odd", *words])


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (ValueError("3 bad rows.\n  label  missing: line 3\n  one class"), 2, f"distill_odd: {BAD_ROWS}"),
        (RuntimeError("no hub"), 2, "distill_odd: no hub"),
        (OSError(28, "No space left on device", "home/a"), 2, f"distill_odd: the disk is full (home/a). {FREE}"),
        (RuntimeError("x (sqlite3.OperationalError) database or disk is full [SQL: UPDATE]"), 2, FULL),
        (RuntimeError("cannot be read [SQL: SELECT 1]"), 2, "distill_odd: cannot be read"),
        (NotPromotedError("a gate"), 3, "distill_odd: a gate"),
        (SignalError(signal.SIGTERM), 143, f"distill_odd: ended by SIGTERM. {RESUME}"),
        (SignalError(signal.SIGHUP), 129, f"distill_odd: ended by SIGHUP. {RESUME}"),
        (MlflowException("no server at\nhttp://tracking"), 2, "distill_odd: no server at; http://tracking"),
        (KeyboardInterrupt(), 130, f"distill_odd: interrupted. {RESUME}"),
    ],
)
def test_errors_end_in_one_line_and_a_code(
    error: BaseException, code: int, line: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """mlflow marks the run FAILED by the exit code; the reader looks at the last line."""

    def run(request: Request) -> None:
        raise error

    with pytest.raises(SystemExit) as caught:
        run_by(run, ["--seed", "1"], monkeypatch)
    assert caught.value.code == code
    assert capsys.readouterr().err.strip().splitlines()[-1] == line


def test_faults_of_settings_and_of_the_rows_are_reported_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Mended one after the other, each costs a start of the command."""
    path = tmp_path / "reviews.csv"
    path.write_text("review,sentiment\nfine,good\nbad,\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit):
        main(["distill_odd", f"data={path}", "epochs=0", "seed=-1"])
    told = capsys.readouterr().err.strip().splitlines()[-1]
    for fault in ("epochs='0'", "seed='-1'", "label missing: line 3", "one class only"):
        assert fault in told


def test_a_fault_of_the_program_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    """A bug reported as one line about a setting misleads the reader."""

    def run(request: Request) -> None:
        raise KeyError("column")

    with pytest.raises(KeyError):
        run_by(run, [], monkeypatch)


def test_settings_reach_the_entry_point_and_its_result_is_printed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Settings as values of their types, under their full names."""
    seen: list[Request] = []

    def run(request: Request) -> Any:
        seen.append(request)
        return SimpleNamespace(text="version 7")

    run_by(run, ["--seed", "1", "epochs=2"], monkeypatch)
    assert seen[0].said == {"seed": 1, "train.epochs": 2}
    assert capsys.readouterr().out == "version 7\n"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "what"),
    [
        (["distill_odd", "--epochs", "abc"], "epochs='abc'"),
        (["distill_odd", "--epoch", "3"], "did you mean 'epochs'"),
        (["lora", "--data", "no-such-file.jsonl"], "no-such-file.jsonl"),
        (["teacher", "--config", "no-such.yaml"], "no such file"),
        (["distil_odd"], "is not an entry point. Did you mean 'distill_odd'? There are"),
    ],
)
def test_a_mistake_is_one_line_within_seconds(words: Sequence[str], what: str, tmp_path: Path) -> None:
    """A report after minutes of loading, or as a stack of frames, helps nobody; nothing may be left behind."""
    started = time.monotonic()
    done = _run(words, tmp_path)
    assert done.returncode == 2
    lines = done.stderr.strip().splitlines()
    assert what in lines[-1]
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.glob("mlflow.db"))
    if os.getloadavg()[0] < (os.cpu_count() or 1):
        assert time.monotonic() - started < SECONDS


@pytest.mark.slow
def test_help_lists_every_entry_point(tmp_path: Path) -> None:
    """Help must not need torch, and must not forget an entry point."""
    done = _run(["--help"], tmp_path)
    assert done.returncode == 0
    listed = {line.split()[0] for line in done.stdout.splitlines()[1:] if line.strip()}
    assert listed == set(ENTRIES)


def _run(words: Sequence[str], folder: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'src'}", "MLFLOW_TRACKING_URI": "sqlite:///mlflow.db"}
    command = [sys.executable, "-m", "pipelines", *words]
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=300, check=False
    )
