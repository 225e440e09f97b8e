"""`python -m serving.registry`: asks the registry what an alias points to, and hands sound bundles to the workers.

A process of its own: MLflow takes seconds to import and 150 MB to hold. It ends when its standard input does, that is
with the worker that started it. No code that a version brings is run: its bundle is read, and checked as any other.
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
from evenodd.classifier.manifest import MANIFEST

from .following import NUDGE, Refusal, State, following_folder, only_one, read_state, write_state
from .settings import Settings, read_settings

logger = logging.getLogger("serving.registry")

REFERENCE = re.compile(r"(?:models:/)?(?P<name>[^@/]+)(?:@(?P<alias>[^@/]+)|/(?P<version>\d+))")
INCOMING = "incoming"
KEPT = 2
LOOK_SECONDS = 0.2
# MLflow itself would try for minutes; the next check is a better time.
MLFLOW = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "20",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
}


class RegistryError(RuntimeError):
    """The registry, or the store of its files, did not give what was asked for; it may next time."""


@dataclass(frozen=True)
class Found:
    """A version and its bundle's.

    Attributes:
        version: what the alias points to.
        exported: the version that holds its bundle, the same where it was exported itself; None: it was not exported.
    """

    version: str
    exported: str | None

    @property
    def key(self) -> str:
        """Names the bundle: a version that is exported again has another."""
        return self.version if self.exported in (self.version, None) else f"{self.version} exported as {self.exported}"


class Registry(Protocol):
    """Where versions are."""

    def find(self) -> Found:
        """What the followed reference points to."""

    def fetch(self, version: str, target: Path) -> Path:
        """Copies a version's files below a folder; where they are."""


class MlflowRegistry:
    """A model in MLflow's registry.

    Args:
        model: `models:/NAME@ALIAS`, or `models:/NAME/VERSION`.

    Raises:
        ValueError: another form.
    """

    def __init__(self, model: str) -> None:
        named = REFERENCE.fullmatch(model)
        if named is None:
            raise ValueError(f"EVENODD_MODEL={model!r}: models:/NAME@ALIAS or models:/NAME/VERSION is needed.")
        self._name, self._alias, self._version = named["name"], named["alias"], named["version"]

    def find(self) -> Found:
        """What the reference points to; of a version as it was fitted, its newest export.

        Raises:
            RegistryError: the registry does not answer, or has no such name, alias or version.
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
            raise RegistryError(_first_line(fault)) from fault
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
            raise RegistryError(_first_line(fault)) from fault


def open_once(folder: Path, settings: Settings) -> Choice:
    """Open a bundle as the workers will, and close it again; the graph that answers.

    Raises:
        ValueError, RuntimeError: it is refused.
    """
    return open_engine(read_bundle(folder), settings).choice


class Follower:
    """Keeps a folder's state up with the registry.

    Args:
        model: what is followed.
        folder: of the service.
        registry: where it is.
        check: opens a bundle; raises ValueError or RuntimeError for one that is refused.
    """

    def __init__(self, model: str, folder: Path, registry: Registry, check: Callable[[Path], Choice]) -> None:
        self._folder, self._registry, self._check = folder, registry, check
        self._state = read_state(folder) or State(model)

    def look(self) -> State:
        """Ask once, and take what is new. The state, which is written as well."""
        try:
            state = self._found(self._registry.find())
        except (RegistryError, OSError) as fault:
            if self._state.error is None:
                logger.warning("%s | the registry did not answer as expected | %s", self._state.model, fault)
            state = replace(self._state, error="the registry did not answer as expected; the log says how")
        self._state = state
        write_state(self._folder, state)
        self._prune()
        return state

    def _found(self, found: Found) -> State:
        now = time.time()
        state = replace(self._state, checked=now, error=None)
        if found.key in (state.version, state.refused.version if state.refused else None):
            return state  # what was refused is not fetched again: the same files would be refused again
        if found.exported is None:
            reason = f"it is as it was fitted, with no graphs to serve: evenodd export model={found.version}"
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
        logger.info("%s | version %s was found sound", state.model, found.key)
        return replace(state, version=found.key, folder=str(kept), choice=asdict(choice), since=now)

    def _take(self, version: str) -> Path:
        """The bundle of a version, in a folder of its own.

        Raises:
            ValueError: the version holds none.
            RegistryError: its files cannot be copied.
        """
        incoming = self._folder / INCOMING
        shutil.rmtree(incoming, ignore_errors=True)
        found = [path.parent for path in self._registry.fetch(version, incoming).rglob(MANIFEST)]
        if len(found) != 1:
            raise ValueError(f"version {version} holds {len(found)} bundles, and one is needed.")
        return found[0]

    def _refuse(self, state: State, found: Found, reason: str) -> State:
        logger.error("%s | version %s is refused, version %s stays | %s", state.model, found.key, state.version, reason)
        return replace(state, refused=Refusal(found.key, reason, time.time()), refusals=state.refusals + 1)

    def _prune(self) -> None:
        """The bundle that answers stays, and the one before it, which a worker may still be closing."""
        for folder in sorted(self._folder.glob("bundle-*"))[:-KEPT]:
            shutil.rmtree(folder, ignore_errors=True)
        shutil.rmtree(self._folder / INCOMING, ignore_errors=True)


def follow(follower: Follower, folder: Path, seconds: float) -> None:
    """Ask again and again, until standard input ends.

    Args:
        follower: asks.
        folder: of the service, where a nudge appears.
        seconds: between two times, if nothing nudges.
    """
    going_on = True
    while going_on:
        nudged = _nudged(folder)  # before it asks: what comes meanwhile counts
        follower.look()
        going_on = _waits(folder, nudged, seconds)


def _waits(folder: Path, nudged: float, seconds: float) -> bool:
    """Until there is reason to ask. False: standard input has ended."""
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


def _first_line(fault: BaseException) -> str:
    return (str(fault).strip().splitlines() or [type(fault).__name__])[0][:300]


def open_follower(settings: Settings, folder: Path) -> Follower:
    """A follower of what EVENODD_MODEL names.

    Raises:
        ValueError: it is no reference.
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
            f"EVENODD_MODEL={model}: the package mlflow is not installed here. Package with follow=true, "
            "which adds mlflow-skinny."
        ) from None
    return Follower(model, folder, registry, lambda bundle: open_once(bundle, settings))


def main() -> None:
    """Command line, as `following.py` starts it."""
    parser = argparse.ArgumentParser(prog="python -m serving.registry")
    parser.add_argument("--once", action="store_true", help="ask once")
    once = parser.parse_args().once
    logging.basicConfig(level=logging.INFO, format="%(asctime)s [%(levelname)s] [registry] %(message)s", force=True)
    logging.getLogger("mlflow").setLevel(logging.WARNING)
    settings, folder = read_settings(), following_folder()
    if settings.model is None or folder is None:
        raise SystemExit("EVENODD_MODEL is not set: nothing is followed.")
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
