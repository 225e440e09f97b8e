"""What stands beside the results: of which files, by which model, with which digests, how many rows, how fast."""

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
        folder: where it stands.
        name: of its file.
        model: what names the classifier, with digests.
        settings: that decide what the results hold.
        files: one entry for each file of rows, by its path or URL.
        failed: why others have no results, by path or URL.
        speed: of the last command: the graph of the bundle, rows, seconds.
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
        """The manifest that is there, or a new one.

        Raises:
            ValueError: the one that is there is of another model or other settings.
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
                    f"output='{folder.file(name)}': what is there has another {what} ({differ}). "
                    "Name another output, or move this one away."
                )
        manifest.files = found.get("files", {})
        return manifest

    @property
    def figures(self) -> dict[str, float]:
        """The numbers of `speed`."""
        return {name: value for name, value in self.speed.items() if isinstance(value, float)}

    def has(self, file: Input) -> bool:
        """Whether the file has results, and has not changed since."""
        entry = self.files.get(file.place)
        return entry is not None and entry["stamp"] == file.stamp and self.folder.has(entry["results"])

    def owns(self, names: Names) -> bool:
        """Whether a file of results is one that this manifest tells of."""
        return any(entry["results"] == names.results for entry in self.files.values())

    def add(self, file: Input, names: Names, found: Finished) -> None:
        """Notes a finished file, or why there is none."""
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
        """Replaces the file in one step."""
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
