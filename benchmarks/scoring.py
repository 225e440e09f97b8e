"""Scoring a file of texts: a transformers pipeline, MLflow's pyfunc on a frame, Spark, and `score` on 1 and 2 workers.

Every contender answers the same JSON lines with the same odd student and writes Parquet, in a process of its own. Each
size is one round, within which ratios are taken. The ceiling, measured right after `score`, is the graph that `score`
chose, in processes with one thread each that hold their texts in memory: nothing is read or written.

"reading and writing alone" is `score` with answers that cost nothing: what one command can feed, however many workers
there are. Seconds of a peer begin when its model is open; those of `score` include opening the model and, on two
workers, starting Ray. Memory is the largest sum of the proportional set sizes of a contender's processes. The pipeline
answers only the first 4,000 rows of each size. Spark is skipped without pyspark and Java.

    python -m benchmarks.scoring                    10,000, 100,000 and 1,000,000 rows
    python -m benchmarks.scoring --quick            2,000 and 20,000 rows
    python -m benchmarks.scoring --versions teacher,odd --texts rows.jsonl
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from importlib.metadata import files
from pathlib import Path
from typing import Any

import psutil

from benchmarks.contenders import ALONE, CEILING, PIPELINE, PIPELINE_32, PYFUNC, RAY, SHARD, SPARK, prepare, write_rows
from benchmarks.figures import tell, write_figures
from benchmarks.processes import peak_of, stop
from benchmarks.serving import read_texts

ROOT = Path(__file__).parents[1]
SIZES, QUICK_SIZES = (10_000, 100_000, 1_000_000), (2_000, 20_000)
PIPELINE_ROWS, QUICK_PIPELINE_ROWS = 4_000, 200
CEILING_SECONDS, QUICK_CEILING_SECONDS = 10.0, 2.0
ONE, TWO = "score, 1 worker", "score, 2 workers"
CEILING_TWO = "ceiling, 2 processes"
WORKERS = {ONE: 1, TWO: 2}


@dataclass(frozen=True)
class Bar:
    """A figure of the largest size and its bound.

    Attributes:
        what: the figure in words.
        least: lower bound, or None.
        most: upper bound, or None.
    """

    what: str
    least: float | None = None
    most: float | None = None

    def holds(self, value: float | None) -> bool | None:
        """Whether a figure is within the bound; None without a figure."""
        if value is None:
            return None
        return value >= self.least if self.least is not None else self.most is None or value <= self.most

    @property
    def bound(self) -> str:
        """`≥ 15`."""
        return f"≥ {self.least:g}" if self.least is not None else f"≤ {self.most:g}"


BARS = {
    "over_pipeline": Bar("score on 2 workers over the pipeline", least=15.0),
    "share_of_ceiling": Bar("score on 1 worker over the ceiling", least=0.85),
    "second_worker": Bar("2 workers over 1 worker", least=1.7),
    "memory_growth": Bar("peak memory of score, largest size over the one before", most=1.1),
}


def left_out() -> dict[str, str]:
    """Contenders that cannot run here, each with the reason."""
    reasons = {}
    if importlib.util.find_spec("pyspark") is None:
        reasons[SPARK] = "pyspark is not installed: make spark"
    elif shutil.which("java") is None:
        reasons[SPARK] = "there is no Java"
    if importlib.util.find_spec("ray") is None:
        reasons[TWO] = "ray is not installed: make install"
    return reasons


def measured(command: list[str], work: Path) -> tuple[str, dict[str, float]]:
    """The last line of a command's output; its seconds and peak memory.

    Raises:
        RuntimeError: it failed; its error output is shown above.
    """
    environ = {
        **os.environ,
        "PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{ROOT}",
        "MLFLOW_TRACKING_URI": f"sqlite:///{work / 'mlflow.db'}",
        "HF_HUB_OFFLINE": "1",
        "TOKENIZERS_PARALLELISM": "false",
    }
    start = time.perf_counter()
    process = subprocess.Popen(
        command, cwd=work, env=environ, stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    try:
        with peak_of(psutil.Process(process.pid)) as peak:
            out, _ = process.communicate()
    finally:
        if process.poll() is None:
            stop(process)
    if process.returncode:
        raise RuntimeError(f"{' '.join(command)}: ended with {process.returncode}; the reason is above.")
    told = out.strip().splitlines()
    return told[-1] if told else "", {"wall_seconds": time.perf_counter() - start, "peak_mb": peak[0]}


def contender(name: str, work: Path, rows: Path, *more: str) -> list[str]:
    """The command of a contender."""
    return [sys.executable, "-m", "benchmarks.contenders", name, "--work", str(work), "--file", str(rows), *more]


def measure_peer(name: str, work: Path, rows: Path, count: int) -> dict[str, float]:
    """Figures of a peer on the first rows of a file."""
    told, found = measured(contender(name, work, rows, "--rows", str(count)), work)
    return {"rows": count, "texts_per_second": count / float(told), **found}


def measure_score(name: str, work: Path, rows: Path) -> dict[str, Any]:
    """Figures of `score` on a file, from its manifest; `graph` is what it chose."""
    output = work / "scores.parquet"
    said = [f"model={work / 'bundle'}", f"input={rows}", f"output={output}", f"jobs={WORKERS[name]}", "columns=text"]
    _, found = measured([sys.executable, "-m", "pipelines", "score", *said], work)
    manifest = Path(f"{output}.manifest.json")
    speed = json.loads(manifest.read_text(encoding="utf-8"))["speed"]
    output.unlink()
    manifest.unlink()
    return {
        "rows": int(speed["rows"]),
        "texts_per_second": speed["rows_per_second"],
        "graph": speed["graph"],
        **found,
    }


def measure_ceiling(work: Path, rows: Path, graph: str, seconds: float, processes: int) -> float:
    """Texts per second of so many processes at once."""
    command = contender(CEILING, work, rows, "--graph", graph, "--seconds", str(seconds))
    environ = {**os.environ, "PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{ROOT}"}
    started = [
        subprocess.Popen(command, cwd=work, env=environ, stdout=subprocess.PIPE, text=True) for _ in range(processes)
    ]
    return sum(float(process.communicate()[0].split()[-1]) for process in started)


def measure_size(work: Path, rows: Path, count: int, options: argparse.Namespace) -> dict[str, dict[str, Any]]:
    """One round: every contender on one file."""
    skipped, found = left_out(), dict[str, dict[str, Any]]()
    peers = {PIPELINE: min(count, options.pipeline_rows), PIPELINE_32: min(count, options.pipeline_rows)}
    peers |= {PYFUNC: count, SPARK: count, ALONE: count}
    for name, some in peers.items():
        if name not in skipped:
            found[name] = measure_peer(name, work, rows, some)
            tell(f"{count:,} rows | {name} | {found[name]['texts_per_second']:,.0f} texts/s")
    for name in (ONE, TWO):
        if name in skipped:
            continue
        found[name] = measure_score(name, work, rows)
        tell(f"{count:,} rows | {name} | {found[name]['texts_per_second']:,.0f} texts/s")
        ceiling = CEILING if name == ONE else CEILING_TWO
        rate = measure_ceiling(work, rows, found[name]["graph"], options.ceiling_seconds, WORKERS[name])
        found[ceiling] = {"rows": min(count, SHARD), "texts_per_second": rate}
        tell(f"{count:,} rows | {ceiling} | {rate:,.0f} texts/s")
    return found


def ratios(sizes: dict[int, dict[str, dict[str, Any]]]) -> dict[str, float | None]:
    """The figures of `BARS`, at the largest size."""
    last, *others = sorted(sizes, reverse=True)
    found = sizes[last]

    def over(name: str, other: str) -> float | None:
        if name not in found or other not in found:
            return None
        return float(found[name]["texts_per_second"] / found[other]["texts_per_second"])

    growth = [
        sizes[last][name]["peak_mb"] / sizes[others[0]][name]["peak_mb"] for name in WORKERS if others and name in found
    ]
    return {
        "over_pipeline": over(TWO, PIPELINE),
        "over_pipeline_of_32": over(TWO, PIPELINE_32),
        "over_pyfunc": over(TWO, PYFUNC),
        "over_spark": over(TWO, SPARK),
        "share_of_ceiling": over(ONE, CEILING),
        "share_of_two_ceilings": over(TWO, CEILING_TWO),
        "second_worker": over(TWO, ONE),
        "workers_one_command_can_feed": over(ALONE, ONE),
        "second_process_of_the_ceiling": over(CEILING_TWO, CEILING),
        "memory_growth": max(growth) if growth else None,
    }


def ray_cost(work: Path) -> dict[str, float]:
    """What Ray costs without work: seconds of a command, memory, and megabytes of the install."""
    told, found = measured(contender(RAY, work, work), work)
    installed = sum(Path(str(file.locate())).stat().st_size for file in files("ray") or () if file.locate().is_file())
    return {"seconds": float(told), "memory_mb": found["peak_mb"], "installed_mb": installed / 1e6}


def run(work: Path, texts: list[str], options: argparse.Namespace) -> dict[str, Any]:
    """All sizes.

    Returns:
        `sizes`: figures by rows and contender; `ratios`; `left_out`, with reasons; `ray`: see `ray_cost`.
    """
    sizes: dict[int, dict[str, dict[str, Any]]] = {}
    for count in options.sizes:
        rows = work / "rows.jsonl"
        write_rows(rows, texts, count)
        sizes[count] = measure_size(work, rows, count, options)
        rows.unlink()
    skipped = left_out()
    ray = {} if TWO in skipped else ray_cost(work)
    return {"sizes": sizes, "ratios": ratios(sizes), "left_out": skipped, "ray": ray}


def table(figures: dict[str, Any]) -> str:
    """A line for each contender of each size, then the bars."""
    lines = ["| rows | contender | texts/s | peak MB | seconds with start |", "|---:|---|---:|---:|---:|"]
    for size, contenders in figures["sizes"].items():
        for name, row in contenders.items():
            asked = name if row["rows"] == size else f"{name} ({row['rows']:,} rows)"
            cells = [f"{row[key]:,.0f}" if key in row else "" for key in ("peak_mb", "wall_seconds")]
            lines.append(f"| {size:,} | {asked} | {row['texts_per_second']:,.0f} | {' | '.join(cells)} |")
    lines += [f"| | {name} | skipped: {reason} | | |" for name, reason in figures["left_out"].items()]
    lines += ["", f"at {max(figures['sizes']):,} rows:"]
    for name, value in figures["ratios"].items():
        bar, shown = BARS.get(name), "not measured" if value is None else f"{value:.2f}"
        verdict = {True: "holds", False: "DOES NOT HOLD", None: "open"}[bar.holds(value)] if bar else ""
        told = f" | bar {bar.bound}: {verdict} | {bar.what}" if bar else ""
        lines.append(f"  {name:<30} {shown}{told}")
    if figures["ray"]:
        ray = figures["ray"]
        lines.append(
            f"  Ray without work: {ray['seconds']:.1f} s a command, {ray['memory_mb']:,.0f} MB of memory, "
            f"{ray['installed_mb']:,.0f} MB installed"
        )
    return "\n".join(lines)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="two small sizes")
    parser.add_argument("--rows", help="sizes, with commas between")
    parser.add_argument("--json", type=Path, help="file to write the figures to")
    parser.add_argument("--out", type=Path, default=Path("outputs/bench"), help="folder of the table")
    parser.add_argument("--texts", type=Path, help="JSON lines with `text`; the bundled sample when not given")
    parser.add_argument("--versions", help="registered versions of the full model and the student, such as teacher,odd")
    parser.add_argument("--work", type=Path, help="folder for files, about 1 GB; a temporary one when not given")
    given = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    quick = (QUICK_SIZES, QUICK_PIPELINE_ROWS, QUICK_CEILING_SECONDS)
    full = (SIZES, PIPELINE_ROWS, CEILING_SECONDS)
    given.sizes, given.pipeline_rows, given.ceiling_seconds = quick if given.quick else full
    if given.rows:
        given.sizes = tuple(map(int, given.rows.split(",")))
    versions = tuple(given.versions.split(",")) if given.versions else None
    with tempfile.TemporaryDirectory(prefix="evenodd-bench-", dir=given.work) as folder:
        texts = read_texts(given.texts, 100_000)
        prepare(Path(folder), texts, versions)
        figures = run(Path(folder), texts, given)
    given.out.mkdir(parents=True, exist_ok=True)
    (given.out / "scoring.md").write_text(table(figures) + "\n", encoding="utf-8")
    print(table(figures))
    write_figures(given.json, figures)


if __name__ == "__main__":
    main()
