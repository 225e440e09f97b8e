"""Checks the hub once with a short timeout, instead of waiting for a library's retries."""

from __future__ import annotations

import logging
import re
import threading
from pathlib import Path
from typing import Any, Literal

import httpx2
import huggingface_hub
from huggingface_hub import constants
from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled, RepositoryNotFoundError, RevisionNotFoundError

logger = logging.getLogger(__name__)

HUB_NAME = re.compile(r"^[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?$")
TIMEOUT_SECONDS = 8.0
ABOUT = ("*.json", "*.txt", "*.model")
SAFE_WEIGHTS, TORCH_WEIGHTS = "model*.safetensors", "pytorch_model*.bin"
Kind = Literal["data", "teacher"]
WAYS_OUT = {
    "data": "Pass a local file (-P data=rows.jsonl) or the bundled sample (-P data=sample).",
    "teacher": "Pass a local folder (-P teacher=path) or the bundled model (-P teacher=minilm).",
}


def unreachable(kind: Kind, name: str) -> RuntimeError:
    """The error for a hub that does not answer."""
    return RuntimeError(f"{kind}={name!r}: the hub cannot be reached. {WAYS_OUT[kind]}")


def hub_commit(kind: Kind, name: str, revision: str | None = None) -> str:
    """Asks the hub for the commit of `name`, within `TIMEOUT_SECONDS`.

    Args:
        kind: `data` for a data set, `teacher` for a model; also the name of the setting in errors.
        name: `owner/name` or a bare name.
        revision: branch, tag or commit; None: the default branch.

    Returns:
        The commit, 40 hex digits.

    Raises:
        ValueError: the hub has no such name or revision, or it requires an account.
        RuntimeError: the hub cannot be reached, or answers with an error.
    """
    if constants.is_offline_mode():
        raise unreachable(kind, name)
    try:
        return _within(TIMEOUT_SECONDS, lambda: _ask(kind, name, revision))
    except RevisionNotFoundError as error:
        raise ValueError(f"{kind}={name!r}: the hub has no revision {revision!r} of it.") from error
    except RepositoryNotFoundError as error:
        raise ValueError(f"{kind}={name!r}: the hub has no such public name. {WAYS_OUT[kind]}") from error
    except HfHubHTTPError as error:
        status = error.response.status_code if error.response is not None else None
        raise _refused(kind, name, status) from error
    except (OfflineModeIsEnabled, httpx2.HTTPError, OSError) as error:
        raise unreachable(kind, name) from error


def hub_model(name: str, revision: str | None = None) -> Path:
    """Folder with a model's files at a revision; files that are missing locally are downloaded.

    Everything is loaded from that folder, so that the revision applies to configuration, weights and tokenizer.

    Raises:
        ValueError: the hub has no such name or revision, or no supported weights.
        RuntimeError: the hub cannot be reached and there is no local copy.
    """
    try:
        commit = hub_commit("teacher", name, revision)
    except RuntimeError as error:
        folder = cached_model(name, revision)
        if folder is None:
            raise
        logger.info("teacher %s: %s The local copy is used", name, str(error).partition(". ")[0] + ".")
        return folder
    try:
        folder = Path(huggingface_hub.snapshot_download(name, revision=commit, allow_patterns=[*ABOUT, SAFE_WEIGHTS]))
        if not any(folder.glob(SAFE_WEIGHTS)):
            huggingface_hub.snapshot_download(name, revision=commit, allow_patterns=[*ABOUT, TORCH_WEIGHTS])
    except (HfHubHTTPError, OfflineModeIsEnabled, httpx2.HTTPError, OSError) as error:
        raise unreachable("teacher", name) from error
    return folder


def cached_model(name: str, revision: str | None = None) -> Path | None:
    """Folder of a model whose configuration is in the local hub cache, or None."""
    found = huggingface_hub.try_to_load_from_cache(name, "config.json", revision=revision)
    return Path(found).parent if isinstance(found, str) else None


def _ask(kind: Kind, name: str, revision: str | None) -> str:
    api = huggingface_hub.HfApi()
    ask = api.dataset_info if kind == "data" else api.model_info
    return str(ask(name, revision=revision, timeout=TIMEOUT_SECONDS / 2).sha)


def _refused(kind: Kind, name: str, status: int | None) -> ValueError | RuntimeError:
    if status in (401, 403):
        return ValueError(f"{kind}={name!r}: the hub requires an account (hf auth login). {WAYS_OUT[kind]}")
    return RuntimeError(f"{kind}={name!r}: the hub answers with status {status}. {WAYS_OUT[kind]}")


def _within(seconds: float, call: Any) -> Any:
    """Result of `call`, or TimeoutError. A name look-up cannot be interrupted, so it runs on in a daemon thread."""
    results: list[Any] = []
    errors: list[BaseException] = []

    def work() -> None:
        try:
            results.append(call())
        except BaseException as error:  # noqa: BLE001 - handed to the caller below
            errors.append(error)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(seconds)
    if errors:
        raise errors[0]
    if not results:
        raise TimeoutError(f"no answer in {seconds:g} s")
    return results[0]
