"""The state of one worker: its variants, their queues and the store of corrections."""

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
# Variable in which the parent passes its choice of graphs, measured once, to its workers.
CHOSEN = "EVENODD_CHOSEN_GRAPHS"


@dataclass(frozen=True)
class Variant:
    """A served model."""

    bundle: Bundle
    engine: Engine
    batcher: Batcher
    metrics: Metrics

    def show(self) -> None:
        """Shows in the metrics what runs."""
        version = str(self.bundle.description.get("version"))
        self.metrics.runs_on(self.engine.provider, self.engine.graph, version)

    def answer(self, scored: Sequence[Scored]) -> dict[str, Any]:
        """The body of a response of `/classify`."""
        results = []
        for item in scored:
            result = self.engine.decision.answer(item.probabilities)
            results.append({**result, "truncated": False, "windows": item.windows})
        self.metrics.decided(results, [item.tokens for item in scored])
        return {"results": results, "model": self.bundle.identity}

    def opinion(self, scored: Scored) -> dict[str, Any]:
        """The model's answer to a text, which is stored with a correction."""
        decided = self.engine.decision.answer(scored.probabilities)
        said = {"predicted": decided["label"], "decision": decided["decision"], "score": decided["score"]}
        return {**said, "variant": self.bundle.variant, "version": self.bundle.description.get("version")}

    def explain(self, explanation: Explanation, scored: Sequence[Scored]) -> dict[str, Any]:
        """The body of a response of `/explain`: the weight of a part is the loss of score without it.

        Args:
            explanation: the parts.
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
        chosen: graphs by variant, if they were chosen before.

    Raises:
        ValueError: a bundle or a setting is refused.
        RuntimeError: a provider did not start, or the store of corrections cannot be opened.
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
        """The variant that answers if none is named."""
        return next(iter(self.variants))

    def start_following(self) -> None:
        """Starts following the registry, in this event loop."""
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
        """Opens a version while the current one still answers, and switches to it; for the watcher's thread.

        The event loop switches between two requests: requests in the old queue are answered from there, and later
        ones enter the new queue. Then the old queue is closed.

        Raises:
            ValueError, RuntimeError: the version is refused, and the old one stays.
        """
        bundle = read_bundle(Path(str(state.folder)))
        before = list(self.variants.values())
        rate = max(variant.batcher.admission.rate.value for variant in before)
        opened = _open_variant(bundle, self.settings, Choice(**state.choice) if state.choice else None)
        opened.batcher.admission.rate.expect(rate)  # the rate measured here is too low, because of the load
        if not self._changed({bundle.variant: opened}):
            opened.batcher.close()
            raise RuntimeError("the worker is stopping")
        for variant in before:
            variant.batcher.close()
            variant.metrics.runs_no_more()
        opened.show()
        logger.info("serving version %s of %s", state.version, state.model)

    def _changed(self, variants: dict[str, Variant]) -> bool:
        """Whether the event loop switched; it does not while it waits for the watcher to end."""
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
        """Stores a correction, in a thread, so that a slow database delays nothing else.

        Raises:
            StoreFullError: a limit is reached.
            RuntimeError: the store cannot be used, or is so slow that others already wait.
        """
        if self.corrections is None or self._kept_now >= MOST_KEPT_AT_ONCE:
            raise RuntimeError(f"{self._kept_now} corrections are already being stored")
        self._kept_now += 1
        try:
            await asyncio.get_running_loop().run_in_executor(self._keepers, self.corrections.add, correction)
        finally:
            self._kept_now -= 1

    def overload(self, client: str | None) -> OverloadedError | None:
        """Reason why no variant would accept even a short request of a client, or None; counted as one refused text.

        Args:
            client: None: any client.
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
        """Reason why requests are refused or make no progress, or None."""
        for variant in self.variants.values():
            if variant.batcher.still_seconds > STILL_SECONDS:
                return "the queue makes no progress"
            if variant.batcher.admission.takes_no_more:
                return "the queue is full"
        return None

    @property
    def stuck(self) -> bool:
        """Whether a queue has made no progress for so long that only a restart can help."""
        return any(variant.batcher.still_seconds > STUCK_SECONDS for variant in self.variants.values())

    def note_queues(self) -> None:
        """Shows the lengths of the queues."""
        for variant in self.variants.values():
            variant.metrics.queue(variant.batcher.admission.wait, variant.batcher.still_seconds)

    def close(self) -> None:
        """Finishes accepted requests."""
        if self.watcher is not None:
            self.watcher.close()
        for variant in self.variants.values():
            variant.batcher.close()
        self._keepers.shutdown()


def open_runtime() -> Runtime:
    """A warm runtime from the environment; the garbage collector is told to ignore all existing objects.

    Collecting over them stalls requests for tens of milliseconds and frees nothing.
    """
    runtime = Runtime(read_settings(), chosen_graphs())
    gc.collect()
    gc.freeze()
    gc.set_threshold(GC_THRESHOLD, 20, 20)
    return runtime


def chosen_graphs() -> dict[str, Choice]:
    """Graphs by variant as chosen by this worker's parent; empty if it did not choose."""
    return {name: Choice(**given) for name, given in json.loads(os.environ.get(CHOSEN, "{}")).items()}


def check_bundles() -> None:
    """Opens everything once, as the workers will, and closes it, so that faults are reported before any worker
    starts.

    The graphs are chosen here, while nothing else runs, and passed to the workers in `CHOSEN`.

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
    """Checked bundles, the default variant first; if a followed model was found, only its bundle."""
    if state is not None and state.folder is not None:
        return read_bundles([Path(state.folder)])
    folders = bundle_folders(settings.bundle, BUNDLES_INSIDE)
    if state is not None and not folders:
        why = state.refused.reason if state.refused else state.error
        raise RuntimeError(f"EVENODD_MODEL={state.model}: {why} There is no bundle to serve instead.")
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
