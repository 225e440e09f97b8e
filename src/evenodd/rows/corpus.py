"""Builds a corpus from settings: read, check, drop repeats, split, and write each split to disk once."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pyarrow as pa

from evenodd.rows.augment import LABELS as AUGMENT_LABELS
from evenodd.rows.augment import counterexamples
from evenodd.rows.clean import text_keys
from evenodd.rows.columns import Columns, find_columns
from evenodd.rows.labels import counted
from evenodd.rows.load import Source, open_source
from evenodd.rows.plan import Plan, plan_rows
from evenodd.rows.rows import AUGMENT, SLICE, SPLITS, Corpus, Split
from evenodd.rows.table import RowTable, read_table
from evenodd.settings import DataSettings
from evenodd.storage import FORMAT, digest_of, new_folder, sound
from evenodd.task import Task

logger = logging.getLogger(__name__)

_NOTED = ("dropped/", "skipped_split/", "duplicates", "label_conflicts", "limited")
SCHEMA = pa.schema(
    {"text": pa.string(), "label": pa.int64(), "row_id": pa.int64(), "group": pa.int64(), "origin": pa.string()}
)


def load_corpus(settings: DataSettings, *, seed: int, cache: Path) -> Corpus:
    """Reads, checks, cleans and splits the rows that the settings name.

    The result is cached below `cache` under a key of everything that it depends on. Texts are not held in memory, only
    a few numbers per row.

    Args:
        settings: source, columns, labels, shares.
        seed: seed of the split.
        cache: folder to write to. Nothing is written to the data's folder.

    Raises:
        ValueError: the source or its rows cannot be used; one message lists all faults by line or row number.
        RuntimeError: the hub cannot be reached.
    """
    source = open_source(settings, cache)
    columns = find_columns(source.reader.columns, settings, source.reader.doubt)
    extra = _augmentation(settings, seed)
    folder = cache / "corpora" / _corpus_key(source, columns.as_dict(), settings, seed, extra)
    if not sound(folder):
        table, faults = read_table(source, columns, settings, cache)
        plan = plan_rows(table, settings, seed, faults)
        if extra and not set(AUGMENT_LABELS) <= set(plan.task.labels):
            raise _no_place_for_augment(settings, plan.task.labels)
        plan.augmented = extra
        with new_folder(folder) as building:
            _write_corpus(table, plan, columns, building)
    corpus = _open_corpus(folder, source)
    _log(corpus)
    return corpus


def load_rows(settings: DataSettings, *, label_names: Sequence[str], cache: Path) -> Split:
    """Reads all labelled rows of a source in order, to score a model on them: no splits, repeats are kept.

    Rows with labels that the model does not know are left out, and their number is logged.

    Args:
        settings: source and columns; `labels`, shares and `limit` are ignored.
        label_names: label names of the model, in the order of their indices.
        cache: folder to write to.

    Raises:
        ValueError: the source or its rows cannot be used, or no row has one of the labels.
        RuntimeError: the hub cannot be reached.
    """
    source = open_source(settings, cache)
    columns = find_columns(source.reader.columns, settings, source.reader.doubt)
    table, faults = read_table(source, columns, settings, cache)
    occurring = {name: int((table.label == code).sum()) for code, name in enumerate(table.names)}
    dropped = {name: many for name, many in occurring.items() if name not in label_names}
    if len(dropped) == len(occurring):
        there = ", ".join(f"{name} ({many:,})" for name, many in dropped.items()) or "none"
        faults.general.append(f"none of the model's labels ({', '.join(label_names)}) occurs; found are: {there}")
    faults.raise_if_any()
    for name, many in dropped.items():
        logger.warning(
            "data %s: %s rows of label %s are left out: the model has no such label", source.name, many, name
        )
    folder = cache / "rows" / digest_of([FORMAT, source.digest, columns.as_dict(), list(label_names)])[:24]
    if not sound(folder):
        with new_folder(folder) as building:
            _write_rows(table, tuple(label_names), columns.slices, building)
    digest = json.loads((folder / "rows.json").read_text())["digest"]
    return Split("rows", datasets.Dataset.from_file(str(folder / "rows.arrow")), digest)


def _write_rows(table: RowTable, names: tuple[str, ...], slices: tuple[str, ...], folder: Path) -> None:
    writer = _SplitWriter(folder, "rows", names, slices)
    label = np.array([names.index(name) if name in names else -1 for name in table.names], np.int64)[table.label]
    for start, stored in _stored_batches(table.texts):
        at = np.flatnonzero(label[start : start + len(stored)] >= 0)
        writer.add(stored.take(pa.array(at)), label[at + start], at + start, at + start, "data")
    (folder / "rows.json").write_text(json.dumps({"digest": writer.close()}))


def _corpus_key(source: Source, columns: dict[str, Any], settings: DataSettings, seed: int, extra: list[Any]) -> str:
    chosen = settings.model_dump(include={"labels", "validation_share", "test_share", "limit", "positive"})
    asked = [FORMAT, source.digest, columns, chosen, seed, extra]
    return digest_of(asked)[:24]


def _augmentation(settings: DataSettings, seed: int) -> list[dict[str, Any]]:
    if settings.augment == "none":
        return []
    if settings.labels is not None and not set(AUGMENT_LABELS) <= set(settings.labels):
        raise _no_place_for_augment(settings, settings.labels)
    return counterexamples(settings.augment_rows * settings.augment_turns, seed, settings.augment_kinds)


def _no_place_for_augment(settings: DataSettings, labels: tuple[str, ...]) -> ValueError:
    added = " and ".join(sorted(AUGMENT_LABELS))
    return ValueError(
        f"augment={settings.augment!r}: its rows are labelled {added}, but the labels are {', '.join(labels)}. Pass "
        "-P data.augment=none."
    )


class _SplitWriter:
    """Writes one split's Arrow file and its digest."""

    def __init__(self, folder: Path, name: str, names: tuple[str, ...], slices: tuple[str, ...]) -> None:
        self.slices = [pa.field(f"{SLICE}{column}", pa.string()) for column in slices]
        self.schema = pa.schema([*SCHEMA, *self.slices])
        self.sink = pa.OSFile(str(folder / f"{name}.arrow"), "wb")
        self.stream = pa.ipc.new_stream(self.sink, self.schema)
        self.digest = hashlib.sha256()
        self.names = [name.encode() for name in names]
        self.counts = np.zeros(len(names), dtype=np.int64)

    def add(
        self, stored: pa.RecordBatch, label: np.ndarray, row_id: np.ndarray, group: np.ndarray, origin: str
    ) -> None:
        """Appends rows: their texts and, where they have any, the values of their slices; arrays of (rows,)."""
        if not len(stored):
            return
        texts, *slices = stored.columns
        slices = slices or [pa.nulls(len(stored), pa.string()) for _ in self.slices]
        parts = []
        for text, number in zip(texts.to_pylist(), label.tolist(), strict=True):
            encoded, name = text.encode(), self.names[number]
            parts.append(b"%d:%b%d:%b" % (len(encoded), encoded, len(name), name))
        self.digest.update(b"".join(parts))
        self.counts += np.bincount(label, minlength=len(self.names))
        origins = pa.array([origin] * len(texts), pa.string())
        self.stream.write_batch(pa.record_batch([texts, label, row_id, group, origins, *slices], schema=self.schema))

    def close(self) -> str:
        """Finishes the file and returns the digest."""
        self.stream.close()
        self.sink.close()
        return self.digest.hexdigest()


def _write_corpus(table: RowTable, plan: Plan, columns: Columns, folder: Path) -> None:
    writers = [_SplitWriter(folder, name, plan.task.labels, columns.slices) for name in SPLITS]
    for start, stored in _stored_batches(table.texts):
        here = slice(start, start + len(stored))
        split = plan.split[here]
        for place, writer in enumerate(writers):
            at = np.flatnonzero(split == place)
            writer.add(stored.take(pa.array(at)), plan.label[here][at], at + start, plan.group[here][at], "data")
    _write_augmented(table, plan, writers[0])
    digests = {name: writer.close() for name, writer in zip(SPLITS, writers, strict=True)}
    for name, writer in zip(SPLITS, writers, strict=True):
        plan.counts |= {
            f"{name}/{label}": int(many) for label, many in zip(plan.task.labels, writer.counts, strict=True)
        }
    about = {"task": plan.task.to_dict(), "digests": digests, "counts": plan.counts, "groups": columns.groups}
    about |= {"examples": plan.examples, "slices": columns.slices}
    (folder / "corpus.json").write_text(json.dumps(about, ensure_ascii=False))


def _stored_batches(path: Path) -> Iterator[tuple[int, pa.RecordBatch]]:
    start = 0
    with pa.OSFile(str(path)) as file, pa.ipc.open_stream(file) as stream:
        for batch in stream:
            yield start, batch
            start += len(batch)


def _write_augmented(table: RowTable, plan: Plan, train: _SplitWriter) -> None:
    """Appends counterexamples to train, except those whose text already occurs."""
    if not plan.augmented:
        return
    keys = text_keys(row["text"] for row in plan.augmented)
    fresh = ~np.isin(keys, table.key)
    first = np.zeros(len(keys), dtype=bool)
    first[np.unique(keys, return_index=True)[1]] = True
    rows = [row for row, take in zip(plan.augmented, fresh & first, strict=True) if take]
    ids = np.arange(len(rows), dtype=np.int64)
    labels = np.array([plan.task.labels.index(row["label_text"]) for row in rows], dtype=np.int64)
    groups = ids + plan.group.max() + 1
    texts = pa.record_batch({"text": pa.array([row["text"] for row in rows], pa.string())})
    train.add(texts, labels, ids + len(table), groups, AUGMENT)
    plan.counts |= {"augmented": len(rows), "augment_duplicates": len(plan.augmented) - len(rows)}
    for row in rows:
        kind = f"augmented/{row['kind']}"
        plan.counts[kind] = plan.counts.get(kind, 0) + 1


def _open_corpus(folder: Path, source: Source) -> Corpus:
    about = json.loads((folder / "corpus.json").read_text())
    task = Task.from_dict(about["task"])
    train, validation, test = (
        Split(name, datasets.Dataset.from_file(str(folder / f"{name}.arrow")), about["digests"][name])
        for name in SPLITS
    )
    digest = digest_of([task.labels, about["digests"]])
    return Corpus(
        source.name, task, train, validation, test, digest, source.synthetic, about["counts"], tuple(about["groups"]),
        {kind: tuple(ids) for kind, ids in about["examples"].items()}, tuple(about["slices"]),
    )  # fmt: skip


def _rows_of(corpus: Corpus, label: str) -> int:
    return sum(corpus.counts[f"{split.name}/{label}"] for split in corpus.splits)


def _log(corpus: Corpus) -> None:
    sizes = ", ".join(f"{len(split):,} {split.name}" for split in corpus.splits)
    gone = {kind: many for kind, many in corpus.counts.items() if many and kind.startswith(_NOTED)}
    noted = "".join(f" | {kind} {many:,}" for kind, many in gone.items())
    if "augmented" in corpus.counts:
        noted += f" | {corpus.counts['augmented']:,} counterexamples added to train"
    kind = " (SYNTHETIC: made from templates, figures say nothing about real texts)" if corpus.synthetic else ""
    labels = counted({name: _rows_of(corpus, name) for name in corpus.label_names})
    about = f" | positive {corpus.positive}" if corpus.positive else ""
    logger.info("data %s%s | %s | labels %s%s%s", corpus.name, kind, sizes, labels, about, noted)
    largest, rows = corpus.counts["largest_group"], corpus.counts["kept"]
    if largest > rows / 10:
        columns = ", ".join(corpus.group_columns)
        logger.warning("one group linked by %s holds %s of %s rows; it stays in one split", columns, largest, rows)
    if corpus.counts["group_leaks"]:
        logger.warning(
            "the predefined splits divide %s groups (%s)", corpus.counts["group_leaks"], corpus.group_columns
        )
