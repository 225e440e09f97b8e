"""`score` over files: which are read, where results go, what becomes of rows that have no text, and of kills."""

from __future__ import annotations

import csv
import gzip
import json
import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pyarrow.parquet as pq
import pytest

from evenodd.evidence import Decision
from evenodd.flow import score as flow_score
from evenodd.flow import scorer
from evenodd.flow.score import ScoredFiles, score_plan
from evenodd.flow.scoring import shards
from evenodd.flow.scoring.plan import find_places, make_plan
from evenodd.flow.scoring.results import Collector
from evenodd.flow.scoring.target import Folder, Hashed
from evenodd.settings import Settings, make_request, resolve_settings


class WordCounter:
    """Stands for a classifier: calls texts of more than two words `good`."""

    decision = Decision(1.0, 0.5, (0.4, 0.6), "f1_macro", 1, ("bad", "good"))

    def read(self, texts: Sequence[str]) -> tuple[np.ndarray, list[int]]:
        logits = np.array([[0.0, len(text.split()) - 2.5] for text in texts], dtype=np.float32).reshape(-1, 2)
        return self.decision.probabilities(logits), [1] * len(texts)


class Words:
    """Stands for a model that is found; `opened` counts how often it is opened."""

    name, labels, bundle = "words", ("bad", "good"), None

    def __init__(self, version: int = 1) -> None:
        self.identity = {"version": version}
        self.opened = 0

    def choose_graph(self) -> None:
        return None

    def open(self, threads: int = 1, graph: str | None = None) -> WordCounter:
        self.opened += 1
        return WordCounter()


def scored(source: object, output: object, model: Any = None, **said: Any) -> ScoredFiles:
    """What `score` does, without a registry."""
    settings: Settings = resolve_settings({"input": str(source), "output": str(output), "jobs": 1, **said})
    places = find_places(str(source), str(output), settings.run.format)
    model = model or Words()
    return score_plan(make_plan(places, model, settings), model, settings)


def rows_of(path: Path) -> list[dict[str, Any]]:
    if path.suffix == ".parquet":
        return pq.read_table(path).to_pylist()
    with gzip.open(path, "rt") if path.suffix == ".gz" else path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_a_folder_is_scored_file_by_file_and_what_is_not_read_is_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A file passed over in silence is missed weeks later."""
    source = tmp_path / "in"
    source.mkdir()
    for name in ("a.csv", "B.CSV", "c.tsv", "e.docx", ".hidden.csv"):
        (source / name).write_text("text\nfine\n")
    with caplog.at_level(logging.WARNING):
        done = scored(source, tmp_path / "out")
    written = {path.name for path in (tmp_path / "out").iterdir()}
    assert written == {*(f"{name}.scores.parquet" for name in ("a.csv", "B.CSV", "c.tsv")), "manifest.json"}
    assert (done.texts, done.files, done.skipped) == (3, 3, 0)
    assert "not read: e.docx" in caplog.text


def test_the_output_decides_whether_it_is_a_file_and_of_which_kind(tmp_path: Path) -> None:
    """A folder that exists was taken for the finished result of a file."""
    one = tmp_path / "one.csv"
    one.write_text("text\nthree words here\n")
    (tmp_path / "out").mkdir()
    for output, written in (
        ("out", "out/one.csv.scores.parquet"),
        ("new/", "new/one.csv.scores.parquet"),
        ("o.csv", "o.csv"),
        ("o.csv.gz", "o.csv.gz"),
        ("o", "o"),
    ):
        scored(one, f"{tmp_path}/{output}")
        assert (tmp_path / written).is_file(), output
    assert rows_of(tmp_path / "o.csv.gz") == rows_of(tmp_path / "o.csv")
    assert pq.read_table(tmp_path / "o").num_rows == 1
    assert json.loads((tmp_path / "o.manifest.json").read_text())["total"]["scored"] == 1
    scored(one, f"{tmp_path}/sheets/", format="csv")
    assert rows_of(tmp_path / "sheets" / "one.csv.scores.csv")[0]["label"] == "good"


def test_what_cannot_be_scored_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    """Several files for one output, a file that is not there, two results of one name, a file that is another's."""
    for name in ("one.csv", "two.csv", "a/x.csv", "b/a/x.csv"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("text\nfine\n")
    (tmp_path / "out.csv").write_text("mine")
    for source, output, fault in (
        ("*.csv", "out.csv", "Pass a folder"),
        ("three.csv", "out", "no such file"),
        ("a/x.csv,{}/b/a/x.csv", "out", "a-x.csv: score the folders separately"),
        ("one.csv", "out.csv", "exists, but there is no out.csv.manifest.json"),
    ):
        with pytest.raises(ValueError, match=fault):
            scored(f"{tmp_path}/{source.format(tmp_path)}", tmp_path / output)
    assert (tmp_path / "out.csv").read_text() == "mine"


def test_rows_that_have_no_text_go_to_a_file_of_their_own_with_the_reason(tmp_path: Path) -> None:
    """Every row is told of, under its number: scored, or why not."""
    path = tmp_path / "a.jsonl"
    path.write_text('{"text": null, "id": 7}\n{"text": "three words here", "id": 8}\nnope\n{"text": "one", "id": 9}\n')
    done = scored(path, tmp_path / "out.csv", columns="id,text")
    assert (done.texts, done.rejected) == (2, 2)
    rows = rows_of(tmp_path / "out.csv")
    assert [(row["row"], row["id"], row["text"], row["label"], row["decision"]) for row in rows] == [
        ("2", "8", "three words here", "good", "good"),
        ("4", "9", "one", "bad", "bad"),
    ]
    left = [(row["row"], row["reason"], row["id"]) for row in rows_of(tmp_path / "out.rejected.csv")]
    assert sorted(left) == [("1", "no text", "7"), ("3", "malformed JSON", "")]


def test_columns_that_are_called_as_ours_come_along_under_another_name(tmp_path: Path) -> None:
    """A true label that is written over by the model's, or the other way round."""
    path = tmp_path / "a.csv"
    path.write_text("text,label,p_bad,row\nthree words here,bad,x,5\n")
    scored(path, tmp_path / "out.parquet", columns="all")
    (row,) = rows_of(tmp_path / "out.parquet")
    assert list(row) == [
        *("row", "text", "input_label", "input_p_bad", "input_row"),
        *("label", "decision", "score", "p_bad", "p_good", "windows"),
    ]
    assert (row["row"], row["input_row"], row["input_label"], row["label"]) == (2, "5", "bad", "good")


def test_cells_of_csv_are_no_formulas(tmp_path: Path) -> None:
    """Whoever opens the results runs what a stranger wrote."""
    (tmp_path / "a.txt").write_text("=1+1\n-5\n@x\nfine\n")
    scored(tmp_path / "a.txt", tmp_path / "out.csv")
    assert [row["text"] for row in rows_of(tmp_path / "out.csv")] == ["'=1+1", "-5", "'@x", "fine"]


def test_one_file_that_cannot_be_read_does_not_stop_the_others(tmp_path: Path) -> None:
    """A night's work would end at the first damaged file; or leave half of it as if it were the whole."""
    source = tmp_path / "in"
    source.mkdir()
    (source / "a.csv").write_text("text\nfine\n")
    content = gzip.compress(b"text\n" + b"".join(b"words %d\n" % n for n in range(5000)))
    (source / "b.csv.gz").write_bytes(content[: len(content) // 2])
    (source / "c.csv").write_text("words,more\nx,y\n")
    (source / "d.csv").write_text("text\nfine\n")
    done = scored(source, tmp_path / "out")
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert (done.files, set(manifest["failed"])) == (2, {f"{source}/b.csv.gz", f"{source}/c.csv"})
    assert "no text column" in manifest["failed"][f"{source}/c.csv"]
    assert {path.name for path in (tmp_path / "out").glob("*.parquet")} == {
        "a.csv.scores.parquet",
        "d.csv.scores.parquet",
    }


def test_finished_files_are_left_alone_until_they_change_or_the_model_does(tmp_path: Path) -> None:
    """Scores of the former champion would be taken for those of the present one."""
    source = tmp_path / "in"
    source.mkdir()
    (source / "a.csv").write_text("text\nfine\n")
    assert scored(source, tmp_path / "out").files == 1
    model = Words()
    assert (scored(source, tmp_path / "out", model).skipped, model.opened) == (1, 0)
    (source / "a.csv").write_text("text\nthree words here\nfine\n")
    (source / "b.csv").write_text("text\nfine\n")
    assert scored(source, tmp_path / "out").files == 2
    assert [row["label"] for row in rows_of(tmp_path / "out" / "a.csv.scores.parquet")] == ["good", "bad"]
    with pytest.raises(ValueError, match=r"another model \(version 1, now 2\)"):
        scored(source, tmp_path / "out", Words(2))
    with pytest.raises(ValueError, match="another settings"):
        scored(source, tmp_path / "out", columns="all")


def test_the_manifest_tells_what_can_be_checked_afterwards(tmp_path: Path) -> None:
    """Which version made these scores of which rows is asked when nobody remembers."""
    import hashlib

    (tmp_path / "a.csv").write_text("id,text\n1,fine\n2,three words here\n3,\n")
    scored(tmp_path / "a.csv", tmp_path / "out.parquet")
    said = json.loads((tmp_path / "out.parquet.manifest.json").read_text())
    (entry,) = said["files"].values()
    assert (said["model"], said["total"]) == ({"version": 1}, {"rows": 3, "scored": 2, "rejected": 1, "files": 1})
    assert entry["labels"] == {"bad": 1, "good": 1}
    assert entry["sha256"] == hashlib.sha256((tmp_path / "a.csv").read_bytes()).hexdigest()
    for name, digest in entry["written"].items():
        assert digest == hashlib.sha256((tmp_path / name).read_bytes()).hexdigest()
    assert set(entry["written"]) == {"out.parquet", "out.rejected.parquet"}
    assert said["speed"]["rows"] == 3


def test_urls_are_read_and_written(tmp_path: Path) -> None:
    """Large data lies in object stores."""
    memory = fsspec.filesystem("memory")
    for name in ("a.csv", "b.csv.gz", "c.docx"):
        content = b"text\nfine\nthree words here\n"
        memory.pipe(f"/score-in/{name}", gzip.compress(content) if name.endswith("gz") else content)
    assert scored("memory://score-in", "memory://score-out").files == 2
    with memory.open("/score-out/b.csv.gz.scores.parquet") as file:
        assert pq.read_table(file).column("label").to_pylist() == ["bad", "good"]
    assert scored("memory://score-in/*.csv", "memory://score-out").skipped == 1
    assert not memory.glob("/score-out/.*")


class Killed(BaseException):
    """The process ends here."""


@pytest.fixture
def many(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of files smaller and larger than a shard, of 40 rows here, each with rows that have no text."""
    for module in (shards, flow_score):
        monkeypatch.setattr(module, "PART_ROWS", 10)
    monkeypatch.setattr(shards, "SHARD_ROWS", 40)
    source = tmp_path / "many"
    source.mkdir()
    for number, rows in enumerate((3, 95, 0, 1, 41, 40)):
        lines = [f"{n},{'' if n % 9 == 4 else 'word ' * (n % 6 + 1)}" for n in range(rows)]
        (source / f"{number}.csv").write_text("\n".join(["id,text", *lines]) + "\n")
    return source


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir()) if path.name != "manifest.json"}


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("before_name", [True, False])
def test_killed_at_every_write_and_resumed_the_results_are_those_of_an_undisturbed_run(
    many: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, before_name: bool
) -> None:
    """A row lost, twice, or a file half written, after whichever write the process dies."""
    scored(many, tmp_path / "whole", columns="id,text")
    original, writes, alive = Folder.new, 0, []

    @contextmanager
    def fatal(self: Folder, name: str) -> Iterator[Hashed]:
        nonlocal writes
        writes += 1
        mine = writes
        with original(self, name) as file:
            yield file
            if mine == last and before_name:
                raise Killed
        if mine == last:
            raise Killed

    def kept(self: Folder, name: str) -> Any:
        alive.append(fatal(self, name))  # collected as garbage, it would clean up, which a killed process does not
        return alive[-1]

    monkeypatch.setattr(Folder, "new", kept)
    monkeypatch.setattr(Collector, "drop", lambda self: None)  # a process that is killed drops nothing
    monkeypatch.setattr(flow_score, "SECONDS_BETWEEN_NOTES", 0.0)
    kills, last = 0, 1
    while kills < 100:
        writes = 0
        try:
            scored(many, tmp_path / "out", columns="id,text")
            break
        except Killed:
            kills += 1
            last = kills + 1
    assert kills > 5
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")


def test_shards_that_are_scored_are_not_scored_again(
    many: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A resumed command would take as long as a new one."""
    read, asked = WordCounter.read, []

    def counted(self: WordCounter, texts: Sequence[str]) -> Any:
        asked.extend(texts)
        if len(asked) > 100 and not resumed:
            raise Killed
        return read(self, texts)

    monkeypatch.setattr(WordCounter, "read", counted)
    resumed = False
    with pytest.raises(Killed):
        scored(many, tmp_path / "out")
    before, resumed = len(asked), True
    (many / "later.csv").write_text("text\nfine\n")
    scored(many, tmp_path / "out")
    texts = sum(rows["scored"] for rows in json.loads((tmp_path / "out/manifest.json").read_text())["files"].values())
    assert len(asked) < before + texts - 40
    assert len(list((tmp_path / "out").glob("*.scores.parquet"))) == 7


def test_the_model_that_is_meant_is_found_or_the_way_to_say_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """`evenodd score input=… output=…` would end with "model 'sample' is not in the registry"."""
    found: list[tuple[str, str]] = []
    monkeypatch.setattr(scorer, "find_model", lambda reference, name: found.append((reference, name)))
    there: list[str] = ["reviews"]
    monkeypatch.setattr(scorer.tracking, "names_with", lambda alias: there)
    scorer.said_model(make_request({}))
    scorer.said_model(make_request({"name": "mine"}))
    scorer.said_model(make_request({"model": "folder"}))
    there.append("sample")
    scorer.said_model(make_request({}))
    assert found == [("champion", "reviews"), ("champion", "mine"), ("folder", "sample"), ("champion", "sample")]
    there[:] = ["reviews", "tickets"]
    with pytest.raises(ValueError, match=r"which model.* reviews, tickets .* name=reviews"):
        scorer.said_model(make_request({}))
    there.clear()
    with pytest.raises(ValueError, match="pass model=FOLDER of a bundle"):
        scorer.said_model(make_request({}))
