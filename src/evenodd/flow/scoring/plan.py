"""Which files are scored into which, and what of it is done already."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from evenodd.flow.scorer import Model
from evenodd.flow.scoring.manifest import Manifest
from evenodd.flow.scoring.results import Names
from evenodd.flow.scoring.target import KINDS, PARQUET, Folder
from evenodd.rows.inputs import Input, Inputs, find_inputs
from evenodd.settings import Settings
from evenodd.storage import digest_of

log = logging.getLogger(__name__)

BEGUN = "inputs.json"


@dataclass(frozen=True)
class Places:
    """Where results go.

    Attributes:
        folder: of the files of results.
        manifest: name of the manifest there.
        kind: `parquet`, `csv` or `csv.gz`.
        files: of the input, those that are of a kind that is read.
        names: of the results of each.
    """

    folder: Folder
    manifest: str
    kind: str
    files: tuple[Input, ...]
    names: dict[Input, Names]


@dataclass(frozen=True)
class Plan:
    """What a command works on.

    Attributes:
        files: in the order of their rows in the shards, which stays when a command is interrupted.
        done: numbers of those that have their results.
        work: where scored shards lie until all is written.
        graph: that answers all of them, however often the command is begun; None for a model that is no bundle.
    """

    places: Places
    manifest: Manifest
    files: tuple[Input, ...]
    done: frozenset[int]
    work: Folder
    graph: str | None = None

    @property
    def names(self) -> list[Names]:
        """Of the results, by number of the file."""
        return [self.places.names[file] for file in self.files]


def find_places(source: str, output: str, said_kind: str | None) -> Places:
    """The files to be scored and where their results go: one file into one, or several into a folder.

    Raises:
        ValueError: nothing to score, or several files for one output.
    """
    inputs = find_inputs(source)
    if inputs.left:
        log.warning("input %s | not read: %s", source, ", ".join(inputs.left))
    target = Folder.at(output)
    is_folder = output.endswith("/") or target.is_folder()
    kind = said_kind or _kind_of(output)
    if len(inputs.files) == 1 and not inputs.is_folder and not is_folder:
        path = PurePosixPath(target.path)
        stem = path.name.removesuffix(f".{kind}")
        names = {inputs.files[0]: Names(path.name, f"{stem}.rejected.{kind}")}
        return Places(Folder(target.system, str(path.parent)), f"{path.name}.manifest.json", kind, inputs.files, names)
    if target.is_file():
        raise ValueError(f"output='{output}': a file, but there are {len(inputs.files)} to score. Name a folder.")
    return Places(target, "manifest.json", kind, inputs.files, _named(inputs, kind))


def make_plan(places: Places, model: Model, settings: Settings) -> Plan:
    """What is left to be done, gone on with in the order in which it was begun.

    Raises:
        ValueError: a file of results is there that is not ours, or that is of another model.
    """
    about: dict[str, Any] = {"text_column": settings.data.text_column, "encoding": settings.data.encoding}
    about |= {"columns": list(settings.run.columns), "format": places.kind}
    manifest = Manifest.open(places.folder, places.manifest, model.identity, about)
    work = places.folder.inside(f".scoring-{digest_of([places.manifest, model.identity, about])[:12]}")
    begun = work.read_json(BEGUN) or {"files": []}
    there = {(file.place, file.stamp): file for file in places.files}
    first = [there[tuple(entry)] for entry in begun["files"] if tuple(entry) in there]
    later = [file for file in places.files if file not in first and not manifest.has(file)]
    files = (*first, *later)
    _check_free(places, manifest, later)
    done = frozenset(number for number, file in enumerate(files) if manifest.has(file))
    if len(done) == len(files):
        return Plan(places, manifest, files, done, work)
    graph = begun["graph"] if "graph" in begun else model.choose_graph()
    work.write_json(BEGUN, {"graph": graph, "files": [(file.place, file.stamp) for file in files]})
    return Plan(places, manifest, files, done, work, graph)


def _check_free(places: Places, manifest: Manifest, files: Sequence[Input]) -> None:
    for file in files:
        names = places.names[file]
        if places.folder.has(names.results) and not manifest.owns(names):
            path = places.folder.file(names.results)
            raise ValueError(
                f"output: {path} is there, and no {places.manifest} beside it tells what it holds. Name another output."
            )


def _kind_of(output: str) -> str:
    lower = output.lower()
    return next((kind for kind in sorted(KINDS, key=len, reverse=True) if lower.endswith(f".{kind}")), PARQUET)


def _named(inputs: Inputs, kind: str) -> dict[Input, Names]:
    """Results are called after their files; where two have one name, after their folders too."""
    often = Counter(file.name for file in inputs.files)
    stems = {
        file: file.name if often[file.name] == 1 else f"{PurePosixPath(file.place).parent.name}-{file.name}"
        for file in inputs.files
    }
    twice = [stem for stem, count in Counter(stems.values()).items() if count > 1]
    if twice:
        raise ValueError(f"input: several files would be scored into {', '.join(twice)}: score their folders apart.")
    return {file: Names(f"{stem}.scores.{kind}", f"{stem}.rejected.{kind}") for file, stem in stems.items()}
