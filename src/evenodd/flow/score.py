"""`score`: labels, decisions and scores for a large file or a folder of texts, as CSV."""

from __future__ import annotations

import csv
import json
import logging
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from evenodd import tracking
from evenodd.flow.scorer import Scorer, open_scorer
from evenodd.settings import Request, Settings

log = logging.getLogger(__name__)

CHUNK = 2048
SUFFIXES = (".csv", ".jsonl", ".txt")


@dataclass(frozen=True)
class ScoredFiles:
    """How many texts of how many files were scored, and how many files were there already."""

    texts: int
    files: int
    skipped: int

    @property
    def text(self) -> str:
        """The same in a sentence."""
        return f"{self.texts:,} texts of {self.files} file(s) scored; {self.skipped} were there already"


def run(request: Request) -> ScoredFiles:
    """Scores `input` with `model` (else the champion) into `output`; files that are finished are left alone."""
    settings = request.settings
    if settings.run.input is None or settings.run.output is None:
        raise ValueError("score: pass -P input=FILE_OR_FOLDER (.csv, .jsonl or .txt) and -P output=FILE_OR_FOLDER.")
    pairs = paired_files(Path(settings.run.input), Path(settings.run.output))
    tracking.configure(settings.experiment)
    scorer = open_scorer(settings.run.model or "champion", settings.name)
    with tracking.start_run(f"score · {scorer.name}", tags={"stage": "score"}):
        tracking.log_settings(settings, ("run",))
        counts = [score_file(source, target, scorer, settings) for source, target in pairs if not target.exists()]
        tracking.log_metrics({"score/texts": sum(counts), "score/files": len(counts)})
    return ScoredFiles(sum(counts), len(counts), len(pairs) - len(counts))


def paired_files(source: Path, target: Path) -> list[tuple[Path, Path]]:
    """Each input file with the CSV it becomes.

    Raises:
        ValueError: nothing to score, or a kind of file that is not known.
    """
    if source.is_dir():
        found = sorted(path for path in source.iterdir() if path.suffix in SUFFIXES)
        pairs = [(path, target / f"{path.name}.scores.csv") for path in found]
    else:
        pairs = [(source, target)] if source.is_file() and source.suffix in SUFFIXES else []
    if not pairs:
        raise ValueError(f"input='{source}': no file with one of {', '.join(SUFFIXES)} there.")
    return pairs


def score_file(source: Path, target: Path, scorer: Scorer, settings: Settings) -> int:
    """Scores one file; the result appears whole or not at all. The number of texts."""
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f".{target.name}.partial")
    done, started = 0, time.monotonic()
    texts = read_texts(source, settings.data.text_column or "text")
    with partial.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["text", "label", "decision", "score", *(f"p_{name}" for name in scorer.label_names)])
        while chunk := list(islice(texts, CHUNK)):
            writer.writerows(_rows(chunk, scorer))
            done += len(chunk)
            log.info("%s | %s texts | %.0f texts/s", source.name, f"{done:,}", done / (time.monotonic() - started))
    partial.rename(target)
    return done


def read_texts(path: Path, column: str) -> Iterator[str]:
    """Texts of a file one by one: lines of a .txt, `column` of a .csv or .jsonl.

    Raises:
        ValueError: the column is not there, or a line is not JSON; with the line number.
    """
    with path.open(encoding="utf-8", newline="" if path.suffix == ".csv" else None) as file:
        if path.suffix == ".txt":
            yield from (line.rstrip("\n") for line in file)
            return
        rows = csv.DictReader(file) if path.suffix == ".csv" else _json_lines(path, file)
        for number, row in enumerate(rows, 1):
            if column not in row:
                raise ValueError(f"{path}, row {number}: no '{column}'; name the column: -P data.text_column=…")
            yield str(row[column])


def _json_lines(path: Path, lines: Iterator[str]) -> Iterator[dict]:
    for number, line in enumerate(lines, 1):
        try:
            yield json.loads(line)
        except json.JSONDecodeError as error:
            raise ValueError(f"{path}, line {number}: not JSON ({error.msg}).") from error


def _rows(texts: list[str], scorer: Scorer) -> Iterator[list[str]]:
    probabilities = scorer.probabilities(texts)
    decisions, labels = scorer.decision.decide(probabilities), scorer.decision.labels(probabilities)
    for text, decision, number, p in zip(texts, decisions, labels, probabilities, strict=True):
        score = p[scorer.decision.positive] if scorer.decision.positive is not None else p.max()
        label = scorer.label_names[number]
        yield [text, label, decision, f"{score:.6f}", *(f"{value:.6f}" for value in p)]
