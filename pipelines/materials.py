"""What every variant of one command starts from: the rows, the encoder's files and the floors."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from transformers.tokenization_utils_base import PreTrainedTokenizerBase

from evenodd.config import Settings
from evenodd.data import Corpus, TokenStore, load_corpus, resolve_model, source_digest, token_store
from evenodd.evidence import Floors, fit_floors
from evenodd.evidence.datareport import DataReport, data_report
from evenodd.training import FitData

log = logging.getLogger(__name__)


@dataclass
class Materials:
    """Rows, encoder and floors, gathered once a command.

    Attributes:
        corpus: three splits.
        encoder: folder or hub name of the encoder.
        encoder_name: as the settings name it.
        encoder_digest: of its files.
        cache: where token ids and teacher targets are kept.
        split_seed: of the division into splits.
        augment_turns: sets of added rows that take turns.
    """

    corpus: Corpus
    encoder: str | Path
    encoder_name: str
    encoder_digest: str
    cache: Path
    max_length: int
    split_seed: int = 0
    augment_turns: int = 1
    _others: dict[int, Materials] = field(default_factory=dict)
    _floors: list[Floors] = field(default_factory=list)
    _report: list[DataReport] = field(default_factory=list)

    def on_split(self, settings: Settings) -> Materials:
        """The same rows as `settings.data.split_seed` divides them; each division is made once.

        Raises:
            ValueError: the rows come divided, so that no seed divides them otherwise.
        """
        seed = settings.data.split_seed
        if seed == self.split_seed:
            return self
        if seed not in self._others:
            other = gather(settings)
            if other.corpus.digest == self.corpus.digest:
                raise ValueError(
                    f"vary_split: the rows of '{settings.data.source}' come divided, so every seed would have the same "
                    "splits; leave vary_split out."
                )
            self._others[seed] = other
        return self._others[seed]

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
        """Counts, lengths, repeats, leaks and doubtful labels of these rows, looked at at first use."""
        if not self._report:
            self._report.append(data_report(self.corpus))
        return self._report[0]

    def tokens(self, split: str, tokenizer: PreTrainedTokenizerBase) -> TokenStore:
        """Token ids of a split."""
        return token_store(getattr(self.corpus, split), tokenizer, max_length=self.max_length, cache=self.cache)

    def fit_data(self, tokenizer: PreTrainedTokenizerBase) -> FitData:
        """What a fit trains on and is measured by."""
        corpus = self.corpus
        train, validation = self.tokens("train", tokenizer), self.tokens("validation", tokenizer)
        return FitData(train, corpus.train.labels, validation, corpus.validation.labels, self.turns)

    @property
    def turns(self) -> np.ndarray | None:
        """Which training rows take turns over the epochs; None: all stand in each."""
        return self.corpus.train.turns(self.augment_turns)


def gather(settings: Settings) -> Materials:
    """Reads and divides the rows and finds the encoder.

    Raises:
        ValueError: faults in the rows, or files that are not there.
        RuntimeError: a hub that cannot be reached.
    """
    encoder = resolve_model(settings.teacher.source)
    corpus = load_corpus(settings.data, seed=settings.data.split_seed)
    counts = ", ".join(f"{name} {len(getattr(corpus, name)):,}" for name in ("train", "validation", "test"))
    synthetic = (
        " | SYNTHETIC: made from templates, its figures say nothing about real texts" if corpus.synthetic else ""
    )
    log.info("data %s | %s | %s%s", corpus.name, ", ".join(corpus.label_names), counts, synthetic)
    digest = source_digest(encoder)
    return Materials(
        corpus,
        encoder,
        settings.teacher.source,
        digest,
        settings.home / "cache",
        settings.data.max_length,
        settings.data.split_seed,
        settings.data.augment_turns,
    )


def divisions(materials: Materials, settings: Settings) -> list[Materials]:
    """The materials of each seed's splits: one where all seeds share their splits."""
    return [materials.on_split(resplit) for resplit in _resplit(settings)]


def _resplit(settings: Settings) -> list[Settings]:
    """The settings once for each division of the rows."""
    first = settings.data.split_seed
    seeds = range(first, first + (settings.evidence.seeds if settings.evidence.vary_split else 1))
    return [settings.model_copy(update={"data": settings.data.model_copy(update={"split_seed": s})}) for s in seeds]
