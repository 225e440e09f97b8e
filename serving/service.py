"""The BentoML service: `bentoml serve serving.service:EvenOdd` with EVENODD_BUNDLE set, or from a built Bento.

Workers: one per core on a CPU, each with one ONNX Runtime thread. Two workers of one thread answered more requests
than one worker of two threads on every load measured, as products of this size do not split well and HTTP has a core's
work too. EVENODD_WORKERS overrides it; set it to 1 for a GPU.
"""

from __future__ import annotations

import logging
import os
from typing import Any

import bentoml
from bentoml.exceptions import BentoMLConfigException

from . import schema
from .accept import share_connections
from .docs import complete
from .front import Front
from .runtime import Runtime, check_bundles, open_runtime

logger = logging.getLogger(__name__)


_OPENED: list[Runtime] = []
LAYERS = os.environ.get("EVENODD_BENTOML_LAYERS", "").strip() == "1"


def _workers() -> Any:
    given = os.environ.get("EVENODD_WORKERS", "").strip()
    return int(given) if given.isdigit() and int(given) > 0 else "cpu_count"


class FrontedService(bentoml.Service[Any]):
    """A service whose own routes are answered before BentoML's layers.

    Those layers (OpenTelemetry, request metrics, access log, timeout) cost 0.35 ms of a core per request, a fifth of
    what a short text costs in the graph; the front counts and times requests itself. EVENODD_BENTOML_LAYERS=1 puts
    them in front, for traces and an access log.
    """

    def to_asgi(self, is_main: bool = True) -> Any:
        """The application of one worker."""
        if is_main and bentoml.server_context.worker_index is not None:
            share_connections(bentoml.server_context.worker_index)
        if LAYERS:
            self.add_asgi_middleware(Front, runtime=opened)
            return super().to_asgi(is_main)
        return Front(super().to_asgi(is_main), opened)

    @property
    def openapi_spec(self) -> Any:
        """What `/docs.json` shows."""
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
        """Refuse a bundle once, before any worker starts.

        Raises:
            BentoMLConfigException: why; the command line shows it as one line.
        """
        try:
            check_bundles()
        except (ValueError, RuntimeError) as fault:
            raise BentoMLConfigException(str(fault)) from None

    def __init__(self) -> None:
        _log_through_bentoml()
        _OPENED.append(open_runtime())

    @bentoml.on_shutdown
    def stop(self) -> None:
        """Finish what was accepted."""
        opened().close()

    @bentoml.api
    async def classify(self, texts: list[str], variant: str | None = None) -> schema.Classified:
        """Classify 1 to 256 texts of any length. `variant` names one of those in `/info`."""
        chosen = schema.variant_of(opened(), variant)
        return schema.Classified.model_validate(chosen.answer(await chosen.batcher.score(texts)))

    @bentoml.api
    async def explain(self, text: str, variant: str | None = None) -> schema.Explained:
        """A weight per word: how much the score falls when the word is left out."""
        chosen = schema.variant_of(opened(), variant)
        scored = await chosen.batcher.score(chosen.explanation_texts(text))
        return schema.Explained.model_validate(chosen.explain(text, scored))


def _log_through_bentoml() -> None:
    """Show this package's lines where BentoML's are."""
    ours = logging.getLogger(__package__)
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
