"""`score`: labels, decisions and scores for files of texts of any size; resumes when repeated."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from functools import partial

from evenodd import tracking
from evenodd.flow.scorer import Model, said_model
from evenodd.flow.scoring.places import scored_shards
from evenodd.flow.scoring.plan import Plan, find_places, make_plan
from evenodd.flow.scoring.progress import Progress
from evenodd.flow.scoring.results import Collector, Outline, shard_file
from evenodd.flow.scoring.shards import PART_ROWS, Shard, cut_shards, shard_table
from evenodd.rows import read_texts
from evenodd.settings import Request, Settings

log = logging.getLogger(__name__)

SECONDS_BETWEEN_NOTES = 10.0


@dataclass(frozen=True)
class ScoredFiles:
    """Result of a command.

    Attributes:
        texts: number of scored texts.
        rejected: number of rows that could not be scored.
        files: number of files whose results were written now.
        skipped: number of files whose results existed already.
        manifest: path of the manifest.
    """

    texts: int
    rejected: int
    files: int
    skipped: int
    manifest: str

    @property
    def text(self) -> str:
        """The result in a sentence."""
        rejected = f", {self.rejected:,} row(s) could not be" if self.rejected else ""
        done = f"{self.texts:,} texts of {self.files} file(s) scored{rejected}"
        return f"{done}; {self.skipped} file(s) were scored before | {self.manifest}"


def run(request: Request) -> ScoredFiles:
    """Scores `input` with `model` (default: the champion) into `output`; finished files are skipped.

    Raises:
        ValueError: there is nothing to score, or `output` has results of another model or settings.
        RuntimeError: some files cannot be read; the others are scored.
    """
    settings = request.settings
    if settings.run.input is None or settings.run.output is None:
        raise ValueError("score: pass input=FILE_FOLDER_OR_URL and output=FILE_OR_FOLDER.")
    places = find_places(settings.run.input, settings.run.output, settings.run.format)
    tracking.configure(settings.experiment)
    model = said_model(request)
    where = places.folder.file(places.manifest)
    with (
        tracking.lease(f"score {where}", f"scoring into {where}"),
        tracking.start_run(f"score · {model.name}", tags={"stage": "score"}),
    ):
        tracking.log_settings(settings, ("run", "data.text_column", "data.encoding"))
        plan = make_plan(places, model, settings)
        done = score_plan(plan, model, settings)
        tracking.log_metrics({"score/texts": done.texts, "score/rejected": done.rejected, "score/files": done.files})
        tracking.log_metrics({f"score/{name}": value for name, value in plan.manifest.figures.items()})
        _raise_failed(plan)
    return done


def score_plan(plan: Plan, model: Model, settings: Settings) -> ScoredFiles:
    """Scores the remaining files of a plan, and writes its manifest."""
    work = _Work(plan, model.labels)
    scored = scored_shards(work.left(settings), model, settings.run, plan.graph)
    try:
        with closing(scored):
            for shard, answers in scored:
                plan.work.write_table(shard_file(shard.key), shard_table(shard, answers))
                work.progress.advance(len(shard))
                work.take(shard.key)
    finally:
        work.collector.drop()
    plan.manifest.speed = {"graph": plan.graph, **work.progress.figures()}
    work.note()
    plan.work.remove_all()
    return work.summary()


class _Work:
    """Collects scored shards into files of results, and records them in the manifest."""

    def __init__(self, plan: Plan, labels: tuple[str, ...]) -> None:
        self.plan, self.progress, self.noted = plan, Progress(plan.files), time.monotonic()
        self.collector = Collector(plan.places.folder, plan.work, plan.names, plan.places.kind, labels, set(plan.done))

    def left(self, settings: Settings) -> Iterator[Shard]:
        """Shards to score; the rows of shards that an interrupted command has scored are only read."""
        read = partial(
            read_texts,
            text_column=settings.data.text_column,
            encoding=settings.data.encoding,
            columns=settings.run.columns,
            rows=PART_ROWS,
        )
        if len(self.plan.done) == len(self.plan.files):
            return
        for shard in cut_shards(self.plan.files, read, self.progress.opened):
            outline = Outline.of(shard)
            self.collector.expect(outline)
            if self.collector.has(outline):
                self.progress.passed_over(len(shard))
                self.take(outline.key)
            else:
                yield shard

    def take(self, key: str) -> None:
        """Takes a scored shard and writes the files that it completes."""
        self.collector.take(key)
        if time.monotonic() - self.noted > SECONDS_BETWEEN_NOTES:
            self.note()
            self.noted = time.monotonic()

    def note(self) -> None:
        """Records finished files in the manifest, and then deletes their shards."""
        for number, found in self.collector.finished.items():
            self.plan.manifest.add(self.plan.files[number], self.plan.names[number], found)
        self.plan.manifest.write()
        self.collector.remove_used()

    def summary(self) -> ScoredFiles:
        """What was done."""
        finished, places = self.collector.finished, self.plan.places
        found = [one for one in finished.values() if not one.end.fault]
        return ScoredFiles(
            sum(one.scored for one in found),
            sum(one.rejected for one in found),
            len(found),
            len(places.files) - len(finished),
            places.folder.file(places.manifest),
        )


def _raise_failed(plan: Plan) -> None:
    failed = plan.manifest.failed
    if failed:
        first = next(iter(failed.items()))
        more = f" and {len(failed) - 1} more, see {plan.places.manifest}" if len(failed) > 1 else ""
        raise RuntimeError(f"{len(failed)} file(s) cannot be scored: {first[0]}: {first[1]}{more} | others are scored.")
