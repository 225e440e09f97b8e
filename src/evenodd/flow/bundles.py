"""Bundles of exports: loads them from their runs and checks them against the export's records."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from evenodd import tracking
from evenodd.classifier.bundle import read_bundle
from evenodd.classifier.manifest import MANIFEST
from evenodd.storage import check_digests, file_digest

BUNDLE_TAG = "bundle_sha256"
"""Tag of an export's run: the digest of its bundle's description, which holds the digests of the other files."""


def bundle_tags(folder: Path) -> dict[str, str]:
    """Tags of an export's run that describe its bundle."""
    return {BUNDLE_TAG: file_digest(folder / MANIFEST)}


def check_bundle(folder: Path, tags: Mapping[str, str]) -> None:
    """Reads a bundle and checks that its description (decision, threshold, digests) is the one that its export wrote.

    Args:
        folder: folder of the bundle.
        tags: tags of the export's run.

    Raises:
        ValueError: a file is missing or changed.
        RuntimeError: the description differs.
    """
    read_bundle(folder)
    if BUNDLE_TAG in tags:
        check_digests(folder, {MANIFEST: tags[BUNDLE_TAG]})


def bundle_of(run_id: str) -> Path:
    """The bundle of an export's run.

    Raises:
        ValueError: the run has no bundle, or a file is missing or changed.
        RuntimeError: the description differs.
    """
    folder = tracking.download(run_id, "bundle")
    check_bundle(folder, tracking.get_run(run_id).data.tags)
    return folder
