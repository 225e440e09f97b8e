"""The manifest of results: input files, model, digests, numbers of rows, and speed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from evenodd import __version__
from evenodd.flow.scoring.results import Finished, Names
from evenodd.flow.scoring.target import Folder
from evenodd.rows.inputs import Input

FORMAT = 1


@dataclass
class Manifest:
    """The manifest of a folder of results.

    Attributes:
        folder: folder of the manifest.
        name: name of its file.
        model: identification of the classifier, with digests.
        settings: settings that determine the results.
        files: one entry per input file, by its path or URL.
        failed: reasons why other files have no results, by path or URL.
        speed: speed of the last command: graph of the bundle, rows, seconds.
    """

    folder: Folder
    name: str
    model: dict[str, Any]
    settings: dict[str, Any]
    files: dict[str, dict[str, Any]] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    speed: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def open(cls, folder: Folder, name: str, model: Mapping[str, Any], settings: Mapping[str, Any]) -> Manifest:
        """Reads the existing manifest, or creates a new one.

        Raises:
            ValueError: the existing manifest has another model or other settings.
        """
        found = folder.read_json(name)
        manifest = cls(folder, name, dict(model), dict(settings))
        if found is None:
            return manifest
        for what, ours in (("model", manifest.model), ("settings", manifest.settings)):
            theirs = found.get(what)
            if found.get("files") and theirs != ours:
                differ = ", ".join(
                    f"{key} {theirs.get(key)!r}, now {value!r}"
                    for key, value in ours.items()
                    if theirs.get(key) != value
                )
                raise ValueError(
                    f"output='{folder.file(name)}': the existing results have another {what} ({differ}). "
                    "Choose another output, or move this one away."
                )
        manifest.files = found.get("files", {})
        return manifest

    @property
    def figures(self) -> dict[str, float]:
        """Sets `speed`."""
        return {name: value for name, value in self.speed.items() if isinstance(value, float)}

    def has(self, file: Input) -> bool:
        """Whether an input file has results and has not changed since."""
        entry = self.files.get(file.place)
        return entry is not None and entry["stamp"] == file.stamp and self.folder.has(entry["results"])

    def owns(self, names: Names) -> bool:
        """Whether a file of results is recorded in this manifest."""
        return any(entry["results"] == names.results for entry in self.files.values())

    def add(self, file: Input, names: Names, found: Finished) -> None:
        """Records a finished file, or why it failed."""
        self.files.pop(file.place, None)
        self.failed.pop(file.place, None)
        if found.end.fault:
            self.failed[file.place] = found.end.fault
            return
        self.files[file.place] = {
            "stamp": file.stamp,
            "bytes": file.size,
            "sha256": found.end.sha256,
            "rows": found.end.rows,
            "scored": found.scored,
            "rejected": found.rejected,
            "labels": found.labels,
            "results": names.results,
            "rejected_rows": names.rejected if found.rejected else None,
            "written": found.sha256,
        }

    def write(self) -> None:
        """Replaces the manifest's file atomically."""
        entries: Sequence[dict[str, Any]] = list(self.files.values())
        total = {key: sum(entry[key] for entry in entries) for key in ("rows", "scored", "rejected")}
        content = {
            "format": FORMAT,
            "evenodd": __version__,
            "model": self.model,
            "settings": self.settings,
            "total": total | {"files": len(entries)},
            "speed": self.speed,
            "failed": self.failed,
            "files": self.files,
        }
        self.folder.write_json(self.name, content)
