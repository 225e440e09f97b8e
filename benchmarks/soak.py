"""An hour at 70 % of the service's capacity: no error, and stable memory.

    python -m benchmarks.soak [--minutes 60] [--settle 10] [--share 0.7] [--bundle FOLDER] [--json FILE]

The service runs as `make serve` starts it, with the newest bundle. Requests are sent at a fixed rate from several
addresses, independent of the answers; memory is read twice a minute. The command fails if a request was not answered
with 200, or if the service ends with more than 2 % more memory than after it had settled.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.processes import megabytes
from benchmarks.serving import OURS, ROOT, Contender, read_texts, serve

MOST_GROWTH = 0.02
SAMPLE_SECONDS = 30.0
CAPACITY = {"concurrency": 8, "seconds": 5}


def load(script: str, port: int, bodies: Path, **options: float) -> subprocess.Popen[bytes]:
    """Starts a load generator, which prints its report."""
    command = [sys.executable, str(ROOT / "benchmarks" / script), "--port", str(port), "--bodies", str(bodies)]
    command += [part for name, value in options.items() for part in (f"--{name}", str(value))]
    return subprocess.Popen(command, stdout=subprocess.PIPE)


def report(process: subprocess.Popen[bytes]) -> dict[str, Any]:
    """Waits for a load generator and returns its report."""
    return dict(json.loads(process.communicate()[0]))


def soak(bundle: Path, work: Path, *, minutes: float, settle: float, share: float) -> dict[str, Any]:
    """The figures of one run.

    Args:
        bundle: folder of the served bundle.
        work: folder for the log and the requests.
        minutes: duration of the load.
        settle: minutes after which memory must be stable.
        share: share of the measured capacity.
    """
    ours = (sys.executable, "-m", "bentoml", "serve", "serving.service:EvenOdd", "--host", "127.0.0.1")
    contender = Contender(OURS, (*ours, "--port", "{port}"), environ={"EVENODD_BUNDLE": str(bundle)})
    bodies = work / "bodies.jsonl"
    bodies.write_text("\n".join(json.dumps({"texts": [text]}) for text in read_texts(None, 2000)), encoding="utf-8")
    with serve(contender, work) as (port, process):
        rate = share * report(load("load.py", port, bodies, **CAPACITY))["requests_per_second"]
        at_work = load("open_load.py", port, bodies, rate=rate, seconds=60 * minutes)
        started, memory = time.monotonic(), []
        while at_work.poll() is None:
            memory.append((round((time.monotonic() - started) / 60, 2), round(megabytes(process), 1)))
            print(f"{memory[-1][0]:.1f} min | {memory[-1][1]} MB", flush=True)
            time.sleep(min(SAMPLE_SECONDS, 6 * minutes))
        found = report(at_work)
    return {"rate": round(rate, 1), **found, "memory_mb": memory, "growth": growth(memory, settle)}


def growth(memory: list[tuple[float, float]], settle: float) -> float | None:
    """Relative growth of memory after settling: the median of the last fifth over that of the first fifth.

    Args:
        memory: minutes and megabytes.
        settle: minutes; if fewer than ten samples follow, None is returned.
    """
    kept = [held for minute, held in memory if minute >= settle]
    part = len(kept) // 5
    if part < 2:
        return None
    return round(statistics.median(kept[-part:]) / statistics.median(kept[:part]) - 1, 4)


def faults(found: dict[str, Any]) -> list[str]:
    """Failed conditions, in words."""
    said = [f"status {status}: {count} answers" for status, count in found["statuses"].items() if status != "200"]
    said += [f"{name}: {found[name]}" for name in ("unanswered", "lost", "not_sent") if found[name]]
    if found["growth"] is None:
        said.append("too short to tell whether memory grows")
    elif found["growth"] > MOST_GROWTH:
        said.append(f"memory grew by {found['growth']:.1%}; the limit is {MOST_GROWTH:.0%}")
    return said


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description="Load for an hour; fails on an error or if memory grows.")
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--settle", type=float, default=10.0, help="minutes after which memory must be stable")
    parser.add_argument("--share", type=float, default=0.7, help="share of the capacity, which is measured first")
    parser.add_argument("--bundle", type=Path, help="default: the newest in .evenodd/bundles")
    parser.add_argument("--json", type=Path, help="file for the figures")
    given = parser.parse_args()
    bundle = given.bundle or _newest()
    with tempfile.TemporaryDirectory(prefix="soak-") as work:
        found = soak(bundle.resolve(), Path(work), minutes=given.minutes, settle=given.settle, share=given.share)
    if given.json is not None:
        given.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    print(json.dumps({name: value for name, value in found.items() if name != "memory_mb"}))
    if faults(found):
        raise SystemExit("; ".join(faults(found)))


def _newest() -> Path:
    from evenodd.flow.serve import newest_bundle
    from evenodd.settings import Settings

    return newest_bundle(Settings().home / "bundles")


if __name__ == "__main__":
    main()
