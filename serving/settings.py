"""The operator's settings, from environment variables, all checked together."""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .keys import ApiKey, read_keys

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
PROVIDERS = ("auto", "cpu", "cuda", "tensorrt")
SECRET = ("api_keys", "corrections", "webhook_secret")
POLL_SECONDS, POLL_SECONDS_BESIDE_WEBHOOK = 15.0, 300.0
GRAPHS = ("checked", "fp32", "fp16", "int8")


@dataclass(frozen=True)
class Settings:
    """One field per EVENODD_ variable of the same name. `None` leaves the choice to the bundle.

    Attributes:
        bundle: Folders of bundles; empty: those inside the Bento (`serving/bundles/*`).
        model: A registered model to follow, `models:/NAME@ALIAS`; bundles of `bundle` are served only until the
        registry has provided a version. MLFLOW_TRACKING_URI is the registry.
        follow_seconds: Seconds between two polls of the registry; None: 15, or 300 with a webhook.
        webhook_secret: Secret of MLflow's webhook to `/webhooks/mlflow`; None: webhooks are refused.
        variant: The default variant; None: that of the first bundle.
        provider: Overrides the bundle's `provider`.
        graph: Overrides the bundle's graph for the device. `checked`: int8, repeated in float32 near a boundary, so
        that labels and decisions are those of the float32 graph. If the bundle recommends it, it is used only if it
        proves faster at start; `/info` shows the choice.
        threads: ONNX Runtime threads of one session, in one worker.
        token_budget: Maximal number of padded tokens in one run of the graph; None: depends on the device.
        max_texts: Maximal number of texts of one request.
        max_chars: Maximal number of characters of one text.
        max_body: Maximal bytes of one request's body.
        max_held: Maximal bytes of large bodies in one worker at a time; one client may use half.
        max_tokens: Maximal number of tokens of one request.
        max_wait: Seconds that a short request may wait for others in one worker, three quarters of them for requests
        of its own client; requests that would wait longer, by the recent rate, are refused at once.
        timeout: Seconds after which a waiting request is answered with 503.
        explain_tokens: Maximal tokens of all runs of an explanation: a short text is explained by words, a longer one
        by sentences or passages.
        hosts: Host names that requests may use, separated by commas; `*`: any. Empty: any, or only local names if the
        service listens on this machine alone.
        api_keys: Entries of `python -m serving.keys`, separated by commas; empty: no key is needed.
        rate: Requests per second of one client to one worker; None: no limit.
        proxies: Networks of proxies whose `X-Forwarded-For` names the client, separated by commas.
        keep_alive: Seconds that an idle connection stays open; must be longer than in proxies in front.
        exact: Makes scores independent of the batch: int8 runs each text alone (about a seventh of the throughput),
        `checked` runs everything in float32. Explanations always do so.
        corrections: Database of corrections: a file, `sqlite:///FILE` or `postgresql://...`; None: they are refused.
        corrections_password: File with the password of that database; it may hold any character.
        max_corrections: Corrections that may wait for review before more are refused.
        client_corrections: The same for one client.
    """

    bundle: tuple[Path, ...] = ()
    model: str | None = None
    follow_seconds: float | None = None
    webhook_secret: str | None = None
    variant: str | None = None
    provider: str | None = None
    graph: str | None = None
    threads: int = 1
    token_budget: int | None = None
    max_texts: int = 256
    max_chars: int = 100_000
    max_body: int = 4 * 1024 * 1024
    max_held: int = 32 * 1024 * 1024
    max_tokens: int = 131_072
    max_wait: float = 0.5
    timeout: float = 60.0
    explain_tokens: int = 16_384
    hosts: tuple[str, ...] = ()
    api_keys: tuple[ApiKey, ...] = ()
    rate: float | None = None
    proxies: tuple[Network, ...] = ()
    keep_alive: float = 75.0
    exact: bool = False
    corrections: str | None = None
    corrections_password: Path | None = None
    max_corrections: int = 100_000
    client_corrections: int = 1_000

    @property
    def follow_every(self) -> float:
        """Seconds between two polls of the registry."""
        return self.follow_seconds or (POLL_SECONDS_BESIDE_WEBHOOK if self.webhook_secret else POLL_SECONDS)


def read_settings(environ: Mapping[str, str] | None = None) -> Settings:
    """Settings from the environment.

    Raises:
        ValueError: one message lists every variable with an invalid value.
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
            shown = "" if name in SECRET else f"={raw!r}"
            faults.append(f"EVENODD_{name.upper()}{shown}: {fault}")
    if faults:
        raise ValueError("; ".join(faults))
    return Settings(**values)


def _paths(raw: str) -> tuple[Path, ...]:
    return tuple(Path(part).expanduser() for part in raw.split(os.pathsep) if part)


def _names(raw: str) -> tuple[str, ...]:
    return tuple(part.strip().lower() for part in raw.split(",") if part.strip())


def _networks(raw: str) -> tuple[Network, ...]:
    return tuple(ipaddress.ip_network(part, strict=False) for part in _names(raw))


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
            raise ValueError(f"must be a number of at least {least}.") from None
        if not value >= least:
            raise ValueError(f"must be at least {least}.")
        return value

    return parse


_PARSERS: dict[str, Callable[[str], Any]] = {
    "bundle": _paths,
    "model": str,
    "follow_seconds": _positive(float, 0.1),
    "webhook_secret": str,
    "variant": str,
    "provider": _one_of(PROVIDERS),
    "graph": _one_of(GRAPHS),
    "threads": _positive(int),
    "token_budget": _positive(int, 16),
    "max_texts": _positive(int),
    "max_chars": _positive(int),
    "max_body": _positive(int, 1024),
    "max_held": _positive(int, 1024),
    "max_tokens": _positive(int, 16),
    "max_wait": _positive(float, 0.01),
    "timeout": _positive(float, 0.1),
    "explain_tokens": _positive(int, 16),
    "hosts": _names,
    "api_keys": read_keys,
    "rate": _positive(float, 0.01),
    "proxies": _networks,
    "keep_alive": _positive(float, 1),
    "exact": _switch,
    "corrections": str,
    "corrections_password": Path,
    "max_corrections": _positive(int),
    "client_corrections": _positive(int),
}
