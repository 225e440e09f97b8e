"""The BentoML service: `bentoml serve serving.service:EvenOdd` with EVENODD_BUNDLE set, or from a built Bento.

Workers: one per core on a CPU, each with one ONNX Runtime thread. Two workers of one thread answered more requests
than one worker of two threads on every measured load, because products of this size do not split well and HTTP also
needs a core. EVENODD_WORKERS overrides the number; set it to 1 for a GPU.
"""

from __future__ import annotations

import asyncio
import atexit
import logging
import os
import time
from typing import Any

import bentoml
from bentoml.exceptions import BentoMLConfigException

from . import schema
from .accept import end_with_parent, share_connections
from .access import Gate
from .docs import complete
from .early import Early
from .explanation import Explanation
from .front import Front, known_paths
from .metric_files import make_folder, remove_folder, use_folder
from .metrics import Instruments
from .runtime import Runtime, check_bundles, open_runtime
from .settings import read_settings

logger = logging.getLogger(__name__)


BEAT_SECONDS = 1.0
_OPENED: list[Runtime] = []
LAYERS = os.environ.get("EVENODD_BENTOML_LAYERS", "").strip() == "1"


def _workers() -> Any:
    given = os.environ.get("EVENODD_WORKERS", "").strip()
    return int(given) if given.isdigit() and int(given) > 0 else "cpu_count"


class FrontedService(bentoml.Service[Any]):
    """A service whose own routes are answered before BentoML's middleware.

    That middleware (OpenTelemetry, request metrics, access log, timeout) costs 0.35 ms of a core per request, a fifth
    of the graph's time for a short text; the front counts and times requests itself. EVENODD_BENTOML_LAYERS=1 puts it
    in front, for traces and an access log.
    """

    def to_asgi(self, is_main: bool = True) -> Any:
        """The ASGI application of one worker."""
        settings = read_settings()
        early = Early(opened, settings)
        if is_main and bentoml.server_context.worker_index is not None:
            end_with_parent()
            use_folder()
            share_connections(bentoml.server_context.worker_index, settings.keep_alive, early.answer)
        if LAYERS:
            self.add_asgi_middleware(Front, runtime=opened)
            app = super().to_asgi(is_main)
        else:
            app = Front(super().to_asgi(is_main), opened)
        return Gate(app, settings, known_paths(), early.refuse)

    @property
    def openapi_spec(self) -> Any:
        """The content of `/docs.json`."""
        return complete(super().openapi_spec.asdict(), str(self.inner.__doc__))


@bentoml.service(
    service_class=FrontedService,
    name="evenodd",
    workers=_workers(),
    traffic={"timeout": 300},
    logging={"access": {"enabled": LAYERS}},
)
class EvenOdd:
    """Classifies texts: a label, a decision and a calibrated score for each."""

    @bentoml.on_deployment
    @staticmethod
    def check() -> None:
        """Checks the bundles once, before any worker starts.

        Raises:
            BentoMLConfigException: the reason, which the command line shows in one line.
        """
        try:
            check_bundles()
        except (ValueError, RuntimeError) as fault:
            raise BentoMLConfigException(str(fault)) from None
        make_folder()
        atexit.register(remove_folder)

    def __init__(self) -> None:
        _log_through_bentoml()
        _OPENED.append(open_runtime())

    @bentoml.on_startup
    async def start(self) -> None:
        """Shows in the metrics when this worker started, and from now on the state of its queues."""
        Instruments.get().started.set(time.time())
        opened().start_following()
        self._beat()

    def _beat(self) -> None:
        opened().note_queues()
        self._heart = asyncio.get_running_loop().call_later(BEAT_SECONDS, self._beat)

    async def __is_ready__(self) -> bool:
        """Whether this worker accepts requests; for `/readyz`."""
        reason = opened().takes_no_more
        if reason is not None:
            logger.warning("not ready | %s", reason)
        return reason is None

    async def __is_alive__(self) -> bool:
        """Whether the queues make progress; for `/livez`."""
        return not opened().stuck

    @bentoml.on_shutdown
    def stop(self) -> None:
        """Finish what was accepted."""
        self._heart.cancel()
        opened().close()

    @bentoml.api
    async def classify(self, texts: list[str], variant: str | None = None) -> schema.Classified:
        """Classify 1 to 256 texts of any length. `variant` names one of those in `/info`."""
        chosen = schema.variant_of(opened(), variant)
        return schema.Classified.model_validate(chosen.answer(await chosen.batcher.score(texts)))

    @bentoml.api
    async def explain(self, text: str, variant: str | None = None) -> schema.Explained:
        """A weight per word, or per sentence of a long text: how much the score falls when it is left out."""
        chosen = schema.variant_of(opened(), variant)
        explanation = Explanation(text, opened().settings.explain_tokens)
        scored = await chosen.batcher.submit([text], exact=True, follow=explanation.follow).future
        return schema.Explained.model_validate(chosen.explain(explanation, scored))


def _log_through_bentoml() -> None:
    """Sends log lines of the service and the classifier to BentoML's log."""
    for name in (__package__, "evenodd"):
        ours = logging.getLogger(name)
        ours.handlers = logging.getLogger("bentoml").handlers
        ours.propagate = False
        ours.setLevel(logging.INFO)


def opened() -> Runtime:
    """The worker's runtime.

    Raises:
        RuntimeError: the service has not started.
    """
    if not _OPENED:
        raise RuntimeError("the service has not started")
    return _OPENED[-1]
