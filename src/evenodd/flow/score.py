"""`score`: labels, decisions and scores for a large file or a folder of texts, as CSV."""

from __future__ import annotations

import csv
import logging
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from evenodd import tracking
from evenodd.flow.scorer import Scorer, open_scorer
from evenodd.rows import read_texts
from evenodd.rows.files import KINDS, find_files
from evenodd.settings import Request, Settings

log = logging.getLogger(__name__)

CHUNK = 2048


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
        raise ValueError("score: pass -P input=FILE_OR_FOLDER and -P output=FILE_OR_FOLDER.")
    pairs = paired_files(settings.run.input, Path(settings.run.output))
    tracking.configure(settings.experiment)
    scorer = open_scorer(settings.run.model or "champion", settings.name)
    with tracking.start_run(f"score · {scorer.name}", tags={"stage": "score"}):
        tracking.log_settings(settings, ("run",))
        counts = [score_file(source, target, scorer, settings) for source, target in pairs if not target.exists()]
        tracking.log_metrics({"score/texts": sum(counts), "score/files": len(counts)})
    return ScoredFiles(sum(counts), len(counts), len(pairs) - len(counts))


def paired_files(source: str, target: Path) -> list[tuple[Path, Path]]:
    """Each input file with the CSV it becomes; files of a folder that are of no kind that is read are logged.

    Args:
        source: a file, several, a pattern or a folder, as `data` takes them.
        target: a file to write for one input file; else, or where it exists, a folder.

    Raises:
        ValueError: nothing to score, or several files for one output.
    """
    found = find_files(source)
    if found is None:
        raise ValueError(f"input={source!r}: no such file. Pass a file, several or a folder of {KINDS}.")
    if found.left:
        log.warning("input %s | not read: %s", source, ", ".join(path.name for path in found.left))
    if len(found.files) == 1 and not Path(source).is_dir() and not target.is_dir():
        return [(found.files[0], target)]
    if target.is_file():
        raise ValueError(f"output='{target}': a file, but there are {len(found.files)} to score. Name a folder.")
    return [(path, target / f"{path.name}.scores.csv") for path in found.files]


def score_file(source: Path, target: Path, scorer: Scorer, settings: Settings) -> int:
    """Scores one file; the result appears whole or not at all. The number of rows.

    A row without a text stays, with nothing in its other fields.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f".{target.name}.partial")
    done, started = 0, time.monotonic()
    try:
        with partial.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(["text", "label", "decision", "score", *(f"p_{name}" for name in scorer.label_names)])
            for chunk in read_texts(source, settings.data.text_column, encoding=settings.data.encoding, rows=CHUNK):
                writer.writerows(_rows(chunk.texts, scorer))
                done += len(chunk)
                log.info("%s | %s rows | %.0f rows/s", source.name, f"{done:,}", done / (time.monotonic() - started))
        partial.rename(target)
    finally:
        partial.unlink(missing_ok=True)
    return done


def _rows(texts: list[str | None], scorer: Scorer) -> Iterator[list[str]]:
    scored = _scored([text for text in texts if text is not None], scorer)
    for text in texts:
        yield ["", "", "", "", *("" for _ in scorer.label_names)] if text is None else next(scored)


def _scored(texts: list[str], scorer: Scorer) -> Iterator[list[str]]:
    if not texts:
        return
    probabilities, decision = scorer.probabilities(texts), scorer.decision
    columns = (decision.labels(probabilities), decision.decide(probabilities), decision.scores(probabilities))
    for text, number, decided, score, p in zip(texts, *columns, probabilities, strict=True):
        yield [text, scorer.label_names[number], decided, f"{score:.6f}", *(f"{value:.6f}" for value in p)]
