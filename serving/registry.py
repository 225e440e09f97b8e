"""`python -m serving.registry`: polls the registry for the version of an alias, and passes valid bundles to the
workers.

It is a separate process because importing MLflow takes seconds and 150 MB. It ends when its standard input is closed,
that is, with the worker that started it. No code of a version is run: its bundle is read and checked like any other.
"""

from __future__ import annotations

import argparse
import logging
import os
import re
import select
import shutil
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from evenodd.classifier.bundle import read_bundle
from evenodd.classifier.choice import Choice
from evenodd.classifier.engine import open_engine
from evenodd.classifier.faults import first_line
from evenodd.classifier.manifest import MANIFEST

from .following import NUDGE, Refusal, State, following_folder, only_one, read_state, write_state
from .settings import Settings, read_settings

logger = logging.getLogger("serving.registry")

REFERENCE = re.compile(r"(?:models:/)?(?P<name>[^@/]+)(?:@(?P<alias>[^@/]+)|/(?P<version>\d+))")
INCOMING = "incoming"
KEPT = 2
LOOK_SECONDS = 0.2
# MLflow would retry for minutes; the next check comes sooner.
MLFLOW = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "20",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
}


class RegistryError(RuntimeError):
    """The registry or its artifact store failed; the next attempt may succeed."""


@dataclass(frozen=True)
class Found:
    """A version, and the version that holds its bundle.

    Attributes:
        version: what the alias points to.
        exported: the version with the bundle, which may be the same; None: it was not exported.
    """

    version: str
    exported: str | None

    @property
    def key(self) -> str:
        """Identifies the bundle: it changes when a version is exported again."""
        return self.version if self.exported in (self.version, None) else f"{self.version} exported as {self.exported}"


class Registry(Protocol):
    """Interface of a registry."""

    def find(self) -> Found:
        """What the followed reference points to."""

    def fetch(self, version: str, target: Path) -> Path:
        """Copies a version's files below a folder, and returns their place."""


class MlflowRegistry:
    """A model in MLflow's registry.

    Args:
        model: `models:/NAME@ALIAS`, or `models:/NAME/VERSION`.

    Raises:
        ValueError: the reference has another form.
    """

    def __init__(self, model: str) -> None:
        named = REFERENCE.fullmatch(model)
        if named is None:
            raise ValueError(f"EVENODD_MODEL={model!r}: allowed are models:/NAME@ALIAS and models:/NAME/VERSION.")
        self._name, self._alias, self._version = named["name"], named["alias"], named["version"]

    def find(self) -> Found:
        """What the reference points to, and the newest export of a fitted version.

        Raises:
            RegistryError: the registry does not answer, or the name, alias or version does not exist.
        """
        from mlflow import MlflowClient
        from mlflow.exceptions import MlflowException

        try:
            client = MlflowClient()
            if self._alias:
                found = client.get_model_version_by_alias(self._name, self._alias)
            else:
                found = client.get_model_version(self._name, self._version)
            if found.tags.get("kind") == "onnx":
                return Found(str(found.version), str(found.version))
            exports = client.search_model_versions(
                f"name = '{self._name.replace(chr(39), chr(39) * 2)}' and tags.torch_version = '{found.version}'"
            )
        except (MlflowException, OSError) as fault:
            raise RegistryError(first_line(fault)) from fault
        numbers = [int(export.version) for export in exports if export.tags.get("kind") == "onnx"]
        return Found(str(found.version), str(max(numbers)) if numbers else None)

    def fetch(self, version: str, target: Path) -> Path:
        """The files of a version.

        Raises:
            RegistryError: they cannot be copied.
        """
        from mlflow.artifacts import download_artifacts
        from mlflow.exceptions import MlflowException

        target.mkdir(parents=True)
        try:
            return Path(download_artifacts(f"models:/{self._name}/{version}", dst_path=str(target)))
        except (MlflowException, OSError) as fault:
            raise RegistryError(first_line(fault)) from fault


def open_once(folder: Path, settings: Settings) -> Choice:
    """Opens a bundle as the workers will, and closes it; returns the chosen graph.

    Raises:
        ValueError, RuntimeError: it is refused.
    """
    return open_engine(read_bundle(folder), settings).choice


class Follower:
    """Keeps the state in a folder up to date with the registry.

    Args:
        model: what is followed.
        folder: of the service.
        registry: the registry.
        check: opens a bundle; raises ValueError or RuntimeError to refuse it.
    """

    def __init__(self, model: str, folder: Path, registry: Registry, check: Callable[[Path], Choice]) -> None:
        self._folder, self._registry, self._check = folder, registry, check
        self._state = read_state(folder) or State(model)

    def look(self) -> State:
        """Asks once, and fetches a new version. Returns the state, which is also written."""
        try:
            state = self._found(self._registry.find())
        except (RegistryError, OSError) as fault:
            if self._state.error is None:
                logger.warning("%s | the registry did not answer as expected | %s", self._state.model, fault)
            state = replace(self._state, error="the registry did not answer as expected; see the log")
        self._state = state
        write_state(self._folder, state)
        self._prune()
        return state

    def _found(self, found: Found) -> State:
        now = time.time()
        state = replace(self._state, checked=now, error=None)
        if found.key in (state.version, state.refused.version if state.refused else None):
            return state  # a refused version is not fetched again
        if found.exported is None:
            reason = f"it has not been exported, so there is no graph to serve: evenodd export model={found.version}"
            return self._refuse(state, found, reason)
        try:
            folder = self._take(found.exported)
            choice = self._check(folder)
        except RegistryError:
            raise
        except (ValueError, RuntimeError) as fault:
            reason = re.sub(re.escape(str(self._folder)) + r"[^\s:]*", f"of version {found.exported}", str(fault))
            return self._refuse(state, found, reason)
        kept = folder.rename(self._folder / f"bundle-{time.time_ns()}")
        logger.info("%s | version %s is valid", state.model, found.key)
        return replace(state, version=found.key, folder=str(kept), choice=asdict(choice), since=now)

    def _take(self, version: str) -> Path:
        """Fetches the bundle of a version to a separate folder.

        Raises:
            ValueError: the version holds no bundle.
            RegistryError: the files cannot be copied.
        """
        incoming = self._folder / INCOMING
        shutil.rmtree(incoming, ignore_errors=True)
        found = [path.parent for path in self._registry.fetch(version, incoming).rglob(MANIFEST)]
        if len(found) != 1:
            raise ValueError(f"version {version} holds {len(found)} bundles; it must hold one.")
        return found[0]

    def _refuse(self, state: State, found: Found, reason: str) -> State:
        logger.error("%s | version %s is refused, version %s stays | %s", state.model, found.key, state.version, reason)
        return replace(state, refused=Refusal(found.key, reason, time.time()), refusals=state.refusals + 1)

    def _prune(self) -> None:
        """Keeps the current bundle and the one before, which a worker may still be closing."""
        for folder in sorted(self._folder.glob("bundle-*"))[:-KEPT]:
            shutil.rmtree(folder, ignore_errors=True)
        shutil.rmtree(self._folder / INCOMING, ignore_errors=True)


def follow(follower: Follower, folder: Path, seconds: float) -> None:
    """Asks repeatedly until standard input is closed.

    Args:
        follower: the follower.
        folder: of the service, in which a nudge appears.
        seconds: interval without a nudge.
    """
    going_on = True
    while going_on:
        nudged = _nudged(folder)  # before it asks, so that a nudge during the request counts
        follower.look()
        going_on = _waits(folder, nudged, seconds)


def _waits(folder: Path, nudged: float, seconds: float) -> bool:
    """Waits for a reason to ask. False: standard input is closed."""
    until = time.monotonic() + seconds
    while time.monotonic() < until and _nudged(folder) == nudged:
        readable, _, _ = select.select([sys.stdin], [], [], LOOK_SECONDS)
        if readable and not os.read(sys.stdin.fileno(), 1):
            return False
    return True


def _nudged(folder: Path) -> float:
    try:
        return (folder / NUDGE).stat().st_mtime_ns
    except FileNotFoundError:
        return 0.0


def open_follower(settings: Settings, folder: Path) -> Follower:
    """A follower of the model in EVENODD_MODEL.

    Raises:
        ValueError: it is not a reference.
        RuntimeError: MLflow is missing.
    """
    for name, value in MLFLOW.items():
        os.environ.setdefault(name, value)
    model = str(settings.model)
    registry: Any = MlflowRegistry(model)
    try:
        import mlflow  # noqa: F401
    except ImportError:
        raise RuntimeError(
            f"EVENODD_MODEL={model}: the package mlflow is not installed. Package with follow=true, "
            "which adds mlflow-skinny."
        ) from None
    return Follower(model, folder, registry, lambda bundle: open_once(bundle, settings))


def main() -> None:
    """Command line; `following.py` starts it."""
    parser = argparse.ArgumentParser(prog="python -m serving.registry")
    parser.add_argument("--once", action="store_true", help="poll once")
    once = parser.parse_args().once
    logging.basicConfig(level=logging.INFO, format="%(asctime)s [%(levelname)s] [registry] %(message)s", force=True)
    logging.getLogger("mlflow").setLevel(logging.WARNING)
    settings, folder = read_settings(), following_folder()
    if settings.model is None or folder is None:
        raise SystemExit("EVENODD_MODEL is not set: there is no model to follow.")
    try:
        if once:
            open_follower(settings, folder).look()
            return
        with only_one(folder) as alone:
            if alone:
                follow(open_follower(settings, folder), folder, settings.follow_every)
    except (ValueError, RuntimeError) as fault:
        raise SystemExit(str(fault)) from None


if __name__ == "__main__":
    main()
