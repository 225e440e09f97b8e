"""The store behind "This is wrong": texts with the label that a person gave, to be read as training rows later.

Off unless EVENODD_CORRECTIONS names a place, because it keeps what people typed. SQLite by default, PostgreSQL by URL
(needs the package psycopg). `python -m serving.corrections PLACE rows.jsonl` writes the rows as JSON lines with `text`
and `label_text`, which `data=rows.jsonl` reads.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import sqlite3
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

COLUMNS = ("created", "text", "label_text", "predicted", "decision", "score", "variant", "version", "comment")
_TABLE = f"""CREATE TABLE IF NOT EXISTS corrections (
    id {{key}}, {", ".join(f"{name} {'DOUBLE PRECISION' if name == 'score' else 'TEXT'}" for name in COLUMNS)})"""
_COUNT = "SELECT count(*) FROM corrections"
_ALL = f"SELECT {', '.join(COLUMNS)} FROM corrections ORDER BY id"


class StoreFullError(RuntimeError):
    """The store holds as many corrections as it may."""


class _Connection(Protocol):
    def execute(self, query: str, parameters: Any = ...) -> Any: ...
    def commit(self) -> None: ...
    def close(self) -> None: ...


class Store:
    """Corrections in a database. A connection lives for one call, so a database may come and go."""

    def __init__(self, connect: Callable[[], _Connection], faults: type[Exception], *, mark: str, limit: int) -> None:
        self._connect = connect
        self._faults = faults
        self._insert = f"INSERT INTO corrections ({', '.join(COLUMNS)}) VALUES ({', '.join([mark] * len(COLUMNS))})"
        self._limit = limit

    def add(self, correction: dict[str, Any]) -> None:
        """Keep one correction. Keys are those of COLUMNS; `created` is set here.

        Raises:
            StoreFullError: the limit is reached.
            RuntimeError: the database cannot be reached.
        """
        row = {**correction, "created": datetime.now(UTC).isoformat(timespec="seconds")}
        with self._transaction() as connection:
            if connection.execute(_COUNT).fetchone()[0] >= self._limit:
                raise StoreFullError(f"the store holds {self._limit} corrections, as many as it may")
            connection.execute(self._insert, tuple(row.get(name) for name in COLUMNS))

    def rows(self) -> list[dict[str, Any]]:
        """All corrections, oldest first."""
        with self._transaction() as connection:
            return [dict(zip(COLUMNS, row, strict=True)) for row in connection.execute(_ALL).fetchall()]

    def create(self, statement: str) -> None:
        """Make the table if it is not there."""
        with self._transaction() as connection:
            connection.execute(statement)

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[_Connection]:
        try:
            with contextlib.closing(self._connect()) as connection:
                yield connection
                connection.commit()
        except self._faults as fault:
            reason = (str(fault).strip().splitlines() or [type(fault).__name__])[0]
            raise RuntimeError(f"the store of corrections cannot be used ({reason})") from None


def open_store(place: str | None, limit: int) -> Store | None:
    """The store at a file, `sqlite:///FILE` or `postgresql://...`; None when no place is named.

    Raises:
        ValueError: another kind of URL.
        RuntimeError: the database cannot be opened, or psycopg is not installed.
    """
    if not place:
        return None
    if place.startswith(("postgresql://", "postgres://")):
        return _open_postgres(place, limit)
    path = place.removeprefix("sqlite:///")
    if "://" in path:
        scheme = place.split("://", 1)[0]
        raise ValueError(f"EVENODD_CORRECTIONS={scheme}://...: allowed are a file, sqlite:///FILE and postgresql://...")
    store = Store(lambda: sqlite3.connect(path, timeout=10), sqlite3.Error, mark="?", limit=limit)
    return _ready(store, "INTEGER PRIMARY KEY", f"EVENODD_CORRECTIONS={place!r}: name a file that can be written")


def _open_postgres(place: str, limit: int) -> Store:
    try:
        import psycopg
    except ImportError:
        raise RuntimeError(
            "EVENODD_CORRECTIONS names PostgreSQL and psycopg is missing: pip install 'psycopg[binary]'."
        ) from None
    store = Store(lambda: psycopg.connect(place, connect_timeout=10), psycopg.Error, mark="%s", limit=limit)
    return _ready(store, "BIGSERIAL PRIMARY KEY", "EVENODD_CORRECTIONS=postgresql://...")


def _ready(store: Store, key: str, advice: str) -> Store:
    try:
        store.create(_TABLE.format(key=key))
    except RuntimeError as fault:
        raise RuntimeError(f"{advice}: {fault}.") from None
    return store


def write_rows(place: str, path: Path) -> int:
    """Write the corrections at `place` as JSON lines. Returns how many."""
    store = open_store(place, limit=sys.maxsize)
    if store is None:
        raise ValueError("place='': name the file or URL that EVENODD_CORRECTIONS named.")
    rows = store.rows()
    with path.open("w", encoding="utf-8") as file:
        file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    return len(rows)


def main() -> None:
    """Command line: PLACE FILE."""
    parser = argparse.ArgumentParser(prog="python -m serving.corrections", description="Corrections as training rows.")
    parser.add_argument("place", help="what EVENODD_CORRECTIONS named")
    parser.add_argument("file", type=Path, help="JSON lines to write; -P data=FILE reads it")
    given = parser.parse_args()
    try:
        print(f"{write_rows(given.place, given.file)} rows in {given.file}")
    except (ValueError, RuntimeError) as fault:
        raise SystemExit(str(fault)) from None


if __name__ == "__main__":
    main()
