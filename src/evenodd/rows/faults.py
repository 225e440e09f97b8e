"""Faults of a data source, collected so that all of them are reported at once."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

SHOWN = 10


@dataclass
class Faults:
    """Bad rows by kind, and faults of the whole source. Holds a few numbers per kind, however many rows are bad.

    Attributes:
        source: name of the source in the settings.
        unit: `line` if numbers are lines of a text file, otherwise `row`.
        file: the current one of several files; printed before the numbers of its rows.
    """

    source: str
    unit: str = "row"
    file: str = ""
    bad_rows: int = 0
    kinds: dict[str, int] = field(default_factory=dict)
    first: dict[str, list[str]] = field(default_factory=dict)
    general: list[str] = field(default_factory=list)

    def add(self, kind: str, numbers: Iterable[int]) -> None:
        """Counts rows of one kind of fault; `numbers` start at 1."""
        for number in numbers:
            self.kinds[kind] = self.kinds.get(kind, 0) + 1
            shown = self.first.setdefault(kind, [])
            if len(shown) < SHOWN:
                shown.append(f"{self.file}:{number}" if self.file else f"{number:,}")

    def __bool__(self) -> bool:
        return bool(self.kinds or self.general)

    def message(self) -> str:
        """A summary line, then one line per kind."""
        lines = [f"  {self._kind_line(kind)}" for kind in self.kinds] + [f"  {text}" for text in self.general]
        return "\n".join([self._summary(), *lines])

    def raise_if_any(self) -> None:
        """Raises ValueError with `message()` if there are faults."""
        if self:
            raise ValueError(self.message())

    def _summary(self) -> str:
        if not self.kinds:
            return f"data={self.source!r}: the rows cannot be used as they are."
        rows = f"{self.bad_rows:,} bad {'row' if self.bad_rows == 1 else 'rows'}"
        return f"data={self.source!r}: {rows}. Rows are not dropped silently: correct or remove them."

    def _kind_line(self, kind: str) -> str:
        shown, more = self.first[kind], self.kinds[kind] - len(self.first[kind])
        unit = self.unit if self.kinds[kind] == 1 else f"{self.unit}s"
        return f"{kind}: {unit} {', '.join(shown)}" + (f" and {more:,} more" if more else "")


@dataclass
class NotedFaults(Faults):
    """Faults that keep each bad row until it is taken, for readers that continue without bad rows."""

    noted: list[tuple[int, str]] = field(default_factory=list)

    def add(self, kind: str, numbers: Iterable[int]) -> None:
        """See `Faults`."""
        numbers = list(numbers)
        self.noted += [(number, kind) for number in numbers]
        super().add(kind, numbers)

    def take(self) -> list[tuple[int, str]]:
        """Number and kind of the bad rows since the last call."""
        taken, self.noted = self.noted, []
        return taken

    def raise_if_general(self) -> None:
        """Raises ValueError if the source as a whole is faulty: it is damaged, or lacks a column."""
        if self.general:
            raise ValueError(f"data={self.source!r}: {'; '.join(self.general)}.")
