"""Everything that one worker holds: its variants, their queues and the store of corrections."""

from __future__ import annotations

import gc
import logging
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from .batcher import Batcher, Job, Scored
from .bundle import Bundle, bundle_folders, read_bundles
from .corrections import Store, open_store
from .engine import Engine, open_engine
from .metrics import Metrics
from .settings import Settings, read_settings
from .text import find_words, leave_out

logger = logging.getLogger(__name__)

BUNDLES_INSIDE = Path(__file__).parent / "bundles"
GC_THRESHOLD = 50_000


@dataclass(frozen=True)
class Variant:
    """One model being served."""

    bundle: Bundle
    engine: Engine
    batcher: Batcher
    metrics: Metrics

    def submit(self, texts: Sequence[str], *, exact: bool = False) -> Job:
        """Queue texts; see Batcher.submit."""
        return self.batcher.submit(texts, exact=exact)

    def answer(self, scored: Sequence[Scored]) -> dict[str, Any]:
        """The body of an answer of `/classify`."""
        results = []
        for item in scored:
            result = self.engine.policy.decide(item.probabilities)
            results.append({**result, "truncated": False, "windows": item.windows})
        self.metrics.decided(results, [item.tokens for item in scored])
        return {"results": results, "model": self.bundle.identity}

    def explanation_texts(self, text: str) -> list[str]:
        """The text, and the text without each of its words in turn."""
        return [text, *leave_out(text, find_words(text))]

    def explain(self, text: str, scored: Sequence[Scored]) -> dict[str, Any]:
        """The body of an answer of `/explain`: a word weighs what the score loses without it.

        Args:
            text: the text.
            scored: the answers for `explanation_texts(text)`.
        """
        policy = self.engine.policy
        whole = policy.decide(scored[0].probabilities)
        label = policy.labels.index(whole["label"]) if policy.positive is None else policy.positive
        words = [
            {**asdict(word), "weight": whole["score"] - float(item.probabilities[label])}
            for word, item in zip(find_words(text), scored[1:], strict=True)
        ]
        return {"words": words, **whole, "of": policy.labels[label], "model": self.bundle.identity}


class Runtime:
    """Variants by name, the default one first.

    Raises:
        ValueError: a bundle or a setting is refused.
        RuntimeError: a provider that was asked for did not come up, or the store of corrections cannot be opened.
    """

    def __init__(self, settings: Settings) -> None:
        os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
        self.settings = settings
        self.variants = {name: _open_variant(item, settings) for name, item in _ordered_bundles(settings).items()}
        self.default = next(iter(self.variants))
        self.corrections: Store | None = open_store(settings.corrections, settings.max_corrections)

    @property
    def info(self) -> dict[str, Any]:
        """The body of `/info`."""
        variants = [_describe(variant) for variant in self.variants.values()]
        limits = self.settings
        return {
            "model": variants[0],
            "variants": variants,
            "provider": variants[0]["runtime"]["provider"],
            "corrections": self.corrections is not None,
            "limits": {
                "texts": limits.max_texts,
                "chars": limits.max_chars,
                "body_bytes": limits.max_body,
                "explain_words": limits.explain_words,
                "queue_tokens_per_worker": limits.max_queue,
                "requests_per_worker": limits.max_requests,
                "timeout_seconds": limits.timeout,
            },
        }

    def close(self) -> None:
        """Finish what was accepted."""
        for variant in self.variants.values():
            variant.batcher.close()


def open_runtime() -> Runtime:
    """A runtime from the environment, warm, with the collector of garbage told to leave what is there alone.

    Collecting over all that was loaded stalls requests for tens of milliseconds, and frees nothing.
    """
    runtime = Runtime(read_settings())
    gc.collect()
    gc.freeze()
    gc.set_threshold(GC_THRESHOLD, 20, 20)
    return runtime


def check_bundles() -> None:
    """Open everything once, as the workers will, and close it again: a refusal belongs before the first worker.

    Raises:
        ValueError, RuntimeError: as Runtime.
    """
    settings = read_settings()
    for bundle in _ordered_bundles(settings).values():
        open_engine(bundle, settings)
    open_store(settings.corrections, settings.max_corrections)


def _ordered_bundles(settings: Settings) -> dict[str, Bundle]:
    """Checked bundles, that of the default variant first."""
    bundles = read_bundles(bundle_folders(settings.bundle, BUNDLES_INSIDE))
    if settings.variant is None:
        return bundles
    if settings.variant not in bundles:
        raise ValueError(f"EVENODD_VARIANT={settings.variant!r}: the bundles hold {', '.join(bundles)}.")
    return {settings.variant: bundles[settings.variant], **bundles}


def _open_variant(bundle: Bundle, settings: Settings) -> Variant:
    engine = open_engine(bundle, settings)
    metrics = Metrics(bundle.variant, bundle.description.get("reference"))
    metrics.runs_on(engine.provider, engine.graph, str(bundle.description.get("version")))
    batcher = Batcher(engine, metrics, max_queue=settings.max_queue, exact=settings.exact)
    return Variant(bundle, engine, batcher, metrics)


def _describe(variant: Variant) -> dict[str, Any]:
    description = variant.bundle.description
    return {
        **variant.bundle.model,
        "decision": description["decision"],
        "max_length": description["max_length"],
        "pooling": description.get("pooling", "max"),
        "window_overlap": description.get("window_overlap", 0),
        "digests": {name: entry["sha256"] for name, entry in description["files"].items()},
        "runtime": variant.engine.runtime,
        "drift": variant.metrics.drift,
    }
