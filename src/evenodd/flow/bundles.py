"""Bundles of exports: found where their runs keep them, and held against what the export wrote."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from evenodd import tracking
from evenodd.classifier.bundle import read_bundle
from evenodd.classifier.manifest import MANIFEST
from evenodd.storage import check_digests, file_digest

BUNDLE_TAG = "bundle_sha256"
"""Of an export's run: the digest of its bundle's description, which holds those of the other files."""


def bundle_tags(folder: Path) -> dict[str, str]:
    """What an export's run says of its bundle."""
    return {BUNDLE_TAG: file_digest(folder / MANIFEST)}


def check_bundle(folder: Path, tags: Mapping[str, str]) -> None:
    """Reads a bundle, whose description has to be the one that its export wrote: decision, threshold, digests.

    Args:
        folder: of the bundle.
        tags: of the export's run.

    Raises:
        ValueError: a file is missing or changed.
        RuntimeError: the description is another one.
    """
    read_bundle(folder)
    if BUNDLE_TAG in tags:
        check_digests(folder, {MANIFEST: tags[BUNDLE_TAG]})


def bundle_of(run_id: str) -> Path:
    """The bundle that an export's run keeps.

    Raises:
        ValueError: it keeps none, or a file is missing or changed.
        RuntimeError: its description is another one.
    """
    folder = tracking.download(run_id, "bundle")
    check_bundle(folder, tracking.get_run(run_id).data.tags)
    return folder
