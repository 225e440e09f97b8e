"""`score` over files: which are read, where results go, and what becomes of rows without a text."""

from __future__ import annotations

import csv
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from evenodd.evidence import Decision
from evenodd.flow.score import paired_files, score_file
from evenodd.flow.scorer import Scorer
from evenodd.settings import Settings


def word_counter() -> Scorer:
    """Calls texts of more than two words `good`."""

    classifier: Any = WordCounter()
    return Scorer("words", classifier, {})


class WordCounter:
    """Stands for a classifier."""

    decision = Decision(1.0, 0.5, (0.4, 0.6), "f1_macro", 1, ("bad", "good"))

    def score(self, texts: Sequence[str]) -> np.ndarray:
        logits = np.array([[0.0, len(text.split()) - 2.5] for text in texts], dtype=np.float32)
        return self.decision.probabilities(logits)


def test_a_folder_is_scored_file_by_file_and_what_is_not_read_is_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A file passed over in silence is missed weeks later."""
    for name in ("a.csv", "B.CSV", "c.tsv", "d.json", "e.docx", ".hidden.csv"):
        (tmp_path / name).write_text("text\nfine\n")
    with caplog.at_level(logging.WARNING):
        pairs = paired_files(str(tmp_path), tmp_path / "out")
    assert [source.name for source, _ in pairs] == ["B.CSV", "a.csv", "c.tsv", "d.json"]
    assert [target.name for _, target in pairs] == [f"{source.name}.scores.csv" for source, _ in pairs]
    assert "not read: e.docx" in caplog.text


def test_a_file_scored_into_a_folder_lies_in_it(tmp_path: Path) -> None:
    """A folder that exists was taken for the finished result of a file."""
    (tmp_path / "one.csv").write_text("text\nfine\n")
    (tmp_path / "out").mkdir()
    assert paired_files(str(tmp_path / "one.csv"), tmp_path / "out") == [
        (tmp_path / "one.csv", tmp_path / "out" / "one.csv.scores.csv")
    ]
    (tmp_path / "two.csv").write_text("text\nfine\n")
    (tmp_path / "out.csv").write_text("")
    with pytest.raises(ValueError, match="Name a folder"):
        paired_files(str(tmp_path / "*.csv"), tmp_path / "out.csv")
    with pytest.raises(ValueError, match="no such file"):
        paired_files(str(tmp_path / "three.csv"), tmp_path / "out")


def test_rows_without_a_text_stay_in_their_place_and_get_no_score(tmp_path: Path) -> None:
    """Results are joined to their rows by position: a row that is left out shifts all that follow."""
    (tmp_path / "a.jsonl").write_text('{"text": null}\n{"text": "three words here"}\n{"text": " "}\n{"text": "one"}\n')
    assert score_file(tmp_path / "a.jsonl", tmp_path / "out.csv", word_counter(), Settings()) == 4
    with (tmp_path / "out.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["text"], row["label"]) for row in rows] == [
        ("", ""), ("three words here", "good"), ("", ""), ("one", "bad")
    ]  # fmt: skip


def test_a_faulty_file_leaves_no_result(tmp_path: Path) -> None:
    """Half a result under its final name would be taken for the whole."""
    (tmp_path / "a.csv").write_text("id,text\n1,fine\n2\n")
    with pytest.raises(ValueError, match="not 2 columns wide: line 3"):
        score_file(tmp_path / "a.csv", tmp_path / "out.csv", word_counter(), Settings())
    assert [path.name for path in tmp_path.iterdir()] == ["a.csv"]
