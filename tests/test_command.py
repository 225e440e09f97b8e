"""The command line: what is wrong is told in one line, early, with exit code 2."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mlflow.exceptions import MlflowException

from evenodd.console import command, help_text, parse
from evenodd.settings import field_paths
from pipelines.__main__ import entries

ROOT = Path(__file__).resolve().parents[1]
NAMES = st.from_regex(r"[a-z][a-z_.]{0,12}", fullmatch=True).filter(lambda name: name != "help")
SECONDS = 15


@given(st.dictionaries(NAMES, st.text(max_size=10), max_size=5), st.booleans())
def test_names_and_values_come_as_they_were_said(said: dict[str, str], joined: bool) -> None:
    """`mlflow run` passes `--name value`; values may hold spaces, `=` or dashes."""
    words = [f"--{name}={value}" for name, value in said.items()]
    if not joined:
        words = [word for name, value in said.items() for word in (f"--{name}", value)]
    assert parse(words) == said


@pytest.mark.parametrize(
    ("words", "what"),
    [
        (["epochs=3"], "'epochs=3': parameters are given as --name value"),
        (["-P", "epochs=3"], "'-P': parameters are given as"),
        (["--epochs"], "--epochs: a value is missing"),
        (["--seed", "1", "--seed", "2"], "--seed: given twice"),
        (["--seed=1", "--seed", "2"], "--seed: given twice"),
    ],
)
def test_what_cannot_be_parsed_is_told(words: list[str], what: str) -> None:
    """A word that is passed over would be a setting that never applies."""
    with pytest.raises(ValueError, match=what):
        parse(words)


@pytest.mark.parametrize("flag", ["-h", "--help"])
def test_help_names_every_setting(flag: str) -> None:
    """A setting that help leaves out does not exist for the reader."""
    assert "help" in parse(["--seed", "1", flag])
    text = help_text("distill_odd", "about it")
    assert text.startswith("distill_odd: about it")
    assert not [path for path in field_paths() if path not in text]
    assert "train.epochs" in text
    assert "[sample]" in text


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (ValueError("rows\n  are  wrong"), 2, "odd: rows are wrong"),
        (RuntimeError("no hub"), 2, "odd: no hub"),
        (OSError(28, "No space left on device"), 2, "odd: [Errno 28] No space left on device"),
        (MlflowException("no server at\nhttp://tracking"), 2, "odd: no server at http://tracking"),
        (KeyboardInterrupt(), 130, "odd: interrupted. The same command goes on from the last checkpoint."),
    ],
)
def test_errors_end_in_one_line_and_a_code(
    error: BaseException,
    code: int,
    line: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """mlflow marks the run FAILED by the exit code; the reader looks at the last line."""

    def run(parameters: dict[str, str]) -> None:
        raise error

    monkeypatch.setattr(sys, "argv", ["pipelines", "--seed", "1"])
    with pytest.raises(SystemExit) as caught:
        command("odd", run)
    assert caught.value.code == code
    assert capsys.readouterr().err.strip().splitlines()[-1] == line


def test_a_fault_of_the_program_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    """A bug told as one line about a parameter sends the reader the wrong way."""

    def run(parameters: dict[str, str]) -> None:
        raise KeyError("column")

    monkeypatch.setattr(sys, "argv", ["pipelines"])
    with pytest.raises(KeyError):
        command("odd", run)


def test_parameters_reach_the_entry_point(monkeypatch: pytest.MonkeyPatch) -> None:
    """As text and by the name that was said: every variant resolves them for itself."""
    seen: list[dict[str, str]] = []
    monkeypatch.setattr(sys, "argv", ["pipelines", "--seed", "1", "--train.epochs=2"])
    command("odd", seen.append)
    assert seen == [{"seed": "1", "train.epochs": "2"}]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "what"),
    [
        (["distill_odd", "--epochs", "abc"], "epochs='abc'"),
        (["distill_odd", "--epoch", "3"], "did you mean 'epochs'"),
        (["lora", "--data", "no-such-file.jsonl"], "no-such-file.jsonl"),
        (["teacher", "--config", "no-such.yaml"], "no such file"),
        (["distil_odd"], "is no entry point; there are"),
    ],
)
def test_a_mistake_is_one_line_within_seconds(words: Sequence[str], what: str, tmp_path: Path) -> None:
    """Told after minutes of loading, or as a stack of frames, it is told to nobody; nothing may be left behind."""
    started = time.monotonic()
    done = _run(words, tmp_path)
    assert done.returncode == (1 if "entry point" in what else 2)
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
    assert listed == set(entries())


def _run(words: Sequence[str], folder: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'src'}", "MLFLOW_TRACKING_URI": "sqlite:///mlflow.db"}
    command = [sys.executable, "-m", "pipelines", *words]
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=300, check=False
    )
