"""Every way in which people write rows down: read as meant, or refused in words; never a traceback."""

from __future__ import annotations

import csv
import gzip
import io
import json
import logging
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from evenodd.rows import Corpus, load_corpus
from evenodd.rows.faults import Faults
from evenodd.rows.files import OPEN, find_files, open_file
from evenodd.settings import DataSettings

ROWS = [
    (f"Number {n}: it was, all in all, {'fine' if n % 3 else 'bad'}", "good" if n % 3 else "bad") for n in range(60)
]
MEANT = sorted(ROWS)


def table(delimiter: str = ",", end: str = "\n", header: tuple[str, ...] = ("text", "label"), **more: Any) -> str:
    file = io.StringIO()
    writer = csv.writer(file, delimiter=delimiter, lineterminator=end, **more)
    writer.writerows([header, *ROWS])
    return file.getvalue()


def objects() -> list[dict[str, str]]:
    return [{"text": text, "label": label} for text, label in ROWS]


def by_columns() -> dict[str, list[str]]:
    return {"text": [text for text, _ in ROWS], "label": [label for _, label in ROWS]}


def load(path: Path | str, tmp_path: Path, **more: Any) -> Corpus:
    return load_corpus(DataSettings(source=str(path), **more), seed=0, cache=tmp_path / "cache")


def rows_of(corpus: Corpus) -> list[tuple[str, str]]:
    return sorted(
        (text, corpus.label_names[label])
        for split in corpus.splits
        for text, label in zip(split.texts, split.labels, strict=True)
    )


def faults_of(path: Path, tmp_path: Path, **more: Any) -> str:
    with pytest.raises(ValueError, match=r"data[.=]") as caught:
        load(path, tmp_path, **more)
    return str(caught.value)


WELL_WRITTEN: dict[str, bytes] = {
    "comma.csv": table().encode(),
    "semicolon.csv": table(";").encode(),
    "tab.tsv": table("\t").encode(),
    "bar.csv": table("|").encode(),
    "tab in a csv.csv": table("\t").encode(),
    "sep line.csv": ("sep=;\r\n" + table(";", "\r\n")).encode("utf-8-sig"),
    "all quoted.csv": table(quoting=csv.QUOTE_ALL).encode(),
    "backslash.csv": table(quoting=csv.QUOTE_ALL, doublequote=False, escapechar="\\").encode(),
    "blanks.csv": table().replace(",good", ', "good"').encode(),
    "crlf.csv": table(end="\r\n").encode(),
    "mac.csv": table(end="\r").encode(),
    "excel unicode.csv": table("\t", "\r\n").encode("utf-16"),
    "utf16 without mark.csv": table().encode("utf-16-le"),
    "utf32.csv": table().encode("utf-32"),
    "excel unicode.txt": table("\t", "\r\n").encode("utf-16"),
    "packed.csv.gz": gzip.compress(table().encode()),
    "packed but not called so.csv": gzip.compress(table().encode()),
    "other names.csv": table(header=("Review Text", "SENTIMENT")).encode(),
    "intents.csv": table(header=("utterance", "intent")).encode(),
    "lines.jsonl": "".join(json.dumps(row) + "\n\n" for row in objects()).encode("utf-8-sig"),
    "lines.json": "".join(json.dumps(row) + "\r\n" for row in objects()).encode(),
    "packed.jsonl.gz": gzip.compress("".join(json.dumps(row) + "\n" for row in objects()).encode()),
    "list.json": json.dumps(objects()).encode(),
    "list over lines.json": json.dumps(objects(), indent=2).encode("utf-16"),
    "wrapped.json": json.dumps({"data": objects()}).encode(),
    "wrapped over lines.json": json.dumps({"version": 1, "data": objects()}, indent=1).encode(),
    "wrapped deeper.json": json.dumps({"corpus": {"rows": objects()}}, indent=1).encode(),
    "one after another.json": "\n".join(json.dumps(row, indent=2) for row in objects()).encode(),
    "columns.json": json.dumps(by_columns()).encode(),
    "pandas.json": json.dumps({k: dict(enumerate(v)) for k, v in by_columns().items()}).encode(),
    "pandas index.json": json.dumps(dict(enumerate(objects())), indent=1).encode(),
    "pandas split.json": json.dumps({"columns": ["text", "label"], "index": [0], "data": ROWS}).encode(),
}


@pytest.mark.parametrize("name", WELL_WRITTEN)
def test_the_same_rows_are_read_whatever_they_are_written_in(tmp_path: Path, name: str) -> None:
    """A dialect that is not known is read as something else: texts cut at commas, marks as part of a name."""
    (tmp_path / name).write_bytes(WELL_WRITTEN[name])
    assert rows_of(load(tmp_path / name, tmp_path)) == MEANT


def test_quotes_that_are_ordinary_signs_do_not_join_rows(tmp_path: Path) -> None:
    """Tab-separated files of many tools do not quote: an open quote would swallow rows up to the next one."""
    path = tmp_path / "rows.tsv"
    lines = [f"{text}{' 5' + chr(34) if n == 30 else ''}\t{label}\n" for n, (text, label) in enumerate(ROWS)]
    lines[10] = '"' + lines[10]
    path.write_text("text\tlabel\n" + "".join(lines))
    found = rows_of(load(path, tmp_path))
    assert len(found) == len(ROWS)
    assert {text for text, _ in found} >= {'"' + ROWS[10][0], ROWS[20][0]}


def test_rows_behind_an_open_quote_are_a_fault_and_not_a_long_text(tmp_path: Path) -> None:
    """The file is well-formed and one text holds ten rows with their labels."""
    path = tmp_path / "rows.csv"
    lines = table(quoting=csv.QUOTE_ALL).splitlines()
    lines[20] = '"Number 19 and no end,good'
    lines[21] = 'Number 20 goes on",bad'
    path.write_text("\n".join(lines))
    assert "an open quote that swallows the rows after it: line 21" in faults_of(path, tmp_path)


def test_texts_of_several_lines_are_no_swallowed_rows(tmp_path: Path) -> None:
    """Reviews have paragraphs, and commas in them."""
    path = tmp_path / "rows.csv"
    rows = [(f"Dear all, number {n}\nI am fine, thanks\n\nregards, N", label) for n, (_, label) in enumerate(ROWS)]
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([("text", "label"), *rows])
    assert rows_of(load(path, tmp_path)) == sorted(rows)


def test_a_windows_code_page_is_read_and_reported(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Excel's plain CSV in Western Europe; an e with an accent must not be lost, nor guessed in silence."""
    path = tmp_path / "rows.csv"
    path.write_bytes(table().replace("Number", "Numéro").encode("cp1252"))
    with caplog.at_level(logging.INFO):
        found = load(path, tmp_path)
    assert all(text.startswith("Numéro") for text, _ in rows_of(found))
    assert "read as Windows-1252" in caplog.text


def test_another_script_in_a_code_page_is_not_guessed(tmp_path: Path) -> None:
    """Cyrillic read as Western letters is a text that nobody wrote; what the settings name is obeyed."""
    path = tmp_path / "rows.csv"
    path.write_bytes(table().replace("Number", "Число номер").encode("cp1251"))
    assert "name its code page: -P data.encoding=cp1251" in faults_of(path, tmp_path)
    assert rows_of(load(path, tmp_path, encoding="cp1251"))[0][0].startswith("Число номер")
    assert "not an encoding" in faults_of(path, tmp_path, encoding="cp99")
    assert "not UTF-16" in faults_of(path, tmp_path, encoding="utf-16")


def test_a_header_that_is_missing_is_noticed(tmp_path: Path) -> None:
    """The first row would be read as names, and the message would advise to name columns that do not exist."""
    path = tmp_path / "rows.csv"
    path.write_text("".join(table().splitlines(keepends=True)[1:]))
    message = faults_of(path, tmp_path)
    assert "Is there a header? 'bad' in the first line is also a value further down" in message
    assert "add a first line with names" in message


def test_types_of_columns_are_kept_until_there_are_names(tmp_path: Path) -> None:
    """A class whose name is a digit, and a class's number, are written alike and mean different rows."""
    numbers, texts = [n % 3 for n in range(60)], [text for text, _ in ROWS]
    info = {"info": {"features": {"label": {"names": ["1", "2", "0"], "_type": "ClassLabel"}}}}
    declared = pa.table({"text": texts, "label": numbers}).replace_schema_metadata({"huggingface": json.dumps(info)})
    of_names = pa.table({"text": texts, "label": [("1", "2", "0")[n] for n in numbers]})
    kinds = {
        "declared": declared,
        "names beside a declaration": of_names.replace_schema_metadata({"huggingface": json.dumps(info)}),
        "categorical": pa.table({"text": texts, "label": pa.array(["120"[n] for n in numbers]).dictionary_encode()}),
        "whole numbers": pa.table({"text": texts, "label": [(1, 2, 0)[n] for n in numbers]}),
        "floats": pa.table({"text": texts, "label": [(1.0, 2.0, 0.0)[n] for n in numbers]}),
        "numbers as categories": pa.table(
            {"text": texts, "label": pa.array([(1, 2, 0)[n] for n in numbers]).dictionary_encode()}
        ),
        "bytes": pa.table({"text": texts, "label": [(b"1", b"2", b"0")[n] for n in numbers]}),
    }
    expected = {text: ("1", "2", "0")[n] for text, n in zip(texts, numbers, strict=True)}
    for name, rows in kinds.items():
        pq.write_table(rows, tmp_path / f"{name}.parquet")
        assert dict(rows_of(load(tmp_path / f"{name}.parquet", tmp_path))) == expected, name
    assert load(tmp_path / "declared.parquet", tmp_path).label_names == ("1", "2", "0")
    assert load(tmp_path / "whole numbers.parquet", tmp_path).label_names == ("0", "1", "2")


def test_truth_values_are_labels_and_missing_ones_are_faults(tmp_path: Path) -> None:
    """NaN is how pandas writes nothing; as the word `nan` it would be a class."""
    texts = [text for text, _ in ROWS]
    truth = pa.table({"text": texts, "label": [n % 2 == 0 for n in range(60)]})
    pq.write_table(truth, tmp_path / "truth.parquet")
    assert load(tmp_path / "truth.parquet", tmp_path).label_names == ("false", "true")
    missing = pa.table({"text": [*texts[:-1], None], "label": [float("nan"), 0.5, *[float(n % 2) for n in range(58)]]})
    pq.write_table(missing, tmp_path / "missing.parquet")
    message = faults_of(tmp_path / "missing.parquet", tmp_path)
    assert "label missing: row 1" in message
    assert "label is neither text nor a whole number: row 2" in message
    assert "text empty: row 60" in message
    path = tmp_path / "missing.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in [*objects(), {"text": None, "label": float("nan")}]))
    message = faults_of(path, tmp_path)
    assert "text empty: line 61" in message
    assert "label missing: line 61" in message


def test_a_split_column_is_found_in_capitals(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Divided anew in silence, published test rows would be trained on."""
    path = tmp_path / "rows.csv"
    parts = ["Train", "train", "TEST", "validation"]
    lines = [f'"{text}",{label},{parts[n // 3 % 4]}' for n, (text, label) in enumerate(ROWS)]
    path.write_text("\n".join(["Text,Label,Split", *lines]))
    with caplog.at_level(logging.INFO):
        found = load(path, tmp_path)
    assert [len(split) for split in found.splits] == [30, 15, 15]
    assert "columns of" in caplog.text
    assert "text 'Text' | label 'Label' | split 'Split'" in caplog.text


def test_columns_that_would_fit_and_are_not_used_are_reported(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Two columns of text or label are the usual cause of a model of the wrong thing."""
    path = tmp_path / "rows.csv"
    lines = [f'"{text}",{label},{n % 5},x' for n, (text, label) in enumerate(ROWS)]
    path.write_text("\n".join(["text,label,rating,sentence", *lines]))
    with caplog.at_level(logging.INFO):
        load(path, tmp_path)
    assert "not used: sentence, rating" in caplog.text


def test_several_files_and_folders_are_one_source(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Exports come in parts; a part in other columns or a fault in one must name its file."""
    folder = tmp_path / "reviews"
    folder.mkdir()
    lines = table().splitlines(keepends=True)
    (folder / "a.csv").write_text("".join(lines[:31]))
    pq.write_table(
        pa.table({"Label": [row[1] for row in ROWS[30:]], "TEXT": [row[0] for row in ROWS[30:]]}), folder / "b.parquet"
    )
    (folder / "notes.docx").write_text("x")
    with caplog.at_level(logging.WARNING):
        found = load(folder, tmp_path)
    assert (rows_of(found), found.name) == (MEANT, "reviews")
    assert "not read: notes.docx" in caplog.text
    assert rows_of(load(f"{folder}/a.csv,{folder}/b.parquet", tmp_path)) == MEANT
    assert load(f"{folder}/*.csv", tmp_path, limit=29).name == "a"
    with (folder / "a.csv").open("a") as file:
        file.write("short\n")
    assert "not 2 columns wide: line a.csv:32" in faults_of(folder, tmp_path)
    (folder / "c.jsonl").write_text('{"words": "x"}\n')
    assert "c.jsonl has no column text, label: there are words" in faults_of(folder, tmp_path)


def test_files_called_after_splits_are_the_splits(tmp_path: Path) -> None:
    """A published test file that is mixed into training makes the scores on it worthless."""
    for name, rows in (
        ("train-00000-of-00002.csv", ROWS[:20]),
        ("train-00001-of-00002.csv", ROWS[20:40]),
        ("test.csv", ROWS[40:]),
    ):
        with (tmp_path / name).open("w", newline="") as file:
            csv.writer(file).writerows([("text", "label"), *rows])
    found = load(f"{tmp_path}/*.csv", tmp_path)
    assert sorted(found.test.texts) == sorted(text for text, _ in ROWS[40:])
    path = tmp_path / "divided.json"
    path.write_text(json.dumps({"train": objects()[:40], "test": objects()[40:]}))
    assert load(path, tmp_path).test.digest == found.test.digest


BROKEN = [
    ("sheet.csv", b"PK\x03\x04rest", "Excel file. Save the sheet as CSV"),
    ("cut.csv.gz", gzip.compress(table().encode())[:90], "cannot be read"),
    ("two.json", json.dumps({"a": objects(), "b": objects()}).encode(), r"several lists of objects \(a, b\)"),
    ("cut.json", json.dumps(objects(), indent=1).encode()[:-30], "malformed JSON: .*line"),
    ("deep.json", b"[" * 100_000, "malformed JSON"),
    ("deep.jsonl", b'{"a":' * 100_000, "malformed JSON"),
    ("numbers.json", b"[1, 2, 3]", "no text column"),
    ("one.csv", b"text,label,label\na,b,c\n", "label and label could each be the label"),
    ("cut.parquet", b"PAR1 and no more", "not a whole Parquet file"),
    ("odd.csv", table().encode("utf-16")[:-1], "not UTF-16 throughout"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "content", "said"), BROKEN, ids=[name for name, *_ in BROKEN])
def test_files_that_cannot_be_read_say_why(tmp_path: Path, name: str, content: bytes, said: str) -> None:
    """A traceback of a library, or "no text column", sends people the wrong way."""
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=said):
        load(tmp_path / name, tmp_path)


def test_a_damaged_page_of_parquet_is_reported(tmp_path: Path) -> None:
    """The footer is whole, the rows are not."""
    pq.write_table(pa.table(by_columns()), tmp_path / "rows.parquet", compression="none")
    content = bytearray((tmp_path / "rows.parquet").read_bytes())
    content[4:200] = bytes(196)
    (tmp_path / "rows.parquet").write_bytes(content)
    assert "damaged after row 0" in faults_of(tmp_path / "rows.parquet", tmp_path)


def test_a_class_with_too_few_rows_is_reported_with_advice(tmp_path: Path) -> None:
    """Otherwise a split lacks it, and the failure comes after the fit."""
    path = tmp_path / "rows.csv"
    path.write_text(table() + "".join(f"rare {n},odd\n" for n in range(3)))
    message = faults_of(path, tmp_path)
    assert "too few usable rows: odd (3); a label needs 7 for three splits" in message
    assert "-P labels=bad,good" in message
    assert load(path, tmp_path, labels="bad,good").counts["dropped/odd"] == 3


PRINTED = st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"])


def test_many_classes_of_a_few_rows_each_are_in_every_split(tmp_path: Path) -> None:
    """Seventy-seven intents in six hundred rows are an ordinary start; a class without test rows has no score."""
    path = tmp_path / "intents.csv"
    path.write_text("utterance,intent\n" + "".join(f"utterance {n},intent {n % 77}\n" for n in range(600)))
    found = load(path, tmp_path)
    assert len(found.label_names) == 77
    assert all(len(set(split.labels.tolist())) == 77 for split in found.splits)


BITS = st.one_of(
    st.binary(max_size=200),
    st.text(alphabet='text,label;\t|"\\\n\r {}[]:0a\u00e9\ud7ff', max_size=200).map(lambda text: text.encode()),
    st.text(max_size=60).map(lambda text: text.encode("utf-16", "surrogatepass")),
    st.binary(max_size=60).map(gzip.compress),
    st.sampled_from([table().encode(), json.dumps(objects()).encode()]).flatmap(
        lambda content: st.integers(0, len(content)).map(lambda cut: content[:cut])
    ),
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    content=BITS, kind=st.sampled_from(sorted(OPEN)), header=st.sampled_from([b"", b"text,label\n", b'{"text": "a"}\n'])
)
def test_no_file_whatever_is_in_it_is_a_traceback(tmp_path: Path, content: bytes, kind: str, header: bytes) -> None:
    """People try the files that they have; each library fails on them in its own way."""
    path = tmp_path / f"rows{kind}"
    path.write_bytes(header + content)
    try:
        reader = open_file(path)
        faults = Faults(str(path), reader.unit)
        names = [name for name in dict.fromkeys(reader.columns) if reader.columns.count(name) == 1]
        for chunk in reader.chunks(names, faults):
            assert all(pa.types.is_string(values.type) for values in chunk.columns.values())
            assert all(len(values) == len(chunk.numbers) for values in chunk.columns.values())
        faults.message()
    except ValueError as error:
        said = str(error)
        assert str(path) in said


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    texts=st.lists(
        st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), min_size=1), min_size=3, max_size=20
    ),
    delimiter=st.sampled_from(",;\t|"),
    encoding=st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]),
    end=st.sampled_from(["\n", "\r\n"]),
)
def test_any_text_comes_back_as_it_was_written(
    tmp_path: Path, texts: list[str], delimiter: str, encoding: str, end: str
) -> None:
    """A character that a reader takes for its own (a quote, a separator, a line end of Unicode) would change a text."""
    path = tmp_path / "rows.csv"
    with path.open("w", newline="", encoding=encoding) as file:
        writer = csv.writer(file, delimiter=delimiter, lineterminator=end)
        writer.writerows([("text", "label"), *((text, f"l{n % 2}") for n, text in enumerate(texts))])
    chunks = list(open_file(path).chunks(["text"], Faults(str(path))))
    assert [text for chunk in chunks for text in chunk.columns["text"].to_pylist()] == texts


def test_a_list_of_files_with_one_that_is_missing_is_not_found(tmp_path: Path) -> None:
    """Training on the files that happen to be there would be training on fewer rows."""
    (tmp_path / "a.csv").write_text(table())
    assert find_files(f"{tmp_path}/a.csv,{tmp_path}/b.csv") is None
