"""A whole `main` that is run again, killed, and asked to end."""

from __future__ import annotations

import os
import random
import signal
import sys
import time
from contextlib import suppress

import psutil
import pytest
from interruption import at_full_size
from reliability_chain import Chain, end_group

pytestmark = [pytest.mark.reliability, pytest.mark.slow]

KILLS = int(os.environ.get("EVENODD_KILLS", "2"))
SEED = int(os.environ.get("EVENODD_SEED", "0"))
CODES = {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGHUP: 129, signal.SIGKILL: -9}
SECONDS = 40.0


def test_a_main_that_is_finished_makes_nothing_new(finished: Chain) -> None:
    """Each rerun registered one more ONNX version and built one more Bento, in 40 s."""
    before, begun = finished.versions(), time.monotonic()
    exports = len(finished.runs("tags.stage = 'export'"))
    again = finished.run()
    seconds = time.monotonic() - begun
    assert again.returncode == 0, again.stderr[-3000:]
    assert finished.versions() == before
    assert len(finished.runs("tags.stage = 'export'")) == exports
    assert len(finished.runs("tags.stage = 'package'")) == 1
    assert again.stderr.count("reused") >= 4
    finished.check_clean()
    print(f"a rerun of a finished main took {seconds:.1f} s")


def kill_somewhere(chain: Chain, dice: random.Random) -> str:
    """Ends a `main` at a random moment in a random way; what was done, and its exit code."""
    number = dice.choice(list(CODES))
    whom = dice.choice(["group", "parent"]) if number != signal.SIGINT else "group"
    seconds = dice.uniform(2, SECONDS)
    process = chain.start()
    with suppress(Exception):
        process.communicate(timeout=seconds)
    if process.poll() is None:
        if whom == "group":
            end_group(process, number)
        else:
            process.send_signal(number)
    _, told = process.communicate(timeout=120)
    what = f"{signal.Signals(number).name} to the {whom} after {seconds:.1f} s: exit code {process.returncode}"
    assert process.returncode in (0, CODES[number]), f"{what}\n{told[-3000:]}"
    assert "Traceback" not in told, f"{what}\n{told[-3000:]}"
    return what


@at_full_size
@pytest.mark.parametrize("turn", range(KILLS))
def test_a_main_that_is_killed_anywhere_is_gone_on_from(chain: Chain, turn: int) -> None:
    """A run that stays open, a version that is there twice, a lease that nobody gives back, work that is lost.

    EVENODD_KILLS says how many are tried and EVENODD_SEED which.
    """
    dice = random.Random(1000 * SEED + turn)
    done = [kill_somewhere(chain, dice) for _ in range(2)]
    print(f"seed {SEED}, turn {turn}: {'; '.join(done)}")
    last = chain.run()
    assert last.returncode == 0, f"{done}\n{last.stderr[-3000:]}"
    assert "Traceback" not in last.stderr
    chain.check_clean()
    assert [variant for _, variant in chain.versions()] == ["teacher torch", "odd torch", "odd onnx"]


@pytest.mark.parametrize(("number", "word"), [(signal.SIGTERM, "ended by SIGTERM"), (signal.SIGHUP, "ended by SIGHUP")])
def test_what_schedulers_send_ends_like_ctrl_c(chain: Chain, number: signal.Signals, word: str) -> None:
    """Nothing was told, and the runs stayed open."""
    process = chain.start()
    chain.until(process, "fitting")
    process.send_signal(number)
    _, told = process.communicate(timeout=60)
    assert process.returncode == CODES[number]
    assert f"main: {word}. Run the same command again to resume from the last checkpoint." in told
    assert "Traceback" not in told
    assert not chain.runs("attributes.status = 'RUNNING'")


@at_full_size
def test_a_fit_ends_with_the_mlflow_run_that_started_it(chain: Chain) -> None:
    """A scheduler ends `mlflow run` alone; the fit went on for hours as an orphan."""
    run_id = chain.client().create_run("0").info.run_id
    chain.environ |= {"MLFLOW_RUN_ID": run_id, "MLFLOW_EXPERIMENT_ID": "0"}
    starter = f"import subprocess; print(subprocess.run({[sys.executable, '-m', 'pipelines', 'main', *words(chain)]}))"
    chain.given = {}
    import subprocess

    process = subprocess.Popen(
        [sys.executable, "-c", starter], cwd=chain.folder, env=chain.environ, stderr=subprocess.PIPE, text=True
    )
    chain.started.append(process)
    chain.until(process, "fitting")
    children = psutil.Process(process.pid).children(recursive=True)
    process.terminate()
    _, alive = psutil.wait_procs(children, timeout=60)
    assert not alive
    assert {run.info.status for run in chain.runs()} == {"KILLED"}


def words(chain: Chain) -> list[str]:
    """The chain's parameters as a command's words."""
    return [word for key, value in chain.given.items() for word in (f"--{key}", value)]


@at_full_size
def test_two_mains_at_once_make_everything_once(chain: Chain) -> None:
    """On one store from two places, each fit was made twice."""
    first, second = chain.start(), chain.start(home="other-home")
    told = [process.communicate(timeout=500)[1] for process in (first, second)]
    assert [first.returncode, second.returncode] == [0, 0], "\n".join(text[-2000:] for text in told)
    chain.check_clean()
    assert len(chain.versions()) == 3
