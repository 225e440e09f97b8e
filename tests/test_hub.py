"""An unreachable hub is reported in one line and within seconds."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import httpx2
import huggingface_hub
import pytest
from huggingface_hub import constants
from huggingface_hub.errors import HfHubHTTPError, RepositoryNotFoundError

from evenodd import hub
from evenodd.rows import load_corpus
from evenodd.settings import DataSettings

NAME = "SetFit/hate_speech18"
SAID = (
    f"data='{NAME}': the hub cannot be reached. "
    "Pass a local file (-P data=rows.jsonl) or the bundled sample (-P data=sample)."
)


@pytest.fixture
def online(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """The hub is asked even where HF_HUB_OFFLINE is set."""
    monkeypatch.setattr(constants, "is_offline_mode", lambda: False)
    return monkeypatch


def answer(monkeypatch: pytest.MonkeyPatch, call: Any) -> None:
    for ask in ("dataset_info", "model_info"):
        monkeypatch.setattr(huggingface_hub.HfApi, ask, call)


def failing(error: BaseException) -> Any:
    def call(*_: Any, **__: Any) -> None:
        raise error

    return call


def status_error(status: int) -> HfHubHTTPError:
    response = httpx2.Response(status, request=httpx2.Request("GET", "https://hub.invalid/"))
    return (RepositoryNotFoundError if status == 404 else HfHubHTTPError)("no", response=response)


@pytest.mark.parametrize("error", [httpx2.ConnectError("no name"), httpx2.ReadTimeout("slow"), OSError("no route")])
def test_every_way_of_not_answering_is_the_same_line(online: pytest.MonkeyPatch, error: Exception) -> None:
    """A library's own error fills a screen and names no way out."""
    answer(online, failing(error))
    with pytest.raises(RuntimeError) as caught:
        hub.hub_commit("data", NAME)
    assert str(caught.value) == SAID


def test_a_look_up_that_hangs_is_left_after_the_time_limit(online: pytest.MonkeyPatch) -> None:
    """Name servers that do not answer hold a process for up to a minute."""
    over = threading.Event()
    answer(online, lambda *_, **__: over.wait(30))
    online.setattr(hub, "TIMEOUT_SECONDS", 0.2)
    start = time.monotonic()
    with pytest.raises(RuntimeError, match="cannot be reached"):
        hub.hub_commit("data", NAME)
    over.set()
    assert time.monotonic() - start < 10


@pytest.mark.parametrize(
    ("status", "kind", "said"),
    [
        (404, ValueError, "no such public name"),
        (401, ValueError, "requires an account"),
        (503, RuntimeError, "answers with status 503"),
    ],
)
def test_a_hub_that_refuses_is_not_called_unreachable(
    online: pytest.MonkeyPatch, status: int, kind: type[Exception], said: str
) -> None:
    """A misspelt name would send people to look at their network."""
    answer(online, failing(status_error(status)))
    with pytest.raises(kind, match=said) as caught:
        hub.hub_commit("teacher", "someone/model")
    assert "-P teacher=minilm" in str(caught.value)


def test_offline_mode_does_not_ask(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who sets HF_HUB_OFFLINE wants no look-up at all."""
    monkeypatch.setattr(constants, "is_offline_mode", lambda: True)
    answer(monkeypatch, failing(AssertionError("asked")))
    with pytest.raises(RuntimeError, match="cannot be reached"):
        hub.hub_commit("data", NAME)


def test_the_commit_is_what_the_hub_says(online: pytest.MonkeyPatch) -> None:
    """The commit is the digest of hub data: revisions must not be confused."""
    asked: list[Any] = []

    def call(_: Any, name: str, revision: str | None, timeout: float) -> Any:
        asked.append((name, revision))
        return huggingface_hub.hf_api.DatasetInfo(id=name, sha="a" * 40)

    answer(online, call)
    assert hub.hub_commit("data", NAME, "v2") == "a" * 40
    assert asked == [(NAME, "v2")]


def test_a_data_set_that_cannot_be_downloaded_is_the_same_line(online: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The hub may answer and the download fail."""
    answer(online, lambda *_, **__: huggingface_hub.hf_api.DatasetInfo(id=NAME, sha="a" * 40))
    online.setattr("datasets.load_dataset", failing(httpx2.ConnectError("gone")))
    with pytest.raises(RuntimeError) as caught:
        load_corpus(DataSettings(source=NAME), seed=0, cache=tmp_path)
    assert str(caught.value) == SAID


def test_without_a_network_a_process_says_so_within_seconds(tmp_path: Path) -> None:
    """The real thing: nothing set, nothing patched, an address that nothing listens on."""
    code = f"""
import time
from pathlib import Path
from evenodd.settings import DataSettings
from evenodd.rows import load_corpus
start = time.monotonic()
try:
    load_corpus(DataSettings(source={NAME!r}), seed=0, cache=Path({str(tmp_path)!r}))
except RuntimeError as error:
    print(time.monotonic() - start, error)
"""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
    environment |= {"HF_ENDPOINT": "http://hub.invalid"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, timeout=300)
    seconds, said = done.stdout.strip().split(" ", 1)
    assert said == SAID
    assert float(seconds) < 15  # without the imports, whose time says how busy the machine is
