"""Reads a source into a checked table on disk.

The table's texts stay on disk. Decisions over all rows need only a few numbers per row: label, text key, group keys,
predefined split.
"""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from evenodd.rows.chunks import Chunk, Reader
from evenodd.rows.clean import is_blank, text_keys, value_keys
from evenodd.rows.columns import SPLIT_VALUES, Columns, split_place
from evenodd.rows.faults import Faults
from evenodd.rows.labels import tidy_label
from evenodd.rows.load import Source
from evenodd.rows.rows import SLICE
from evenodd.settings import DataSettings
from evenodd.storage import FORMAT, digest_of, empty_folder, new_folder, sound

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class RowTable:
    """All rows of a source, checked.

    Attributes:
        texts: Arrow stream with the column `text` and a string column `slice:NAME` for each slice, in the order of the
            source.
        names: label names that occur, in the order of `label`.
        declared: class names in the order that the data declares; empty if it declares none.
        label: int32, (rows,), indices in `names`.
        key: int64, (rows,), equal for texts that are equal after normalisation.
        split: int8, (rows,), 0 train, 1 validation, 2 test, -1 not given.
        groups: int64 keys by group column, 0 for missing values.
        skipped: number of rows of other hub splits, by split.
    """

    texts: Path
    names: tuple[str, ...]
    declared: tuple[str, ...]
    label: np.ndarray
    key: np.ndarray
    split: np.ndarray
    groups: dict[str, np.ndarray]
    skipped: dict[str, int]

    def __len__(self) -> int:
        return len(self.label)


def read_table(source: Source, columns: Columns, settings: DataSettings, cache: Path) -> tuple[RowTable, Faults]:
    """Reads and checks every row, or returns the cached table of the same content.

    Bad rows do not raise an error here: the caller adds its own faults first. A table with faults is not cached.
    """
    asked = {"format": FORMAT, "digest": source.digest, "columns": columns.as_dict()}
    folder = cache / "tables" / digest_of(asked)[:24]
    faults = Faults(settings.source, source.reader.unit)
    if not sound(folder):
        with new_folder(folder) as building:
            _write_table(source.reader, columns, building, faults)
            if faults:
                table = open_table(building)
                empty_folder(building)
                return table, faults
    return open_table(folder), faults


def open_table(folder: Path) -> RowTable:
    """Opens a table that `read_table` wrote."""
    about = json.loads((folder / "table.json").read_text())
    with np.load(folder / "numbers.npz") as numbers:
        groups = {name: numbers[f"group{place}"] for place, name in enumerate(about["groups"])}
        return RowTable(
            folder / "texts.arrow", tuple(about["names"]), tuple(about["declared"]),
            numbers["label"], numbers["key"], numbers["split"], groups, about["skipped"],
        )  # fmt: skip


class _Bad:
    """Positions of faulty rows in a chunk, by kind of fault."""

    def __init__(self, chunk: Chunk) -> None:
        self.invalid = chunk.invalid
        self.kinds: dict[str, np.ndarray] = {}
        for (_, kind), positions in chunk.invalid.items():
            self.add(kind, np.union1d(self.kinds.get(kind, []), positions))

    def add(self, kind: str, positions: np.ndarray) -> None:
        """Records positions of a kind of fault."""
        if len(positions):
            self.kinds[kind] = positions.astype(np.int64)

    def invalid_in(self, column: str) -> list[int]:
        """Positions whose value in `column` could not be read; they are null, but not missing."""
        return [at for (name, _), positions in self.invalid.items() if name == column for at in positions]

    def all(self) -> np.ndarray:
        """All positions, int64, each once."""
        return np.unique(np.concatenate([np.empty(0, np.int64), *self.kinds.values()]))

    def report(self, numbers: np.ndarray, faults: Faults) -> None:
        """Adds the rows to the faults with their numbers."""
        for kind, positions in self.kinds.items():
            faults.add(kind, numbers[positions].tolist())
        faults.bad_rows += len(self.all())


class _TableWriter:
    """Collects the numbers of each chunk and writes its texts."""

    def __init__(self, columns: Columns, reader: Reader, faults: Faults) -> None:
        self.columns, self.faults = columns, faults
        self.declared = reader.declared.get(columns.label)
        self.codes: dict[str, int] = {}
        self.skipped: dict[str, int] = {}
        self.numbers: dict[str, list[np.ndarray]] = {}

    def add(self, chunk: Chunk) -> list[pa.Array] | None:
        """Checks one chunk and returns what is stored of it: its texts and the values of its slices.

        None for a predefined split that is not used.
        """
        if chunk.split is not None and split_place(chunk.split) is None:
            self.skipped[chunk.split] = self.skipped.get(chunk.split, 0) + len(chunk.numbers)
            return None
        bad = _Bad(chunk)
        texts = chunk.columns[self.columns.text].fill_null("")
        values = texts.to_pylist()
        blank = [at for at, text in enumerate(values) if is_blank(text)]
        bad.add("text empty", np.setdiff1d(blank, bad.invalid_in(self.columns.text)))
        labels = self._labels(chunk, bad)
        self._keep("split", self._splits(chunk, bad))
        labels[bad.all()] = -1
        self._keep("label", labels)
        self._keep("key", text_keys(values))
        for place, name in enumerate(self.columns.groups):
            self._keep(f"group{place}", value_keys(_no_blanks(chunk.columns[name])))
        bad.report(chunk.numbers, self.faults)
        return [texts, *(_no_blanks(chunk.columns[name]) for name in self.columns.slices)]

    def _keep(self, name: str, values: np.ndarray) -> None:
        self.numbers.setdefault(name, []).append(values)

    def _labels(self, chunk: Chunk, bad: _Bad) -> np.ndarray:
        """Label indices; -1 if the label is missing or unknown."""
        coded = _no_blanks(chunk.columns[self.columns.label]).dictionary_encode()
        names = map(tidy_label, coded.dictionary.to_pylist())
        codes = np.array([*(self.codes.setdefault(name, len(self.codes)) for name in names), -1], np.int32)
        labels = codes[coded.indices.fill_null(-1).to_numpy(zero_copy_only=False)]
        bad.add("label missing", np.setdiff1d(np.flatnonzero(labels == -1), bad.invalid_in(self.columns.label)))
        return labels

    def _splits(self, chunk: Chunk, bad: _Bad) -> np.ndarray:
        divided = split_place(chunk.split or "")
        if self.columns.split is None or (divided is not None and self.columns.split_found):
            return np.full(len(chunk.numbers), -1 if divided is None else divided, dtype=np.int8)
        coded = _no_blanks(chunk.columns[self.columns.split]).dictionary_encode()
        known = [SPLIT_VALUES.get(value.lower(), -1) for value in coded.dictionary.to_pylist()]
        places = np.array([*known, -1], dtype=np.int8)[coded.indices.fill_null(-1).to_numpy(zero_copy_only=False)]
        if not self.columns.split_found:
            bad.add("split is none of train, validation, test", np.flatnonzero(places < 0))
        return places


def _no_blanks(values: pa.Array) -> pa.Array:
    """Strips white space from values; empty values become null."""
    trimmed = pc.utf8_trim_whitespace(values)
    return pc.if_else(pc.equal(trimmed, ""), pa.scalar(None, pa.string()), trimmed)


def _write_table(reader: Reader, columns: Columns, folder: Path, faults: Faults) -> None:
    wanted = dict.fromkeys([columns.text, columns.label, *columns.groups, *([columns.split] if columns.split else [])])
    slices = [name for name in columns.slices if name not in wanted]
    writer = _TableWriter(columns, reader, faults)
    schema = pa.schema([("text", pa.string()), *((f"{SLICE}{name}", pa.string()) for name in columns.slices)])
    with pa.OSFile(str(folder / "texts.arrow"), "wb") as sink, pa.ipc.new_stream(sink, schema) as stream:
        for chunk in reader.chunks([*wanted, *slices], faults, as_is=slices):
            stored = writer.add(chunk)
            if stored is not None:
                stream.write_batch(pa.record_batch(stored, schema))
    np.savez(folder / "numbers.npz", **_joined(writer, columns))  # type: ignore[arg-type]
    about = {
        "names": list(writer.codes),
        "declared": writer.declared or (),
        "groups": list(columns.groups),
        "skipped": writer.skipped,
    }
    (folder / "table.json").write_text(json.dumps(about, ensure_ascii=False))


def _joined(writer: _TableWriter, columns: Columns) -> dict[str, np.ndarray]:
    """Joins the columns and empties the writer's; a `split` column that was chosen by its name counts only if each of
    its values is a split.
    """
    kinds = {"label": np.int32, "key": np.int64, "split": np.int8}
    kinds |= {f"group{place}": np.int64 for place in range(len(columns.groups))}
    joined = {name: np.concatenate([np.empty(0, kind), *writer.numbers.pop(name, [])]) for name, kind in kinds.items()}
    if columns.split_found and (joined["split"] < 0).any():
        logger.info("column %r is not used: some of its values are not train, validation or test", columns.split)
        joined["split"][:] = -1
    return joined
