"""Texts to be scored are read as training reads them: whole, in order, with nothing put in place of what is missing."""

from __future__ import annotations

import codecs
import gzip
from datetime import datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from evenodd.rows import read_texts

FINE = [
    ("bom.csv", codecs.BOM_UTF8 + b"text\nfine\n"),
    ("bom.txt", codecs.BOM_UTF8 + b"fine\n"),
    ("blank.jsonl", b'{"text": "fine"}\n\n'),
    ("utf16.csv", "text\r\nfine\r\n".encode("utf-16")),
    ("utf16.txt", "fine\n".encode("utf-16")),
    ("mac.csv", b"text\rfine\r"),
    ("mac.txt", b"fine\r"),
    ("Capital.CSV", b"Text\nfine\n"),
    ("tab.tsv", b"id\ttext\n1\tfine\n"),
    ("semicolon.csv", b"id;text\n1;fine\n"),
    ("excel.csv", b"sep=;\r\nid;text\r\n1;fine\r\n"),
    ("list.json", b'[{"text": "fine"}]'),
    ("wrapped.json", b'{"data": [{"text": "fine"}]}'),
    ("packed.csv.gz", gzip.compress(b"text\nfine\n")),
    ("unicode text.txt", "id\ttext\tlabel\n1\tfine\tx\n".encode("utf-16")),
]


def texts_of(path: Path, content: bytes, column: str | None = None) -> list[str]:
    path.write_bytes(content)
    return [text for chunk in read_texts(path, column) for text in chunk.texts]


def rejected_of(path: Path, content: bytes) -> list[tuple[int, str]]:
    path.write_bytes(content)
    return sorted((row.number, row.reason) for chunk in read_texts(path) for row in chunk.rejected)


@pytest.mark.parametrize(("name", "content"), FINE, ids=[name for name, _ in FINE])
def test_every_format_that_training_reads_is_scored(tmp_path: Path, name: str, content: bytes) -> None:
    """A second reader with other rules would refuse, or misread, the files that a model was fitted on."""
    assert texts_of(tmp_path / name, content) == ["fine"]


def test_a_comma_in_a_text_that_is_not_quoted_does_not_cut_it(tmp_path: Path) -> None:
    """ "Thank you" would be scored in place of "Thank you, but I will never come back"."""
    content = b'text\n"Thank you, but I will never come back"\nThank you, but I will never come back\nfine\n'
    assert texts_of(tmp_path / "one.csv", content) == [*["Thank you, but I will never come back"] * 2, "fine"]
    torn = b"text,id\nfine,1\nThank you, but I will never come back,2\n"
    assert texts_of(tmp_path / "two.csv", torn) == ["fine"]
    assert rejected_of(tmp_path / "two.csv", torn) == [(3, "not 2 columns wide")]


def test_a_missing_text_is_reported_with_its_row_and_never_a_word(tmp_path: Path) -> None:
    """The word "None" would be scored, and the score filed under a row that has no text."""
    rows = b'{"text": null}\n{"text": "ok"}\n{"id": 3}\n{"text": 3.5}\n'
    assert texts_of(tmp_path / "a.jsonl", rows) == ["ok"]
    no_text = "text is neither text nor a whole number"
    assert rejected_of(tmp_path / "a.jsonl", rows) == [(1, "no text"), (3, "no text"), (4, no_text)]
    assert texts_of(tmp_path / "b.csv", b"id,text\n1,None\n2,\n") == ["None"]
    assert rejected_of(tmp_path / "short.csv", b"id,text\n1,fine\n2\n") == [(3, "not 2 columns wide")]
    pq.write_table(pa.table({"text": ["fine", None], "score": [1.5, None]}), tmp_path / "c.parquet")
    chunk = next(read_texts(tmp_path / "c.parquet"))
    assert (chunk.texts, chunk.numbers, [row.number for row in chunk.rejected]) == (["fine"], [1], [2])


def test_bad_rows_alone_and_bad_rows_at_the_end_are_reported(tmp_path: Path) -> None:
    """Rows after the last good one would be lost without a word."""
    assert rejected_of(tmp_path / "all.jsonl", b'{"text": ""}\nnope\n') == [(1, "no text"), (2, "malformed JSON")]
    assert rejected_of(tmp_path / "end.csv", b"id,text\n1,fine\n2,x,y\n") == [(3, "not 2 columns wide")]


def test_columns_that_come_along_keep_what_they_hold(tmp_path: Path) -> None:
    """A price of 1.5 is no text that training could use; beside a score it must not turn into nothing."""
    path = tmp_path / "rows.parquet"
    when = datetime(2026, 1, 2, 3, 4)
    pq.write_table(pa.table({"body": ["fine"], "price": [1.5], "tags": [["a", "b"]], "when": [when]}), path)
    chunk = next(read_texts(path, columns=("price", "Tags", "text", "when")))
    assert chunk.others == {"price": ["1.5"], "Tags": ['["a", "b"]'], "text": ["fine"], "when": ["2026-01-02T03:04:00"]}
    assert next(read_texts(path, columns=())).others == {}
    with pytest.raises(ValueError, match=r"columns=prize: not in .* body, price, tags, when"):
        next(read_texts(path, columns=("prize",)))


def test_fields_of_any_length_are_read(tmp_path: Path) -> None:
    """csv's own limit of 131,072 characters would end a night's work with a traceback."""
    long = "a " * 80_000
    assert texts_of(tmp_path / "big.csv", f"text\n{long}\n".encode()) == [long]


def test_other_columns_and_numbers_come_along_in_chunks(tmp_path: Path) -> None:
    """Scores without the ids of their rows cannot be joined to anything."""
    path = tmp_path / "rows.csv"
    path.write_text("id,Review Text,note\n" + "".join(f"{n},text {n},{'x' if n % 2 else ''}\n" for n in range(7)))
    chunks = list(read_texts(path, rows=3))
    assert [len(chunk) for chunk in chunks] == [3, 3, 1]
    assert chunks[1].texts == ["text 3", "text 4", "text 5"]
    assert chunks[1].numbers == [5, 6, 7]
    texts = ["text 3", "text 4", "text 5"]
    assert chunks[1].others == {"id": ["3", "4", "5"], "Review Text": texts, "note": ["x", None, "x"]}


def test_a_missing_column_is_reported_with_the_existing_ones(tmp_path: Path) -> None:
    """A default name that is looked up in vain must say which names there are."""
    with pytest.raises(ValueError, match=r"no text column was recognised .*Columns there: id, words\."):
        texts_of(tmp_path / "a.csv", b"id,words\n1,fine\n")
    assert texts_of(tmp_path / "a.csv", b"id,words\n1,fine\n", "Words") == ["fine"]
