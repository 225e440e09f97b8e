"""The store behind "This is wrong": texts with the label that a person chose.

Off unless EVENODD_CORRECTIONS names a database, because it stores what people typed. SQLite by default, PostgreSQL by
URL (needs the package psycopg). A correction is `new` until a person responsible for the data accepts or refuses it.
Only accepted ones become training rows: see `python -m serving.review`.
"""

from __future__ import annotations

import contextlib
import logging
import sqlite3
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

from evenodd.classifier.faults import first_line

logger = logging.getLogger(__name__)

NEW, ACCEPTED, REFUSED = STATES = ("new", "accepted", "refused")
TYPES = {"score": "DOUBLE PRECISION"}
COLUMNS = (
    "created",
    "client",
    "text",
    "label_text",
    "predicted",
    "decision",
    "score",
    "variant",
    "version",
    "comment",
    "state",
    "reviewed",
)
EVERYBODY = ""
WAIT_SECONDS = 2


class StoreFullError(RuntimeError):
    """The limit of corrections that wait for review is reached, for this client or in total."""


class Connection(Protocol):
    """Common interface of SQLite's and psycopg's connections."""

    def execute(self, query: str, parameters: Any = ...) -> Any: ...
    def commit(self) -> None: ...
    def close(self) -> None: ...


class Store:
    """Corrections in a database. Each call opens a connection, so the database may be restarted.

    The numbers of new corrections, per client and in total, are stored too, so that checking a limit needs no count.

    Args:
        connect: opens a connection.
        faults: exceptions of the database.
        mark: placeholder of a value in a statement.
        key: type of an auto-incrementing key.
        limit: new corrections in total.
        client_limit: new corrections per client.
    """

    def __init__(
        self,
        connect: Callable[[], Connection],
        faults: type[Exception],
        *,
        mark: str,
        key: str,
        limit: int,
        client_limit: int,
    ) -> None:
        self._connect, self._faults = connect, faults
        self._mark, self._key = mark, key
        self._limits = {EVERYBODY: limit}
        self._client_limit = client_limit
        self._made = False

    def add(self, correction: dict[str, Any]) -> None:
        """Stores a correction. Keys are those of COLUMNS; `created` and `state` are set here.

        Raises:
            StoreFullError: a limit is reached.
            RuntimeError: the database cannot be reached.
        """
        row = {**correction, "created": _now(), "state": NEW, "reviewed": None}
        client = str(row.get("client") or "unknown")
        with self._transaction() as connection:
            for whose in (EVERYBODY, client):
                self._count_new(connection, whose)
            statement = f"INSERT INTO corrections ({', '.join(COLUMNS)}) VALUES ({self._marks(len(COLUMNS))})"
            connection.execute(statement, tuple(row.get(name) for name in COLUMNS))

    def rows(self, state: str | None = None) -> list[dict[str, Any]]:
        """Corrections with their `id`, in one state or all, oldest first."""
        names = ("id", *COLUMNS)
        chosen, values = ("", ()) if state is None else (f" WHERE state = {self._mark}", (state,))
        with self._transaction() as connection:
            found = connection.execute(f"SELECT {', '.join(names)} FROM corrections{chosen} ORDER BY id", values)
            return [dict(zip(names, row, strict=True)) for row in found.fetchall()]

    def review(self, number: int, state: str) -> bool:
        """Accepts or refuses a new correction. Returns whether it existed."""
        with self._transaction() as connection:
            mark = self._mark
            found = connection.execute(
                f"SELECT client FROM corrections WHERE id = {mark} AND state = {mark}", (number, NEW)
            ).fetchone()
            if found is None:
                return False
            connection.execute(
                f"UPDATE corrections SET state = {mark}, reviewed = {mark} WHERE id = {mark}", (state, _now(), number)
            )
            for whose in (EVERYBODY, str(found[0] or "unknown")):
                connection.execute(f"UPDATE corrections_new SET rows = rows - 1 WHERE client = {mark}", (whose,))
            return True

    def make(self) -> None:
        """Creates the tables, and columns that an older table lacks.

        Raises:
            RuntimeError: the database cannot be reached.
        """
        with self._transaction():
            pass

    def _count_new(self, connection: Connection, whose: str) -> None:
        """Adds one to the counts, unless a limit is reached."""
        limit = self._limits.get(whose, self._client_limit)
        statement = (
            f"INSERT INTO corrections_new (client, rows) VALUES ({self._mark}, 1) ON CONFLICT (client) "
            f"DO UPDATE SET rows = corrections_new.rows + 1 WHERE corrections_new.rows < {self._mark}"
        )
        if connection.execute(statement, (whose, limit)).rowcount == 0:
            of = "" if whose == EVERYBODY else " of this client"
            raise StoreFullError(f"{limit} corrections{of} wait for review, which is the limit; review them first")

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[Connection]:
        try:
            with contextlib.closing(self._connect()) as connection:
                if not self._made:
                    self._make_tables(connection)
                    self._made = True
                yield connection
                connection.commit()
        except self._faults as fault:
            raise RuntimeError(f"the store of corrections cannot be used ({first_line(fault)})") from None

    def _make_tables(self, connection: Connection) -> None:
        columns = [f"{name} {TYPES.get(name, 'TEXT')}" for name in COLUMNS]
        connection.execute(f"CREATE TABLE IF NOT EXISTS corrections (id {self._key}, {', '.join(columns)})")
        connection.execute("CREATE TABLE IF NOT EXISTS corrections_new (client TEXT PRIMARY KEY, rows INTEGER)")
        there = {item[0] for item in connection.execute("SELECT * FROM corrections LIMIT 0").description}
        for name, column in zip(COLUMNS, columns, strict=True):
            if name not in there:
                connection.execute(f"ALTER TABLE corrections ADD COLUMN {column}")
        if "state" not in there:  # in a table without it, all rows are new
            connection.execute(f"UPDATE corrections SET state = '{NEW}' WHERE state IS NULL")
            connection.execute(
                f"INSERT INTO corrections_new SELECT '{EVERYBODY}', count(*) FROM corrections WHERE state = '{NEW}'"
            )
        connection.commit()

    def _marks(self, count: int) -> str:
        return ", ".join([self._mark] * count)


def open_store(place: str | None, limit: int, client_limit: int, password: Path | None = None) -> Store | None:
    """The store in a file, `sqlite:///FILE` or `postgresql://...`; None if no database is named.

    A file that cannot be written is refused; an unreachable database server is not, because it may come back.
    `password` is a file with the server's password, which is read for every connection, so that it can be changed.

    Raises:
        ValueError: the URL has another scheme.
        RuntimeError: the file cannot be opened, or psycopg is not installed.
    """
    if not place:
        return None
    if place.startswith(("postgresql://", "postgres://")):
        return _open_postgres(place, limit, client_limit, password)
    path = place.removeprefix("sqlite:///")
    if "://" in path:
        scheme = place.split("://", 1)[0]
        raise ValueError(f"EVENODD_CORRECTIONS={scheme}://...: allowed are a file, sqlite:///FILE and postgresql://...")
    store = Store(
        lambda: sqlite3.connect(path, timeout=WAIT_SECONDS),
        sqlite3.Error,
        mark="?",
        key="INTEGER PRIMARY KEY",
        limit=limit,
        client_limit=client_limit,
    )
    try:
        store.make()
    except RuntimeError as fault:
        if "locked" not in str(fault):
            raise RuntimeError(f"EVENODD_CORRECTIONS={place!r}: name a file that can be written ({fault}).") from None
        logger.warning("%s; corrections are refused until it can", fault)
    return store


def _open_postgres(place: str, limit: int, client_limit: int, password: Path | None) -> Store:
    try:
        import psycopg
    except ImportError:
        raise RuntimeError(
            "EVENODD_CORRECTIONS names PostgreSQL, but psycopg is not installed: pip install 'psycopg[binary]'."
        ) from None

    def connect() -> Connection:
        secret: dict[str, Any] = {} if password is None else {"password": password.read_text(encoding="utf-8").strip()}
        opened: Connection = psycopg.connect(place, connect_timeout=WAIT_SECONDS, **secret)
        return opened

    store = Store(
        connect,
        psycopg.Error,
        mark="%s",
        key="BIGSERIAL PRIMARY KEY",
        limit=limit,
        client_limit=client_limit,
    )
    try:
        store.make()
    except RuntimeError as fault:
        logger.warning("%s; corrections are refused until it can", fault)
    return store


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
