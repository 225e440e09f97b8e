"""Plans which files are scored into which, and which of them are finished already."""

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
    """Inputs and locations of their results.

    Attributes:
        folder: folder of the results.
        manifest: name of the manifest in it.
        kind: `parquet`, `csv` or `csv.gz`.
        files: input files of supported formats.
        names: names of the results of each file.
    """

    folder: Folder
    manifest: str
    kind: str
    files: tuple[Input, ...]
    names: dict[Input, Names]


@dataclass(frozen=True)
class Plan:
    """The work of a command.

    Attributes:
        files: input files in the order of their rows in the shards, which an interruption does not change.
        done: indices of the files that have results.
        work: folder of scored shards, until their files are written.
        graph: the graph for all files, also after an interruption; None for a model that is not a bundle.
    """

    places: Places
    manifest: Manifest
    files: tuple[Input, ...]
    done: frozenset[int]
    work: Folder
    graph: str | None = None

    @property
    def names(self) -> list[Names]:
        """Names of the results, by index of the file."""
        return [self.places.names[file] for file in self.files]


def find_places(source: str, output: str, said_kind: str | None) -> Places:
    """The files to score and the locations of their results: one file into one, or several into a folder.

    Raises:
        ValueError: there is nothing to score, or there are several files for one output file.
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
        raise ValueError(
            f"output='{output}': this is a file, but there are {len(inputs.files)} files to score. Pass a folder."
        )
    return Places(target, "manifest.json", kind, inputs.files, _named(inputs, kind))


def make_plan(places: Places, model: Model, settings: Settings) -> Plan:
    """The remaining work, resumed in the order in which it was started.

    Raises:
        ValueError: a file of results exists that has no manifest, or is of another model.
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
                f"output: {path} exists, but there is no {places.manifest} that describes it. Choose another output."
            )


def _kind_of(output: str) -> str:
    lower = output.lower()
    return next((kind for kind in sorted(KINDS, key=len, reverse=True) if lower.endswith(f".{kind}")), PARQUET)


def _named(inputs: Inputs, kind: str) -> dict[Input, Names]:
    """Names results after their files; if two files have the same name, after their folders too."""
    often = Counter(file.name for file in inputs.files)
    stems = {
        file: file.name if often[file.name] == 1 else f"{PurePosixPath(file.place).parent.name}-{file.name}"
        for file in inputs.files
    }
    twice = [stem for stem, count in Counter(stems.values()).items() if count > 1]
    if twice:
        raise ValueError(f"input: several files would be scored into {', '.join(twice)}: score the folders separately.")
    return {file: Names(f"{stem}.scores.{kind}", f"{stem}.rejected.{kind}") for file, stem in stems.items()}
