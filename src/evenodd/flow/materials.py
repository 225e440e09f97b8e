"""The inputs of every variant of one command: rows, encoder files and floors."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import numpy as np
from transformers.tokenization_utils_base import PreTrainedTokenizerBase

from evenodd.encoders.check import check_encoder
from evenodd.encoders.files import resolve_model, source_digest
from evenodd.evidence import Floors, fit_floors
from evenodd.evidence.datareport import DataReport, data_report
from evenodd.evidence.suites.own import open_suite
from evenodd.flow.page import read_page
from evenodd.rows import Corpus, TokenStore, load_corpus, token_store
from evenodd.settings import DataSettings, Settings
from evenodd.training import FitData

T = TypeVar("T")


@dataclass
class Materials:
    """Rows, encoder and floors, gathered once per command.

    Attributes:
        corpus: three splits.
        encoder: folder of the encoder.
        encoder_name: as the settings name it.
        encoder_digest: of its files.
        cache: folder of token ids and teacher targets.
        settings: settings with which the rows were read and split.
        suite: the behaviour suite, whose cases must not be trained on.
    """

    corpus: Corpus
    encoder: Path
    encoder_name: str
    encoder_digest: str
    cache: Path
    max_length: int
    settings: DataSettings = field(default_factory=DataSettings)
    suite: str | None = None
    _others: dict[str, Materials] = field(default_factory=dict)
    _floors: list[Floors] = field(default_factory=list)
    _report: list[DataReport] = field(default_factory=list)

    def under(self, settings: Settings) -> Materials:
        """The same source with other data settings: other splits, or without added rows; each gathered once.

        Raises:
            ValueError: the source has given splits, which no seed changes.
        """
        if settings.data == self.settings:
            return self
        key = settings.data.model_dump_json()
        if key not in self._others:
            other = gather(settings)
            anew = settings.data.split_seed != self.settings.split_seed
            if anew and other.corpus.test.digest == self.corpus.test.digest:
                raise ValueError(
                    f"vary_split: the rows of '{settings.data.source}' have given splits, which would be the same for "
                    "every seed; leave vary_split out."
                )
            self._others[key] = other
        return self._others[key]

    @property
    def parameters(self) -> dict[str, str]:
        """Parameters that distinguish runs on these rows: number of training rows, and encoder."""
        return {"rows": str(len(self.corpus.train)), "encoder": self.encoder_name}

    @property
    def floors(self) -> Floors:
        """Majority and TF-IDF on these splits without what `augment` added, fitted at first use."""
        if not self._floors:
            splits = {"validation": self.corpus.validation, "test": self.corpus.test}
            names, positive = self.corpus.label_names, self.corpus.positive
            train = self.corpus.train.without_augmented()
            self._floors.append(fit_floors(train, splits, label_names=names, positive=positive))
        return self._floors[0]

    @property
    def data_report(self) -> DataReport:
        """Counts, lengths, repeats, leaks and doubtful labels of these rows, computed at first use."""
        if not self._report:
            self._report.append(data_report(self.corpus, open_suite(self.suite) if self.suite else None))
        return self._report[0]

    def tokens(self, split: str, tokenizer: PreTrainedTokenizerBase) -> TokenStore:
        """Token ids of a split."""
        return token_store(getattr(self.corpus, split), tokenizer, max_length=self.max_length, cache=self.cache)

    def added_tokens(self, tokenizer: PreTrainedTokenizerBase) -> TokenStore:
        """Token ids of the training rows that `augment` added."""
        added = self.corpus.train.only_augmented()
        return token_store(added, tokenizer, max_length=self.max_length, cache=self.cache)

    def fit_data(self, tokenizer: PreTrainedTokenizerBase) -> FitData:
        """Training and validation data of a fit."""
        corpus = self.corpus
        train, validation = self.tokens("train", tokenizer), self.tokens("validation", tokenizer)
        return FitData(train, corpus.train.labels, validation, corpus.validation.labels, self.turns)

    @property
    def turns(self) -> np.ndarray | None:
        """Training rows that alternate between epochs; None: every epoch has all rows."""
        return self.corpus.train.turns(self.settings.augment_turns)


def gather(settings: Settings) -> Materials:
    """Reads and splits the rows, and finds the encoder.

    Raises:
        ValueError: faults in the rows, or missing files.
        RuntimeError: the hub cannot be reached.
    """
    cache = settings.home / "cache"
    faults: list[str] = []
    encoder = _collected(lambda: _sound_encoder(settings), faults)
    corpus = _collected(lambda: load_corpus(settings.data, seed=settings.data.split_seed, cache=cache), faults)
    if corpus is not None:
        faults += _faults_of_task(corpus, settings)
    if faults or corpus is None or encoder is None:
        raise ValueError("\n".join(faults))
    return Materials(
        corpus,
        encoder,
        settings.teacher.source,
        source_digest(encoder),
        cache,
        settings.data.max_length,
        settings.data,
        settings.suite,
    )


def _collected(step: Callable[[], T], faults: list[str]) -> T | None:
    """The result of a step; None if it fails, with its fault added to the others."""
    try:
        return step()
    except ValueError as fault:
        faults.append(str(fault))
        return None


def _sound_encoder(settings: Settings) -> Path:
    encoder = resolve_model(settings.teacher.source, settings.teacher.revision)
    check_encoder(encoder, settings.data.max_length)
    return encoder


def _faults_of_task(corpus: Corpus, settings: Settings) -> Iterator[str]:
    """Settings that do not fit the labels."""
    if settings.suite and corpus.positive is None:
        yield (
            f"suite={settings.suite}: its cases need a positive label, and these rows have none "
            f"({', '.join(corpus.label_names)}): pass suite=none."
        )
    if settings.serve.page:
        try:
            read_page(settings.serve.page, corpus.task)
        except ValueError as fault:
            yield str(fault)


def divisions(materials: Materials, settings: Settings) -> list[Materials]:
    """The materials of each seed's splits; only one if all seeds share their splits."""
    if not settings.evidence.vary_split:
        return [materials]
    first, data = settings.data.split_seed, settings.data
    splits = [data.model_copy(update={"split_seed": first + step}) for step in range(settings.evidence.seeds)]
    return [materials.under(settings.model_copy(update={"data": split})) for split in splits]
