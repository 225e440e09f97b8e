"""What the operator may set, from environment variables, checked all at once."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PROVIDERS = ("auto", "cpu", "cuda", "tensorrt")
GRAPHS = ("checked", "fp32", "fp16", "int8")


@dataclass(frozen=True)
class Settings:
    """One field per EVENODD_ variable of the same name. `None` leaves the choice to the bundle.

    Attributes:
        bundle: Folders of bundles; empty: those inside the Bento (`serving/bundles/*`).
        variant: The default variant; None: that of the first bundle.
        provider: Overrides the bundle's `provider`.
        graph: Overrides the bundle's `recommended` graph for the device. `checked`: int8, and again in float32 what
            lies near a boundary, so that labels and decisions are the float32 graph's.
        threads: ONNX Runtime threads of one session, in one worker.
        token_budget: Padded tokens that one run of the graph holds at most; None: what suits the device.
        max_texts: Texts of one request.
        max_chars: Characters of one text.
        max_body: Bytes of one request's body.
        max_requests: Requests that one worker holds at a time, whatever their size.
        max_queue: Tokens that may wait in one worker before requests are turned away; estimated from the characters.
        timeout: Seconds after which a waiting request is answered with 503.
        explain_words: Words of a text that can be explained.
        exact: Where the graph's scores depend on the batch, a text always gets the same score: int8 runs each text by
            itself (about a seventh of the throughput), `checked` runs all in float32. Explanations do so always.
        corrections: Where corrections go: a file, `sqlite:///FILE` or `postgresql://...`; None: they are refused.
        max_corrections: Rows that the store takes before it refuses more.
    """

    bundle: tuple[Path, ...] = ()
    variant: str | None = None
    provider: str | None = None
    graph: str | None = None
    threads: int = 1
    token_budget: int | None = None
    max_texts: int = 256
    max_chars: int = 100_000
    max_body: int = 4 * 1024 * 1024
    max_requests: int = 1024
    max_queue: int = 262_144
    timeout: float = 60.0
    explain_words: int = 256
    exact: bool = False
    corrections: str | None = None
    max_corrections: int = 100_000


def read_settings(environ: Mapping[str, str] | None = None) -> Settings:
    """Settings from the environment.

    Raises:
        ValueError: one message that lists every variable with a value that is not allowed.
    """
    environ = os.environ if environ is None else environ
    values: dict[str, Any] = {}
    faults = []
    for name, parse in _PARSERS.items():
        raw = environ.get(f"EVENODD_{name.upper()}", "").strip()
        if not raw:
            continue
        try:
            values[name] = parse(raw)
        except ValueError as fault:
            faults.append(f"EVENODD_{name.upper()}={raw!r}: {fault}")
    if faults:
        raise ValueError("; ".join(faults))
    return Settings(**values)


def _paths(raw: str) -> tuple[Path, ...]:
    return tuple(Path(part).expanduser() for part in raw.split(os.pathsep) if part)


def _one_of(allowed: tuple[str, ...]) -> Callable[[str], str]:
    def parse(raw: str) -> str:
        if raw not in allowed:
            raise ValueError(f"allowed are {', '.join(allowed)}.")
        return raw

    return parse


def _switch(raw: str) -> bool:
    if raw not in ("0", "1"):
        raise ValueError("allowed are 0, 1.")
    return raw == "1"


def _positive(kind: Callable[[str], Any], least: float = 1) -> Callable[[str], Any]:
    def parse(raw: str) -> Any:
        try:
            value = kind(raw)
        except ValueError:
            raise ValueError(f"a number of at least {least} is needed.") from None
        if not value >= least:
            raise ValueError(f"must be at least {least}.")
        return value

    return parse


_PARSERS: dict[str, Callable[[str], Any]] = {
    "bundle": _paths,
    "variant": str,
    "provider": _one_of(PROVIDERS),
    "graph": _one_of(GRAPHS),
    "threads": _positive(int),
    "token_budget": _positive(int, 16),
    "max_texts": _positive(int),
    "max_chars": _positive(int),
    "max_body": _positive(int, 1024),
    "max_requests": _positive(int),
    "max_queue": _positive(int),
    "timeout": _positive(float, 0.1),
    "explain_words": _positive(int),
    "exact": _switch,
    "corrections": str,
    "max_corrections": _positive(int),
}
