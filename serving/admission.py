"""Admission control: accepted requests are answered in time, and the others are refused at once.

The queue is limited in seconds, not in requests: waiting tokens divided by the recent rate of tokens per second.
"""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass

# Tokens after which a request's turn ends, even if it has more; see Batcher._fill_round.
TURN_TOKENS = 1024
# Share of the queue that one client may fill, so that others find room.
CLIENT_SHARE = 0.75
# Lower limit of that share: on a slow machine it would be only a few tokens. A client may always have one long request
# and some short ones in the queue, and there is room for those of another.
CLIENT_TOKENS = TURN_TOKENS * 3 // 2
# Part of the deadline that an estimate may fill: rates vary.
SAFETY = 0.8
RATE_SECONDS = 3.0
LEAST_RATE = 1.0
SILENT_SECONDS = 2.0


class OverloadedError(RuntimeError):
    """The queue holds more than can be answered in time.

    Attributes:
        reason: `queue` (it is full), `client` (this client's share is full), or `closing`.
        seconds: after which the client should retry.
    """

    def __init__(self, reason: str, seconds: float) -> None:
        super().__init__(f"the queue accepts no more requests ({reason})")
        self.reason = reason
        self.seconds = seconds


class TooLargeError(ValueError):
    """One request holds more work than the limit for a request."""


@dataclass(frozen=True)
class Limits:
    """Limits of one worker.

    Attributes:
        max_tokens: tokens of one request.
        max_wait: seconds that a request may wait for others.
        timeout: seconds within which a request is answered.
    """

    max_tokens: int
    max_wait: float
    timeout: float


class Rate:
    """Recent tokens per second, while there is work.

    A short round says little, because most of its time is overhead. It counts only if it took longer than a full turn
    would.
    """

    def __init__(self, tokens_per_second: float) -> None:
        self._tokens, self._seconds = tokens_per_second * RATE_SECONDS, RATE_SECONDS

    @property
    def value(self) -> float:
        """Tokens per second, above 0."""
        return max(self._tokens / self._seconds, LEAST_RATE)

    def expect(self, tokens_per_second: float) -> None:
        """Sets a starting value, if it is higher than the measured rate."""
        self._tokens = max(self._tokens, tokens_per_second * self._seconds)

    def add(self, tokens: int, seconds: float) -> None:
        """Adds a round: its tokens and seconds."""
        if tokens < TURN_TOKENS // 2 and seconds * self.value < TURN_TOKENS:
            return
        kept = max(0.0, 1.0 - seconds / RATE_SECONDS)
        self._tokens = self._tokens * kept + tokens
        self._seconds = self._seconds * kept + seconds


class Admission:
    """Decides what enters the queue, and counts what is in it. The owner guards it with a lock."""

    def __init__(self, limits: Limits, tokens_per_second: float) -> None:
        self.limits = limits
        self.rate = Rate(tokens_per_second)
        self.pending = 0
        self.jobs = 0
        self._turns = 0
        self._by_client: Counter[str] = Counter()
        self._accepted = self._refused = -SILENT_SECONDS

    def full(self, client: str | None) -> OverloadedError | None:
        """Reason why not even a short request of a client would be accepted now, or None. Refusals are counted.

        Args:
            client: None: any client.
        """
        try:
            self._check_room(0, client)
        except OverloadedError as fault:
            self._refused = time.monotonic()
            return fault
        return None

    def enter(self, cost: int, client: str) -> None:
        """Adds a request of about `cost` tokens.

        Raises:
            OverloadedError: it would not be answered in time.
        """
        try:
            self._check(cost, client)
        except OverloadedError:
            self._refused = time.monotonic()
            raise
        self._accepted = time.monotonic()
        self._count(cost, client, 1)

    def correct(self, cost: int, true_cost: int, client: str) -> None:
        """Corrects the size of a queued request.

        Raises:
            OverloadedError: it will not be answered in time. It keeps its old cost, as in the next case.
            TooLargeError: it would not be answered in time even by an idle service.
        """
        self._count(cost, client, -1)
        try:
            self._check_size(true_cost)
            self._check_finish(true_cost)
        except (OverloadedError, TooLargeError):
            self._count(cost, client, 1)
            raise
        self._count(true_cost, client, 1)

    def leave(self, cost: int, client: str) -> None:
        """Removes a request."""
        self._count(cost, client, -1)

    @property
    def wait(self) -> float:
        """Seconds that a short request would wait now."""
        return self._turns / self.rate.value

    @property
    def takes_no_more(self) -> bool:
        """Whether requests have arrived for some time and none was accepted."""
        now = time.monotonic()
        return now - self._refused < SILENT_SECONDS <= now - self._accepted

    def _check(self, cost: int, client: str) -> None:
        self._check_room(min(cost, TURN_TOKENS), client)
        self._check_finish(cost)

    def _check_room(self, turn: int, client: str | None) -> None:
        fits = self.limits.max_wait * self.rate.value
        if self._turns > max(fits, CLIENT_TOKENS + TURN_TOKENS):
            raise OverloadedError("queue", self.wait)
        held = 0 if client is None else self._by_client.get(client, 0)
        if held and held + turn > max(CLIENT_SHARE * fits, CLIENT_TOKENS):
            raise OverloadedError("client", self.wait)

    def _check_size(self, cost: int) -> None:
        if cost > self.limits.max_tokens:
            raise TooLargeError(f"more than {self.limits.max_tokens} tokens; send less text at a time")
        if cost / self.rate.value > self.limits.timeout:
            tokens = int(self.rate.value * self.limits.timeout * SAFETY)
            raise TooLargeError(f"more than {self.limits.timeout:g} seconds of work (about {tokens} tokens)")

    def _check_finish(self, cost: int) -> None:
        """Requests take turns, so each request ahead delays this one by at most its own cost."""
        ahead = min(self.pending, self.jobs * max(cost, TURN_TOKENS))
        seconds = (ahead + cost) / self.rate.value
        if self.jobs and seconds > SAFETY * self.limits.timeout:
            raise OverloadedError("queue", seconds - SAFETY * self.limits.timeout)

    def _count(self, cost: int, client: str, sign: int) -> None:
        turn = min(cost, TURN_TOKENS)
        self.pending += sign * cost
        self.jobs += sign
        self._turns += sign * turn
        self._by_client[client] += sign * turn
        if not self._by_client[client]:
            del self._by_client[client]
