"""Everything that one worker holds: its variants, their queues and the store of corrections."""

from __future__ import annotations

import asyncio
import gc
import json
import logging
import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from evenodd.classifier.bundle import Bundle, bundle_folders, read_bundles
from evenodd.classifier.choice import Choice
from evenodd.classifier.engine import Engine, open_engine

from .admission import Limits, OverloadedError
from .batcher import Batcher
from .bodies import Bodies
from .corrections import Store, open_store
from .explanation import Explanation
from .jobs import Scored
from .metrics import Metrics
from .settings import Settings, read_settings

logger = logging.getLogger(__name__)

BUNDLES_INSIDE = Path(__file__).parent / "bundles"
MOST_KEPT_AT_ONCE = 8
GC_THRESHOLD = 50_000
STILL_SECONDS, STUCK_SECONDS = 20.0, 120.0
# Variable in which the parent hands its choices of graphs to its workers: measured once, and the same in all of them.
CHOSEN = "EVENODD_CHOSEN_GRAPHS"


@dataclass(frozen=True)
class Variant:
    """One model being served."""

    bundle: Bundle
    engine: Engine
    batcher: Batcher
    metrics: Metrics

    def answer(self, scored: Sequence[Scored]) -> dict[str, Any]:
        """The body of an answer of `/classify`."""
        results = []
        for item in scored:
            result = self.engine.decision.answer(item.probabilities)
            results.append({**result, "truncated": False, "windows": item.windows})
        self.metrics.decided(results, [item.tokens for item in scored])
        return {"results": results, "model": self.bundle.identity}

    def opinion(self, scored: Scored) -> dict[str, Any]:
        """What the model says of a text, as it stands beside a correction."""
        decided = self.engine.decision.answer(scored.probabilities)
        said = {"predicted": decided["label"], "decision": decided["decision"], "score": decided["score"]}
        return {**said, "variant": self.bundle.variant, "version": self.bundle.description.get("version")}

    def explain(self, explanation: Explanation, scored: Sequence[Scored]) -> dict[str, Any]:
        """The body of an answer of `/explain`: a part weighs what the score loses without it.

        Args:
            explanation: with its parts.
            scored: the answers for the text, and for it without each of its parts.
        """
        decision = self.engine.decision
        whole = decision.answer(scored[0].probabilities)
        names, positive = decision.label_names, decision.positive
        label = names.index(whole["label"]) if positive is None else positive
        words = [
            {**asdict(part), "weight": whole["score"] - float(item.probabilities[label])}
            for part, item in zip(explanation.parts, scored[1:], strict=True)
        ]
        named = {"of": names[label], "by": explanation.by, "model": self.bundle.identity}
        return {"words": words, **whole, **named}


class Runtime:
    """Variants by name, the default one first.

    Args:
        settings: of the service.
        chosen: graphs by variant, where they were chosen before.

    Raises:
        ValueError: a bundle or a setting is refused.
        RuntimeError: a provider that was asked for did not come up, or the store of corrections cannot be opened.
    """

    def __init__(self, settings: Settings, chosen: Mapping[str, Choice] | None = None) -> None:
        os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
        self.settings = settings
        bundles, chosen = _ordered_bundles(settings), chosen or {}
        self.variants = {name: _open_variant(item, settings, chosen.get(name)) for name, item in bundles.items()}
        self.default = next(iter(self.variants))
        self.bodies = Bodies(settings.max_held)
        self.corrections = _open_store(settings)
        self._keepers = ThreadPoolExecutor(1, "corrections")
        self._kept_now = 0

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
                "tokens": limits.max_tokens,
                "explain_tokens": limits.explain_tokens,
                "wait_seconds": limits.max_wait,
                "timeout_seconds": limits.timeout,
            },
        }

    async def keep(self, correction: dict[str, Any]) -> None:
        """Keep a correction, in a thread of its own: a database that lets wait delays nothing else.

        Raises:
            StoreFullError: a limit is reached.
            RuntimeError: the store cannot be used, or is so slow that others wait already.
        """
        if self.corrections is None or self._kept_now >= MOST_KEPT_AT_ONCE:
            raise RuntimeError(f"{self._kept_now} corrections are being kept already")
        self._kept_now += 1
        try:
            await asyncio.get_running_loop().run_in_executor(self._keepers, self.corrections.add, correction)
        finally:
            self._kept_now -= 1

    def overload(self, client: str | None) -> OverloadedError | None:
        """Why no variant would take even a short request of a client, or None; counted as one text of the default one.

        Args:
            client: None: whoever it is.
        """
        fault = None
        for variant in self.variants.values():
            fault = variant.batcher.admission.full(client)
            if fault is None:
                return None
        if fault is not None:
            self.variants[self.default].metrics.shed(fault.reason, 1)
        return fault

    @property
    def takes_no_more(self) -> str | None:
        """Why requests are turned away or stand still, or None."""
        for variant in self.variants.values():
            if variant.batcher.still_seconds > STILL_SECONDS:
                return "the queue stands still"
            if variant.batcher.admission.takes_no_more:
                return "the queue is full"
        return None

    @property
    def stuck(self) -> bool:
        """Whether a queue has stood still for so long that only a new start can help."""
        return any(variant.batcher.still_seconds > STUCK_SECONDS for variant in self.variants.values())

    def note_queues(self) -> None:
        """Show how long the queues are."""
        for variant in self.variants.values():
            variant.metrics.queue(variant.batcher.admission.wait, variant.batcher.still_seconds)

    def close(self) -> None:
        """Finish what was accepted."""
        for variant in self.variants.values():
            variant.batcher.close()
        self._keepers.shutdown()


def open_runtime() -> Runtime:
    """A runtime from the environment, warm, with the collector of garbage told to leave what is there alone.

    Collecting over all that was loaded stalls requests for tens of milliseconds, and frees nothing.
    """
    runtime = Runtime(read_settings(), chosen_graphs())
    gc.collect()
    gc.freeze()
    gc.set_threshold(GC_THRESHOLD, 20, 20)
    return runtime


def chosen_graphs() -> dict[str, Choice]:
    """Graphs by variant as the parent of this worker chose them; empty where it did not."""
    return {name: Choice(**given) for name, given in json.loads(os.environ.get(CHOSEN, "{}")).items()}


def check_bundles() -> None:
    """Open everything once, as the workers will, and close it again: a refusal belongs before the first worker.

    Which graphs answer is chosen here, while nothing else runs, and told to the workers by `CHOSEN`.

    Raises:
        ValueError, RuntimeError: as Runtime.
    """
    settings = read_settings()
    chosen = {name: open_engine(bundle, settings).choice for name, bundle in _ordered_bundles(settings).items()}
    _open_store(settings)
    os.environ[CHOSEN] = json.dumps({name: asdict(choice) for name, choice in chosen.items()})


def _open_store(settings: Settings) -> Store | None:
    password = settings.corrections_password
    return open_store(settings.corrections, settings.max_corrections, settings.client_corrections, password)


def _ordered_bundles(settings: Settings) -> dict[str, Bundle]:
    """Checked bundles, that of the default variant first."""
    bundles = read_bundles(bundle_folders(settings.bundle, BUNDLES_INSIDE))
    if settings.variant is None:
        return bundles
    if settings.variant not in bundles:
        raise ValueError(f"EVENODD_VARIANT={settings.variant!r}: the bundles hold {', '.join(bundles)}.")
    return {settings.variant: bundles[settings.variant], **bundles}


def _open_variant(bundle: Bundle, settings: Settings, choice: Choice | None) -> Variant:
    engine = open_engine(bundle, settings, choice)
    metrics = Metrics(bundle.variant, bundle.description.get("reference"))
    metrics.runs_on(engine.provider, engine.graph, str(bundle.description.get("version")))
    limits = Limits(settings.max_tokens, settings.max_wait, settings.timeout)
    batcher = Batcher(engine, metrics, limits=limits, exact=settings.exact)
    return Variant(bundle, engine, batcher, metrics)


def _describe(variant: Variant) -> dict[str, Any]:
    description = variant.bundle.description
    return {
        **variant.bundle.model,
        "decision": description["decision"],
        "max_length": description["max_length"],
        "pooling": variant.bundle.decision.pooling,
        "window_overlap": description["window_overlap"],
        "digests": {name: entry["sha256"] for name, entry in description["files"].items()},
        "runtime": variant.engine.runtime,
        "drift": variant.metrics.drift,
    }
