"""Serving speed: peers and ours in one run, on the same model, texts and cores, with the client on those cores too.

    python -m benchmarks.serving [--quick] [--json FILE] [--texts FILE] [--versions TEACHER,STUDENT] [--out FOLDER]

One text per request, keep-alive connections. In each of `--rounds` rounds every service is started, warmed up and
measured at each concurrency; the in-process ceiling is the mean of a measurement before and one after ours. Ratios are
computed within a round, because other work on the machine slows a whole round, and all figures are medians over the
rounds. Models: see benchmarks/models.py. Ours is measured as `make serve` starts it, and with only the int8 graph.
Peers that are not installed are reported and skipped.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from benchmarks.figures import write_figures
from benchmarks.models import prepare
from benchmarks.processes import megabytes, running

ROOT = Path(__file__).parents[1]
CONCURRENCIES = (16, 64)
START_SECONDS = 180
OURS, STUDENT, INT8 = "evenodd", "evenodd, 3 layers", "evenodd, int8 alone"
CEILING = "in process, no HTTP"
FASTAPI, MLFLOW, INFINITY = "FastAPI + pipeline", "mlflow models serve, ONNX", "infinity-emb, ONNX"


@dataclass(frozen=True)
class Contender:
    """A service to start and measure.

    Attributes:
        command: command line, in which `{port}` is replaced.
        body: makes the JSON of a request from a text.
        needs: required package; if it is missing, the service is skipped.
    """

    name: str
    command: tuple[str, ...]
    ready: str = "/readyz"
    path: str = "/classify"
    body: Callable[[str], dict[str, Any]] = lambda text: {"texts": [text]}
    needs: str | None = None
    environ: dict[str, str] = field(default_factory=dict)


def contenders(work: Path) -> list[Contender]:
    """All services, ours last."""
    python = sys.executable
    bento = (python, "-m", "bentoml", "serve")
    at = ("--host", "127.0.0.1", "--port", "{port}")
    ours = (*bento, "serving.service:EvenOdd", *at)
    uvicorn = (python, "-m", "uvicorn", "benchmarks.peers:fastapi_app", "--factory", "--log-level", "error", *at)
    mlflow = (python, "-m", "mlflow", "models", "serve", "-m", str(work / "mlflow"), "--env-manager", "local")
    infinity = ("infinity_emb", "v2", "--model-id", str(work / "torch"), "--engine", "optimum", "--port", "{port}")
    return [
        Contender(FASTAPI, uvicorn, ready="/docs", needs="fastapi"),
        Contender(
            MLFLOW,
            (*mlflow, "-h", "127.0.0.1", "-p", "{port}"),
            ready="/ping",
            path="/invocations",
            body=lambda text: {"inputs": [text]},
            needs="mlflow",
        ),
        Contender(
            INFINITY,
            infinity,
            ready="/health",
            path="/classify",
            body=lambda text: {"model": "torch", "input": [text]},
            needs="infinity_emb",
        ),
        Contender("plain Bento, one text", (*bento, "one_text:service", "--working-dir", str(work), *at)),
        Contender(OURS, ours, environ={"EVENODD_BUNDLE": str(work / "bundle")}),
        Contender(INT8, ours, environ={"EVENODD_BUNDLE": str(work / "bundle"), "EVENODD_GRAPH": "int8"}),
        Contender(STUDENT, ours, environ={"EVENODD_BUNDLE": str(work / "student")}),
    ]


def environment(contender: Contender, work: Path) -> dict[str, str]:
    """Environment variables of a contender."""
    return {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}",
        "BENCH_MODELS": str(work),
        "PYTHONPATH": str(ROOT),
        "HF_HUB_OFFLINE": "1",
        "TOKENIZERS_PARALLELISM": "false",
        "BENTOML_DO_NOT_TRACK": "True",
        **contender.environ,
    }


def serve(contender: Contender, work: Path) -> contextlib.AbstractContextManager[tuple[int, psutil.Process]]:
    """Runs a contender's service; see `processes.running`."""
    environ = environment(contender, work)
    return running(contender.command, ready=contender.ready, folder=ROOT, environ=environ, log=work / "log.txt")


def measure(contender: Contender, work: Path, texts: list[str], seconds: float) -> dict[str, Any]:
    """One round's figures at each concurrency and the memory at the end, under the contender's name."""
    bodies = work / "bodies.jsonl"
    bodies.write_text("\n".join(json.dumps(contender.body(text)) for text in texts), encoding="utf-8")
    with serve(contender, work) as (port, process):
        load = [sys.executable, str(ROOT / "benchmarks" / "load.py"), "--port", str(port), "--path", contender.path]
        load += ["--bodies", str(bodies), "--seconds", str(seconds)]
        found: dict[str, Any] = {
            str(concurrency): json.loads(subprocess.check_output([*load, "--concurrency", str(concurrency)]))
            for concurrency in CONCURRENCIES
        }
        found["memory_mb"] = round(megabytes(process))
        if contender.name in (OURS, INT8, STUDENT):
            found["served"] = served(port)
        return {contender.name: found}


def served(port: int) -> dict[str, Any]:
    """The graph that our service chose on this machine, and the share of texts that `checked` repeats."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/info", timeout=5) as answer:
        running = json.load(answer)["model"]["runtime"]
    return {"graph": running["graph"], "share_run_again": (running["checked"] or {}).get("share")}


def measure_beside_ceiling(contender: Contender, work: Path, texts: list[str], seconds: float) -> dict[str, Any]:
    """The same with the ceiling, as the mean of measurements before and after."""
    before = _ceiling(work, seconds)
    found = measure(contender, work, texts, seconds)
    return {**found, CEILING: (before + _ceiling(work, seconds)) / 2}


def medians(rounds: list[dict[str, Any]]) -> dict[str, Any]:
    """A service's figures over the rounds; errors and requests shed are summed."""
    found: dict[str, Any] = {"memory_mb": statistics.median(one["memory_mb"] for one in rounds)}
    for level in map(str, CONCURRENCIES):
        runs = [one[level] for one in rounds]
        middle = {
            name: statistics.median(run[name] for run in runs if run[name] is not None)
            if any(run[name] for run in runs)
            else 0
            for name in ("requests_per_second", "p50_ms", "p99_ms")
        }
        sums = {name: sum(run[name] for run in runs) for name in ("errors", "shed")}
        found[level] = {**middle, **sums}
    return found


def read_texts(path: Path | None, count: int) -> list[str]:
    """Texts of JSON lines with `text`, or of the embedded sample."""
    if path is not None:
        rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
        return [str(row["text"]) for row in rows][:count]
    from evenodd.rows import load_corpus
    from evenodd.settings import DataSettings, Settings

    return list(load_corpus(DataSettings(), seed=0, cache=Settings().home / "cache").train.texts[:count])


def run(
    work: Path, texts: list[str], seconds: float, rounds: int, versions: tuple[str, str] | None = None
) -> dict[str, Any]:
    """Figures of every contender, by name, and of the ceiling. `work` holds the models, which are created if missing.

    Raises:
        RuntimeError: our own service does not start. A peer that does not start is reported and skipped.
    """
    if not (work / "one_text.py").is_file():
        prepare(work, texts, versions)
    (work / "texts.json").write_text(json.dumps(texts), encoding="utf-8")
    left_out = {
        contender.name: f"{contender.needs} is not installed"
        for contender in contenders(work)
        if contender.needs and importlib.util.find_spec(contender.needs) is None
    }
    found: list[dict[str, Any]] = []
    for number in range(1, rounds + 1):
        found.append({})
        for contender in contenders(work):
            if contender.name in left_out:
                continue
            about = measure_beside_ceiling if contender.name == OURS else measure
            try:
                found[-1] |= about(contender, work, texts, seconds)
            except RuntimeError as fault:
                if contender.name in (OURS, INT8, STUDENT):
                    raise
                left_out[contender.name] = str(fault).splitlines()[0]
            print(f"[{number}/{rounds}]", contender.name, json.dumps(found[-1].get(contender.name)), flush=True)
    names = [name for name in found[0] if name != CEILING and name not in left_out]
    services = {name: medians([one[name] for one in found]) for name in names}
    figures = {**summary(found, services), **found[-1][OURS]["served"]}
    return {**figures, "student": found[-1][STUDENT]["served"], "services": services, "left_out": left_out}


def _ceiling(work: Path, seconds: float) -> float:
    """Texts per second of the int8 graph without HTTP, one process per core."""
    options = ["--bundle", str(work / "bundle"), "--texts", str(work / "texts.json"), "--seconds", str(seconds)]
    command = [sys.executable, "-m", "benchmarks.peers", *options]
    return float(json.loads(subprocess.check_output(command, cwd=ROOT)))


def summary(rounds: list[dict[str, Any]], services: dict[str, Any]) -> dict[str, Any]:
    """The key figures; None if a peer was skipped.

    Args:
        rounds: the ceiling and every service's figures, by round.
        services: medians over the rounds.
    """

    def ratio(peer: str, name: str = OURS) -> float | None:
        rates = [(one[name]["16"], one.get(peer, {}).get("16")) for one in rounds]
        pairs = [(a["requests_per_second"], b["requests_per_second"]) for a, b in rates if b]
        return round(statistics.median(a / b for a, b in pairs), 2) if pairs and all(b for _, b in pairs) else None

    def share(name: str) -> float:
        return round(statistics.median(one[name]["64"]["requests_per_second"] / one[CEILING] for one in rounds), 3)

    ours = services[OURS]
    return {
        "ours_over_fastapi_c16": ratio(FASTAPI),
        "ours_over_mlflow_onnx_c16": ratio(MLFLOW),
        "ours_over_infinity_onnx_c16": ratio(INFINITY),
        "student_over_ours_c16": ratio(OURS, STUDENT),
        "ceiling_texts_per_second": round(statistics.median(one[CEILING] for one in rounds), 1),
        "share_of_ceiling_c64": share(OURS),
        "int8_share_of_ceiling_c64": share(INT8),
        "p99_ms_c16": ours["16"]["p99_ms"],
        "errors": sum(ours[level]["errors"] for level in ("16", "64")),
        "shed": sum(ours[level]["shed"] for level in ("16", "64")),
    }


def table(figures: dict[str, Any]) -> str:
    """The services as Markdown."""
    lines = [
        "| service | req/s at 16 | p50 ms | p99 ms | req/s at 64 | p50 ms | p99 ms | memory MB | errors | shed |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for name, found in figures["services"].items():
        cells = [found[c][key] for c in ("16", "64") for key in ("requests_per_second", "p50_ms", "p99_ms")]
        sums = [sum(found[c][key] for c in ("16", "64")) for key in ("errors", "shed")]
        lines.append(f"| {name} | " + " | ".join(f"{cell:g}" for cell in [*cells, found["memory_mb"], *sums]) + " |")
    return "\n".join([*lines, f"| {CEILING} | | | | {figures['ceiling_texts_per_second']:g} | | | | | |"])


def plot(figures: dict[str, Any], path: Path) -> None:
    """Requests per second at both concurrencies, with the ceiling."""
    from matplotlib.figure import Figure

    names = list(figures["services"])
    canvas = Figure(figsize=(8, 0.6 * len(names) + 1.5), layout="constrained")
    axes = canvas.subplots()
    for offset, level in ((0.2, "16"), (-0.2, "64")):
        rates = [figures["services"][name][level]["requests_per_second"] for name in names]
        bars = axes.barh([i + offset for i in range(len(names))], rates, height=0.38, label=f"{level} at a time")
        axes.bar_label(bars, fmt="%.0f", padding=3)
    axes.axvline(figures["ceiling_texts_per_second"], linestyle="--", color="grey", label=CEILING)
    axes.set_yticks(range(len(names)), names)
    axes.invert_yaxis()
    axes.set_xlabel("requests per second, one text each")
    axes.legend(loc="lower right")
    canvas.savefig(path, dpi=150)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description="Serving speed of peers and ours, in one run.")
    parser.add_argument("--quick", action="store_true", help="one short round each")
    parser.add_argument("--json", type=Path, help="file to write the figures to")
    parser.add_argument("--texts", type=Path, help="JSON lines with `text`; default: the embedded sample")
    parser.add_argument("--out", type=Path, default=Path("outputs/bench"), help="folder of the table and the plot")
    parser.add_argument("--versions", help="registered versions of the full model and the student, such as teacher,odd")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--work", type=Path, help="folder that keeps the models for the next run")
    given = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that services end with a stopped benchmark
    versions = tuple(given.versions.split(",")) if given.versions else None
    if versions is not None and len(versions) != 2:
        parser.error(f"--versions {given.versions}: two names are needed, such as teacher,odd")
    texts = read_texts(given.texts, 2000)
    seconds, rounds = (3.0, 1) if given.quick else (6.0, given.rounds)
    with tempfile.TemporaryDirectory(prefix="evenodd-bench-") as folder:
        work = given.work or Path(folder)
        work.mkdir(parents=True, exist_ok=True)
        figures = run(work, texts, seconds, rounds, versions)
    given.out.mkdir(parents=True, exist_ok=True)
    (given.out / "serving.md").write_text(table(figures) + "\n", encoding="utf-8")
    plot(figures, given.out / "serving.png")
    print(table(figures))
    write_figures(given.json, figures)


if __name__ == "__main__":
    main()
