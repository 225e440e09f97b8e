"""A service for the attacks, with two workers; whatever is done to it, it must be the same one at the end."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from attack_tools import CANARY, post, workers
from attack_tools import ask as ask_once
from serving_bundle import shared_bundle
from serving_process import ROOT, Served, serve


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("attacked")
    environ = {"EVENODD_BUNDLE": str(shared_bundle()), "EVENODD_WORKERS": "2", "TMPDIR": str(folder)}
    with serve(ROOT, folder / "log", **environ) as running:
        running.wait_ready()
        before = workers(running)
        yield running
        assert workers(running) == before, f"a worker was lost:\n{running.log}"
        assert ask_once(running, post("/classify", {"texts": ["sun"]}))[0] == 200
        assert CANARY not in running.log
        assert "Traceback" not in running.log
