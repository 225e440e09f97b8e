"""Sends metrics to the tracking store in the background, and keeps them while the store is unreachable."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Mapping

from mlflow import MlflowClient
from mlflow.entities import Metric
from mlflow.exceptions import MlflowException

from evenodd.tracking.store import StoreUnreachableError, away_text, is_unreachable

log = logging.getLogger(__name__)

AWAY_SECONDS = 600.0
RETRY_SECONDS = 5.0
BATCH = 500


class Outbox:
    """Sends metrics in the order in which they were added, from its own thread."""

    def __init__(self) -> None:
        self.waiting: deque[tuple[str, Metric]] = deque()
        self.changed = threading.Condition()
        self.thread: threading.Thread | None = None
        self.fault: MlflowException | None = None
        self.away = False

    def add(self, run_id: str, metrics: Mapping[str, float], step: int) -> None:
        """Adds metrics of a run at a step without waiting."""
        now = int(time.time() * 1000)
        with self.changed:
            self.waiting.extend((run_id, Metric(key, value, now, step)) for key, value in metrics.items())
            if self.thread is None or not self.thread.is_alive():
                self.thread = threading.Thread(target=self._run, name="metrics", daemon=True)
                self.thread.start()
            self.changed.notify_all()

    def flush(self) -> None:
        """Waits until all metrics have arrived; if the store is unreachable, up to `AWAY_SECONDS`.

        Raises:
            StoreUnreachableError: the store is still unreachable.
            MlflowException: the store refused the metrics.
        """
        with self.changed:
            arrived = self.changed.wait_for(lambda: not self.waiting, timeout=AWAY_SECONDS)
            fault, self.fault = self.fault, None
            if not arrived:
                self.waiting.clear()
                raise StoreUnreachableError(away_text())
        if fault is not None:
            raise fault

    def _run(self) -> None:
        while True:
            with self.changed:
                self.changed.wait_for(lambda: bool(self.waiting))
                run_id = self.waiting[0][0]
                batch = [metric for owner, metric in list(self.waiting)[:BATCH] if owner == run_id]
            sent = self._send(run_id, batch)
            with self.changed:
                if sent:
                    self._remove(run_id, batch)
                    self.changed.notify_all()
            if not sent:
                time.sleep(RETRY_SECONDS)

    def _remove(self, run_id: str, batch: list[Metric]) -> None:
        gone = {id(metric) for metric in batch}
        kept = [pair for pair in self.waiting if id(pair[1]) not in gone]
        self.waiting.clear()
        self.waiting.extend(kept)

    def _send(self, run_id: str, batch: list[Metric]) -> bool:
        """Whether the batch needs no further attempt."""
        try:
            MlflowClient().log_batch(run_id, metrics=batch)
        except MlflowException as error:
            if is_unreachable(error):
                if not self.away:
                    log.warning("the tracking store does not answer: training continues, and metrics are kept")
                self.away = True
                return False
            self.fault = error
        if self.away:
            log.info("the tracking store answers again")
        self.away = False
        return True


OUTBOX = Outbox()
