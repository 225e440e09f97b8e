"""Reviewing corrections: `python -m serving.review PLACE list|accept|refuse|export`.

list [STATE]        corrections as JSON lines; without a state, the new ones
accept NUMBER ...   they become training rows
refuse NUMBER ...   they do not
export FILE         accepted ones as JSON lines with `text` and `label_text`, which `data=FILE` reads
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from .corrections import ACCEPTED, NEW, REFUSED, STATES, Store, open_store


def open_for_review(place: str) -> Store:
    """The store, without limits.

    Raises:
        ValueError: no database is named, or the name is not valid.
        RuntimeError: it cannot be opened.
    """
    store = open_store(place, sys.maxsize, sys.maxsize)
    if store is None:
        raise ValueError("place='': name the file or URL in EVENODD_CORRECTIONS.")
    return store


def write_rows(store: Store, path: Path) -> int:
    """Writes the accepted corrections as JSON lines. Returns their number."""
    rows = store.rows(ACCEPTED)
    with path.open("w", encoding="utf-8") as file:
        file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    return len(rows)


def review(store: Store, numbers: list[int], state: str) -> None:
    """Accepts or refuses corrections.

    Raises:
        ValueError: one does not exist or is not new; those before it have been handled.
    """
    for number in numbers:
        if not store.review(number, state):
            raise ValueError(f"number={number}: there is no new correction with this number; `list` shows them.")


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(prog="python -m serving.review", description="Reviews corrections.")
    parser.add_argument("place", help="the file or URL in EVENODD_CORRECTIONS")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("list").add_argument("state", nargs="?", default=NEW, choices=STATES)
    for name in ("accept", "refuse"):
        commands.add_parser(name).add_argument("numbers", nargs="+", type=int, metavar="NUMBER")
    commands.add_parser("export").add_argument("file", type=Path)
    given = parser.parse_args()
    try:
        store = open_for_review(given.place)
        if given.command == "list":
            print("\n".join(json.dumps(row, ensure_ascii=False) for row in store.rows(given.state)))
        elif given.command == "export":
            print(f"{write_rows(store, given.file)} rows in {given.file}")
        else:
            review(store, given.numbers, ACCEPTED if given.command == "accept" else REFUSED)
    except (ValueError, RuntimeError) as fault:
        raise SystemExit(str(fault)) from None


if __name__ == "__main__":
    main()
