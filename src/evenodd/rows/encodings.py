"""Reads files as bytes and as lines of text: gzip, encodings and line ends.

It recognises UTF-8 with and without a byte order mark, UTF-16 and UTF-32 (Excel's "Unicode text"), and Windows-1252 if
the file is not UTF-8 and its letters look Western. Other code pages cannot be recognised with certainty and must be
given as `data.encoding`. Lines end with LF, CRLF or CR. Gzip is recognised by the file's first bytes, not by its name.
"""

from __future__ import annotations

import codecs
import gzip
import io
import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, cast

BLOCK = 1 << 20
MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
NOT_TEXT = (
    (b"PK\x03\x04", "a ZIP or Excel file. Save the sheet as CSV (UTF-8)"),
    (b"\xd0\xcf\x11\xe0", "an old Excel or Word file. Save the sheet as CSV (UTF-8)"),
    (b"%PDF", "a PDF file. Extract its texts first"),
    (b"BZh", "compressed with bzip2. Only gzip is read"),
    (b"\xfd7zXZ", "compressed with xz. Only gzip is read"),
    (b"\x28\xb5\x2f\xfd", "compressed with zstd. Only gzip is read"),
)
CONTROL = re.compile(rb"[\x00-\x08\x0e-\x1a\x1c-\x1f]")
HIGH, LONG_RUN = re.compile(rb"[\x80-\xff]"), re.compile(rb"[\x80-\xff]{3,}")
WESTERN_SHARE = 0.4
"""Limit for the share of non-ASCII bytes in runs of three or more; a larger share means a script other than Latin."""


@dataclass(frozen=True)
class Encoding:
    """How a file is decoded.

    Attributes:
        name: Python's name of the encoding.
        clean: whether the whole file can be decoded; otherwise lines hold lone surrogates in place of invalid bytes.
        remark: remark for the user; empty for UTF-8.
    """

    name: str
    clean: bool = True
    remark: str = ""


def open_bytes(path: Path) -> IO[bytes]:
    """Opens a file's content, decompressed if it is a gzip file."""
    with path.open("rb") as file:
        packed = file.read(2) == b"\x1f\x8b"
    if packed:
        return cast(IO[bytes], gzip.open(path))
    return path.open("rb")


def head_of(path: Path, size: int = 4096) -> bytes:
    """The first bytes of a file's content.

    Raises:
        ValueError: the file cannot be read.
    """
    try:
        with open_bytes(path) as file:
            return file.read(size)
    except (OSError, EOFError, zlib.error) as error:
        raise ValueError(f"data={str(path)!r}: the file cannot be read ({error}).") from error


def find_encoding(path: Path, said: str | None = None) -> Encoding:
    """Detects the encoding of a file by reading it once.

    Args:
        path: the file.
        said: encoding in the settings; None: detect it.

    Raises:
        ValueError: the file cannot be read, is not text, or does not have the given encoding.
    """
    head = head_of(path)
    for mark, what in NOT_TEXT:
        if head.startswith(mark):
            raise ValueError(f"data={str(path)!r}: this is {what}.")
    name = said or next((name for mark, name in MARKS if head.startswith(mark)), None) or _utf16_without_mark(head)
    if said is not None:
        _check_name(said)
    try:
        if name is None:
            return Encoding("utf-8") if _decodes(path, "utf-8") else _by_lines(path)
        if _decodes(path, name):
            return Encoding(name, remark="" if name.startswith("utf-8") else f"read as {name.upper()}")
    except (OSError, EOFError, zlib.error) as error:
        raise ValueError(f"data={str(path)!r}: the file cannot be read ({error}).") from error
    if name in ("utf-8", "utf-8-sig"):
        return Encoding(name, clean=False)
    raise ValueError(f"data={str(path)!r}: the file is not {name.upper()} throughout. Save it as UTF-8.")


def read_lines(path: Path, encoding: Encoding) -> Iterator[str]:
    """Lines with their ends: LF, CRLF or CR."""
    with (
        open_bytes(path) as raw,
        io.TextIOWrapper(raw, encoding.name, "strict" if encoding.clean else "surrogateescape", newline="") as text,
    ):
        yield from text


def is_broken(line: str) -> bool:
    """Whether a line of a file that is not clean holds invalid bytes."""
    return not line.isascii() and any("\udc80" <= sign <= "\udcff" for sign in line)


def _check_name(said: str) -> None:
    try:
        "".encode(said)
    except (LookupError, ValueError) as error:  # unknown, or not a text encoding
        raise ValueError(f"data.encoding={said!r}: not an encoding. Try utf-8, cp1252, cp1251, gb18030.") from error


def _utf16_without_mark(head: bytes) -> str | None:
    """UTF-16 text in Latin letters has a zero in every second byte."""
    if len(head) < 4:
        return None
    half = len(head) // 2
    if head[1::2].count(0) > 0.4 * half and head[::2].count(0) == 0:
        return "utf-16-le"
    return "utf-16-be" if head[::2].count(0) > 0.4 * half and head[1::2].count(0) == 0 else None


def _decodes(path: Path, name: str) -> bool:
    decoder = codecs.getincrementaldecoder(name)()
    with open_bytes(path) as file:
        try:
            while block := file.read(BLOCK):
                decoder.decode(block)
            decoder.decode(b"", final=True)
        except (UnicodeError, ValueError):
            return False
    return True


def _by_lines(path: Path) -> Encoding:
    """Encoding of a file that is not entirely UTF-8: Windows-1252, or UTF-8 with invalid lines."""
    high = in_runs = 0
    with open_bytes(path) as file:
        for line in file:
            if line.isascii():
                if CONTROL.search(line):
                    return Encoding("utf-8", clean=False)
                continue
            if CONTROL.search(line) or _is_text(line, "utf-8") or not _is_text(line, "cp1252"):
                return Encoding("utf-8", clean=False)
            high, in_runs = high + len(HIGH.findall(line)), in_runs + sum(map(len, LONG_RUN.findall(line)))
    if in_runs > WESTERN_SHARE * high:
        raise ValueError(
            f"data={str(path)!r}: the text is not UTF-8 and its letters are not Latin. Save it as UTF-8, or name its "
            "code page: -P data.encoding=cp1251 (Cyrillic), cp1253 (Greek), gb18030, shift_jis, …"
        )
    remark = "not UTF-8, read as Windows-1252; if accents look wrong, name the code page: -P data.encoding=..."
    return Encoding("cp1252", remark=remark)


def _is_text(line: bytes, name: str) -> bool:
    try:
        line.decode(name)
    except UnicodeDecodeError:
        return False
    return True
