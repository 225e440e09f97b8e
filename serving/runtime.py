"""Everything that one worker holds: its variants, their queues and the store of corrections."""

from __future__ import annotations

import asyncio
import gc
import json
import logging
import os
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from evenodd.classifier.bundle import Bundle, bundle_folders, read_bundle, read_bundles
from evenodd.classifier.choice import Choice
from evenodd.classifier.engine import Engine, open_engine

from .admission import Limits, OverloadedError
from .batcher import Batcher
from .bodies import Bodies
from .corrections import Store, open_store
from .explanation import Explanation
from .following import State, Watcher, about, begin, first_state, following_folder, without_version
from .jobs import Scored
from .metrics import Instruments, Metrics
from .settings import Settings, read_settings

logger = logging.getLogger(__name__)

BUNDLES_INSIDE = Path(__file__).parent / "bundles"
MOST_KEPT_AT_ONCE = 8
GC_THRESHOLD = 50_000
CHANGE_SECONDS = 0.2
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

    def show(self) -> None:
        """What runs, in the metrics."""
        version = str(self.bundle.description.get("version"))
        self.metrics.runs_on(self.engine.provider, self.engine.graph, version)

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
        state = first_state(settings)
        bundles, chosen = _ordered_bundles(settings, state), chosen or {}
        self.variants = {name: _open_variant(item, settings, chosen.get(name)) for name, item in bundles.items()}
        for variant in self.variants.values():
            variant.show()
        self.watcher = self._watcher(state)
        self.bodies = Bodies(settings.max_held)
        self.corrections = _open_store(settings)
        self._keepers = ThreadPoolExecutor(1, "corrections")
        self._kept_now = 0

    @property
    def default(self) -> str:
        """The variant that answers where none is named."""
        return next(iter(self.variants))

    def start_following(self) -> None:
        """From now on, in this event loop, what the registry gives is changed over to."""
        self._loop = asyncio.get_running_loop()
        if self.watcher is not None:
            self.watcher.start()

    def _watcher(self, state: State | None) -> Watcher | None:
        folder = following_folder()
        if state is None or folder is None:
            return None
        note = Instruments.get().follows
        served = state if state.folder else without_version(state)
        note(state)
        return Watcher(folder, served, self._change_over, note)

    def _change_over(self, state: State) -> None:
        """Open a version beside the one that answers, and let it answer; for the watcher's thread.

        The event loop changes over, between two requests: what was put into a queue before is answered from there, and
        nothing is put into it after. Only then does the old queue end.

        Raises:
            ValueError, RuntimeError: the version is refused; nothing has changed.
        """
        bundle = read_bundle(Path(str(state.folder)))
        before = list(self.variants.values())
        rate = max(variant.batcher.admission.rate.value for variant in before)
        opened = _open_variant(bundle, self.settings, Choice(**state.choice) if state.choice else None)
        opened.batcher.admission.rate.expect(rate)  # its own was measured beside the load
        if not self._changed({bundle.variant: opened}):
            opened.batcher.close()
            raise RuntimeError("the worker is ending")
        for variant in before:
            variant.batcher.close()
            variant.metrics.runs_no_more()
        opened.show()
        logger.info("serving version %s of %s", state.version, state.model)

    def _changed(self, variants: dict[str, Variant]) -> bool:
        """Whether the event loop changed over; one that waits for the watcher to end does not."""
        change: Future[None] = Future()

        def take() -> None:
            if change.set_running_or_notify_cancel():
                self.variants = variants
                change.set_result(None)

        self._loop.call_soon_threadsafe(take)
        while self.watcher is not None and not self.watcher.ending:
            if wait((change,), CHANGE_SECONDS).done:
                return True
        return not change.cancel()

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
            "following": self._following,
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

    @property
    def _following(self) -> dict[str, Any] | None:
        folder = following_folder()
        return None if self.watcher is None or folder is None else about(self.watcher.served, folder)

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
        if self.watcher is not None:
            self.watcher.close()
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
    state = begin(settings) if settings.model else None
    if state is not None and state.choice is not None:
        chosen = {name: Choice(**state.choice) for name in _ordered_bundles(settings, state)}
    else:
        bundles = _ordered_bundles(settings, state)
        chosen = {name: open_engine(bundle, settings).choice for name, bundle in bundles.items()}
    _open_store(settings)
    os.environ[CHOSEN] = json.dumps({name: asdict(choice) for name, choice in chosen.items()})


def _open_store(settings: Settings) -> Store | None:
    password = settings.corrections_password
    return open_store(settings.corrections, settings.max_corrections, settings.client_corrections, password)


def _ordered_bundles(settings: Settings, state: State | None = None) -> dict[str, Bundle]:
    """Checked bundles, that of the default variant first; where a model is followed and found, its bundle alone."""
    if state is not None and state.folder is not None:
        return read_bundles([Path(state.folder)])
    folders = bundle_folders(settings.bundle, BUNDLES_INSIDE)
    if state is not None and not folders:
        why = state.refused.reason if state.refused else state.error
        raise RuntimeError(f"EVENODD_MODEL={state.model}: {why} No bundle was named to serve in its place.")
    bundles = read_bundles(folders)
    if settings.variant is None:
        return bundles
    if settings.variant not in bundles:
        raise ValueError(f"EVENODD_VARIANT={settings.variant!r}: the bundles hold {', '.join(bundles)}.")
    return {settings.variant: bundles[settings.variant], **bundles}


def _open_variant(bundle: Bundle, settings: Settings, choice: Choice | None) -> Variant:
    engine = open_engine(bundle, settings, choice)
    metrics = Metrics(bundle.variant, bundle.description.get("reference"))
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
