"""What every variant of one command starts from: the rows, the encoder's files and the floors."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from pathlib import Path

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
    """

    corpus: Corpus
    encoder: str | Path
    encoder_name: str
    encoder_digest: str
    cache: Path
    max_length: int
    _floors: list[Floors] = field(default_factory=list)
    _report: list[DataReport] = field(default_factory=list)

    @property
    def floors(self) -> Floors:
        """Majority and TF-IDF on these splits, fitted at first use."""
        if not self._floors:
            splits = {"validation": self.corpus.validation, "test": self.corpus.test}
            names, positive = self.corpus.label_names, self.corpus.positive
            self._floors.append(fit_floors(self.corpus.train, splits, label_names=names, positive=positive))
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
        return FitData(train, corpus.train.labels, validation, corpus.validation.labels)


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
        corpus, encoder, settings.teacher.source, digest, settings.home / "cache", settings.data.max_length
    )
