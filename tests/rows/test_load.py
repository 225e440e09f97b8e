"""Reading rows: all kinds of bad rows are reported together with their numbers; formats agree."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from evenodd.rows import Corpus, load_corpus
from evenodd.rows.faults import Faults
from evenodd.settings import DataSettings


def make_rows(rows: int = 60) -> list[dict[str, Any]]:
    return [
        {
            "text": f'Text {n}, "quoted" \u00e9\n and more',
            "label_text": "hate" if n % 3 == 0 else "noHate",
            "user_id": n // 2,
        }
        for n in range(rows)
    ]


def write_csv(path: Path, rows: list[dict[str, Any]]) -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


def write_jsonl(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def load(path: Path | str, tmp_path: Path, **settings: Any) -> Corpus:
    return load_corpus(DataSettings(source=str(path), **settings), seed=0, cache=tmp_path / "cache")


def faults_of(path: Path, tmp_path: Path, **settings: Any) -> str:
    with pytest.raises(ValueError, match="data=") as caught:
        load(path, tmp_path, **settings)
    return str(caught.value)


def good_lines(many: int = 40) -> list[str]:
    return [json.dumps({"text": f"text {n}", "label_text": "hate" if n % 2 else "noHate"}) for n in range(many)]


def test_the_same_rows_have_the_same_digest_in_every_format(tmp_path: Path) -> None:
    """Otherwise a teacher would be trained again because a file was converted."""
    rows = make_rows()
    sources = [
        write_csv(tmp_path / "rows.csv", rows),
        write_jsonl(tmp_path / "rows.jsonl", rows),
        tmp_path / "rows.json",
        tmp_path / "rows.parquet",
    ]
    sources[2].write_text(json.dumps(rows), encoding="utf-8")
    pq.write_table(pa.Table.from_pylist(rows), sources[3])
    corpora = [load(source, tmp_path) for source in sources]
    assert len({corpus.digest for corpus in corpora}) == 1
    assert corpora[0].counts == corpora[3].counts
    assert sorted(text for split in corpora[0].splits for text in split.texts) == sorted(row["text"] for row in rows)


@pytest.mark.parametrize(("key", "value"), [("text", "Text 7 is another"), ("label_text", "hate")])
def test_another_text_or_label_is_another_digest(tmp_path: Path, key: str, value: str) -> None:
    """A digest that misses a change would reuse a teacher of other data."""
    rows = make_rows()
    first = load(write_jsonl(tmp_path / "rows.jsonl", rows), tmp_path)
    rows[7][key] = value
    assert load(write_jsonl(tmp_path / "rows.jsonl", rows), tmp_path).digest != first.digest


def test_bad_lines_of_json_are_all_reported_with_their_line_numbers(tmp_path: Path) -> None:
    """A person looks the number up in an editor: an offset of one, or faults one by one, cost an hour."""
    lines: list[bytes] = [line.encode() for line in good_lines()]
    bad = {
        3: b'{"text": "   ", "label_text": "hate"}',
        5: b'{"text": "no label"}',
        7: b'{"text": "cut off", "label_te',
        9: b"",
        11: b'{"text": "caf\xe9", "label_text": "hate"}',
        13: b"[1, 2]",
        15: b'{"text": 3.5, "label_text": "hate"}',
        17: b'{"text": "list", "label_text": ["hate"]}',
        19: b'{"text": "\\ud800", "label_text": "hate"}',
        21: b'{"text": "\\u200b", "label_text": ""}',
        23: '{"text": "café", "label_text": "hate"}'.encode(),
    }
    for number, line in bad.items():
        lines.insert(number - 1, line)
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b"\n".join(lines) + b"\n")
    message = faults_of(path, tmp_path).splitlines()
    assert message[0].endswith("9 bad rows. Rows are not dropped silently: correct or remove them.")
    assert sorted(line.strip() for line in message[1:]) == sorted([
        "text empty: lines 3, 21",
        "label missing: lines 5, 21",
        "malformed JSON: line 7",
        "broken encoding (not UTF-8): lines 11, 19",
        "not an object: line 13",
        "text is neither text nor a whole number: line 15",
        "label_text is neither text nor a whole number: line 17",
    ])  # fmt: skip


def test_bad_lines_of_csv_count_the_header_and_quoted_line_breaks(tmp_path: Path) -> None:
    """Row numbers instead of line numbers point at the wrong line after the first quoted line break."""
    path = tmp_path / "rows.csv"
    good = "".join(f"café {n},{'hate' if n % 2 else 'noHate'}\n" for n in range(30)).encode()
    bad = b'"two\nlines",hate\nonly one\n\n,hate\nno label, \ncaf\xe9,hate\na,b,c\n"x"y,hate\nfine,noHate\n"open,hate\n'
    path.write_bytes(b"\xef\xbb\xbftext,label\n" + good + bad)
    message = faults_of(path, tmp_path)
    assert sorted(line.strip() for line in message.splitlines()[1:]) == sorted([
        "not 2 columns wide: lines 34, 39",
        "text empty: line 36",
        "label missing: line 37",
        "broken encoding (not UTF-8): line 38",
        "malformed CSV (quotes): lines 40, 42",
    ])  # fmt: skip


def test_bad_rows_of_parquet_are_counted_from_one(tmp_path: Path) -> None:
    """Parquet has no lines; a position from 0 would be read as one from 1."""
    rows = make_rows()
    rows[0]["text"], rows[59]["label_text"] = " ", None
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "rows.parquet")
    message = faults_of(tmp_path / "rows.parquet", tmp_path)
    assert "text empty: row 1" in message
    assert "label missing: row 60" in message


def test_label_faults_are_in_the_same_message_as_bad_rows(tmp_path: Path) -> None:
    """All faults at once, also when one of them is that a label does not occur."""
    path = tmp_path / "rows.jsonl"
    path.write_text("\n".join([*good_lines(), '{"text": "", "label_text": "hate"}']))
    message = faults_of(path, tmp_path, labels="noHate,spam")
    assert "text empty: line 41" in message
    assert "label spam does not occur; found are: hate (20), noHate (20)" in message


def test_a_number_label_outside_the_declared_names_is_unknown(tmp_path: Path) -> None:
    """Names that a file declares are all there is; -1 is how unlabelled rows are written."""
    info = {"info": {"features": {"label": {"names": ["noHate", "hate"], "_type": "ClassLabel"}}}}
    table = pa.table({"text": [f"text {n}" for n in range(40)], "label": [n % 2 for n in range(38)] + [5, -1]})
    table = table.replace_schema_metadata({"huggingface": json.dumps(info)})
    pq.write_table(table, tmp_path / "rows.parquet")
    assert "label unknown: rows 39, 40" in faults_of(tmp_path / "rows.parquet", tmp_path)
    pq.write_table(table.slice(0, 38), tmp_path / "rows.parquet")
    corpus = load(tmp_path / "rows.parquet", tmp_path)
    assert corpus.label_names == ("noHate", "hate")
    assert all(int(text.split()[1]) % 2 == label for text, label in zip(corpus.train.texts, corpus.train.labels))  # noqa: B905


def test_plain_number_labels_are_names(tmp_path: Path) -> None:
    """The meaning of a number is not guessed: `0` and `1` are the names."""
    rows = [{"text": f"text {n}", "label": n % 2} for n in range(40)]
    path = write_jsonl(tmp_path / "rows.jsonl", rows)
    corpus = load(path, tmp_path)
    assert (corpus.label_names, corpus.positive) == (("0", "1"), "1")


def test_one_class_and_too_few_rows_are_refused(tmp_path: Path) -> None:
    """A split without a label has no macro-F1, and a classifier of one class none at all."""
    rows = make_rows(18)
    path = write_jsonl(tmp_path / "rows.jsonl", rows)
    assert "too few usable rows: hate (6); a label needs 7 for three splits" in faults_of(path, tmp_path)
    assert "one class only (noHate)" in faults_of(path, tmp_path, labels="noHate")


def test_long_lists_of_bad_rows_are_cut_and_counted() -> None:
    """A million numbers in an error hide the other faults."""
    faults = Faults("rows.csv", "line", bad_rows=15)
    faults.add("text empty", range(1, 16))
    assert faults.message().endswith("text empty: lines 1, 2, 3, 4, 5, 6, 7, 8, 9, 10 and 5 more")


@pytest.mark.parametrize(("name", "said"), [
    ("missing.jsonl", "file not found"),
    ("no/such/place", "file not found"),
    ("rows.xlsx", "files of kind .xlsx are not read"),
    ("folder", "it has no file in a supported format"),
])  # fmt: skip
def test_a_source_that_is_no_file_says_what_to_pass(tmp_path: Path, name: str, said: str) -> None:
    """A mistyped path must not be looked up on the hub, or read as something else."""
    (tmp_path / "rows.xlsx").write_text("x")
    (tmp_path / "folder").mkdir()
    source = name if name == "no/such/place" else str(tmp_path / name)
    with pytest.raises(ValueError, match=said) as caught:
        load(source, tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("name", "content"), [
    ("empty.csv", b""), ("empty.jsonl", b""), ("text.parquet", b"none"), ("text.json", b"[1, "), ("twice.csv", b"a,a"),
])  # fmt: skip
def test_a_file_without_rows_or_of_another_kind_is_an_input_error(tmp_path: Path, name: str, content: bytes) -> None:
    """Anything else would be a traceback of a library."""
    (tmp_path / name).write_bytes(content)
    assert name in faults_of(tmp_path / name, tmp_path)


def test_a_header_alone_says_that_no_row_has_a_label(tmp_path: Path) -> None:
    """No rows are no success."""
    (tmp_path / "rows.csv").write_text("text,label\n")
    assert "no row has a label" in faults_of(tmp_path / "rows.csv", tmp_path)


def test_nothing_is_written_beside_the_data_and_nothing_kept_of_bad_rows(tmp_path: Path) -> None:
    """A data folder may be read-only, and a table with faults must not be found again as a good one."""
    folder = tmp_path / "data"
    folder.mkdir()
    path = folder / "rows.jsonl"
    path.write_text("\n".join([*good_lines(), "{"]))
    faults_of(path, tmp_path)
    assert faults_of(path, tmp_path).count("malformed JSON: line 41") == 1
    assert [found.name for found in folder.iterdir()] == ["rows.jsonl"]
    assert not [found for found in (tmp_path / "cache").rglob("*") if found.is_file()]


def test_a_file_with_no_readable_row_reports_its_lines_and_not_its_columns(tmp_path: Path) -> None:
    """ "No text column" about a file that is not JSON at all sends people the wrong way."""
    (tmp_path / "rows.jsonl").write_text("text,label\nfirst,hate\n")
    message = faults_of(tmp_path / "rows.jsonl", tmp_path)
    assert "2 bad rows" in message
    assert "malformed JSON: lines 1, 2" in message


def test_a_limit_that_is_too_small_is_named_as_the_cause(tmp_path: Path) -> None:
    """The data are enough; the setting is what to change."""
    path = write_jsonl(tmp_path / "rows.jsonl", make_rows())
    assert "too few usable rows within limit=15: hate (5); a label needs 7" in faults_of(path, tmp_path, limit=15)
