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
import contextlib
import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import files
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import psutil

from benchmarks.figures import tell, write_figures
from benchmarks.serving import megabytes, read_texts

ROOT = Path(__file__).parents[1]
SIZES, QUICK_SIZES = (10_000, 100_000, 1_000_000), (2_000, 20_000)
PIPELINE_ROWS, QUICK_PIPELINE_ROWS = 4_000, 200
SHARD, BATCH = 8192, 32
CEILING_SECONDS, QUICK_CEILING_SECONDS = 10.0, 2.0
SECONDS_BETWEEN = 0.5
PIPELINE, PIPELINE_32, PYFUNC, SPARK = "pipeline", "pipeline, batches of 32", "pyfunc on a frame", "spark_udf"
ONE, TWO = "score, 1 worker", "score, 2 workers"
ALONE = "reading and writing alone"
CEILING, CEILING_TWO = "ceiling, 1 process", "ceiling, 2 processes"
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


def write_rows(path: Path, texts: list[str], rows: int) -> None:
    """JSON lines of so many different texts: the given ones repeated, each with a number."""
    with path.open("w", encoding="utf-8") as file:
        for number, text in enumerate(islice(cycle(texts), rows)):
            file.write(json.dumps({"text": f"{text} {number}"}, ensure_ascii=False) + "\n")


def first_texts(path: Path, rows: int | None = None) -> list[str]:
    """The first texts of a file written by `write_rows`."""
    with path.open(encoding="utf-8") as file:
        return [json.loads(line)["text"] for line in islice(file, rows)]


def prepare(work: Path, texts: list[str], versions: tuple[str, str] | None = None) -> None:
    """The student as the contenders open it: `torch`, `bundle` and `mlflow` in `work`."""
    import mlflow

    from benchmarks.models import MEASURED_TEXTS, fitted_here, registered, write_model_bundle
    from evenodd.registered.pyfunc import CONFIG
    from evenodd.tracking.models import CODE, LOADER, copy_code

    _, student = registered(versions) if versions else fitted_here()
    student.model.eval().save_pretrained(work / "torch")
    student.tokenizer.save_pretrained(str(work / "torch"))
    write_model_bundle(student, work / "bundle", texts[:MEASURED_TEXTS])
    code = copy_code(work / CODE)
    mlflow.pyfunc.save_model(
        str(work / "mlflow"),
        loader_module=LOADER,
        data_path=str(work / "bundle"),
        code_paths=[str(path) for path in sorted(code.iterdir())],
        model_config=CONFIG,
        pip_requirements=["mlflow"],
    )


def score_with_pipeline(work: Path, rows: Path, count: int, batch: int | None) -> float:
    """Seconds of transformers' pipeline for the first rows, with its own batch size or a given one."""
    import pandas as pd
    from transformers import pipeline

    classify = pipeline("text-classification", model=str(work / "torch"), device="cpu")
    options = {"truncation": True, "max_length": 128} | ({"batch_size": batch} if batch else {})
    classify(first_texts(rows, BATCH), **options)
    start = time.perf_counter()
    found = classify(first_texts(rows, count), **options)
    pd.DataFrame(found).to_parquet(work / "pipeline.parquet")
    return time.perf_counter() - start


def score_with_pyfunc(work: Path, rows: Path) -> float:
    """Seconds of `mlflow.pyfunc` for one frame of all rows."""
    import mlflow
    import pandas as pd

    model = mlflow.pyfunc.load_model(str(work / "mlflow"))
    model.predict(first_texts(rows, BATCH))
    start = time.perf_counter()
    frame = pd.read_json(rows, lines=True, dtype=False)
    model.predict(frame[["text"]]).to_parquet(work / "pyfunc.parquet")
    return time.perf_counter() - start


def score_with_spark(work: Path, rows: Path) -> float:
    """Seconds of `spark_udf` in a local Spark on all cores."""
    import mlflow
    from pyspark.sql import SparkSession

    os.environ |= {"PYSPARK_PYTHON": sys.executable, "SPARK_LOCAL_IP": "127.0.0.1"}
    spark = SparkSession.builder.master("local[*]").config("spark.ui.enabled", "false").getOrCreate()
    try:
        answer = mlflow.pyfunc.spark_udf(spark, str(work / "mlflow"), env_manager="local")
        start = time.perf_counter()
        table = spark.read.json(str(rows)).repartition(len(os.sched_getaffinity(0)))
        found = table.withColumn("answer", answer("text")).select("text", "answer.*")
        found.write.mode("overwrite").parquet(str(work / "spark.parquet"))
        return time.perf_counter() - start
    finally:
        spark.stop()


def ceiling_rate(work: Path, rows: Path, graph: str, seconds: float) -> float:
    """Texts per second of the graph on one thread: the faster of whole shards and of sorted batches."""
    from evenodd.classifier.bundle import read_bundle
    from evenodd.classifier.engine import Engine, EngineOptions

    engine = Engine(read_bundle(work / "bundle"), EngineOptions(graph=graph))
    texts = sorted(first_texts(rows, SHARD), key=len)
    return max(_rate(engine.score, texts, size, seconds / 2) for size in (SHARD, BATCH))


def _rate(score: Callable[[list[str]], Any], texts: list[str], size: int, seconds: float) -> float:
    """Texts per second; whole passes over the texts, so that short and long ones count as often as they occur."""
    batches = [texts[start : start + size] for start in range(0, len(texts), size)]
    score(batches[-1])
    count, start = 0, time.perf_counter()
    while time.perf_counter() < start + seconds:
        for batch in batches:
            score(batch)
        count += len(texts)
    return count / (time.perf_counter() - start)


def start_ray_idle() -> float:
    """Seconds that Ray takes to start two workers and to end."""
    import ray

    from evenodd.flow.logs import ENVIRONMENT
    from evenodd.flow.schedule.runtime import start_ray

    os.environ |= ENVIRONMENT
    start = time.perf_counter()
    start_ray(None, cpus=2)
    task = ray.remote(num_cpus=1)(lambda seconds: time.sleep(seconds))
    ray.get([task.remote(0.1) for _ in range(2)])
    ready = time.perf_counter() - start
    time.sleep(4 * SECONDS_BETWEEN)
    start = time.perf_counter()
    ray.shutdown()
    return ready + time.perf_counter() - start


def read_and_write(work: Path, rows: Path) -> float:
    """Seconds of `score` without a graph: every text gets the answer of the first one."""
    import pyarrow as pa

    from evenodd.flow import score
    from evenodd.flow.scorer import find_model
    from evenodd.flow.scoring.plan import find_places, make_plan
    from evenodd.flow.scoring.worker import answer_texts
    from evenodd.settings import resolve_settings

    output = str(work / "alone.parquet")
    settings = resolve_settings({"input": str(rows), "output": output})
    model = find_model(str(work / "bundle"), "none")
    answer = answer_texts(model.open(), ["text"])

    def copied(shards: Any, *about: Any) -> Iterator[tuple[Any, pa.Table]]:
        for shard in shards:
            yield shard, answer.take(pa.array([0] * len(shard.texts)))

    score.scored_shards = copied  # type: ignore[assignment]
    plan = make_plan(find_places(str(rows), output, None), model, settings)
    start = time.perf_counter()
    score.score_plan(plan, model, settings)
    seconds = time.perf_counter() - start
    Path(output).unlink()
    Path(f"{output}.manifest.json").unlink()
    return seconds


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


@contextlib.contextmanager
def peak_of(process: psutil.Process) -> Iterator[list[float]]:
    """The largest memory of a process and its children, in MB, in a list of one."""
    peak, done = [0.0], threading.Event()

    def watch() -> None:
        while not done.wait(SECONDS_BETWEEN):
            with contextlib.suppress(psutil.Error):
                peak[0] = max(peak[0], megabytes(process))

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield peak
    finally:
        done.set()
        thread.join()


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
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGTERM)
            process.wait()
    if process.returncode:
        raise RuntimeError(f"{' '.join(command)}: ended with {process.returncode}; the reason is above.")
    told = out.strip().splitlines()
    return told[-1] if told else "", {"wall_seconds": time.perf_counter() - start, "peak_mb": peak[0]}


def measure_peer(name: str, work: Path, rows: Path, count: int) -> dict[str, float]:
    """Figures of a peer on the first rows of a file."""
    own = [sys.executable, "-m", "benchmarks.scoring", "--contender", name, "--work", str(work), "--file", str(rows)]
    told, found = measured([*own, "--rows", str(count)], work)
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
    own = [sys.executable, "-m", "benchmarks.scoring", "--contender", CEILING, "--work", str(work), "--file", str(rows)]
    command = [*own, "--graph", graph, "--seconds", str(seconds)]
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
    told, found = measured([sys.executable, "-m", "benchmarks.scoring", "--contender", "ray"], work)
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


def contend(given: argparse.Namespace) -> float:
    """Runs one contender in this process: its seconds, or for a ceiling its texts per second."""
    if given.contender == CEILING:
        return ceiling_rate(given.work, given.file, given.graph, given.seconds)
    if given.contender == "ray":
        return start_ray_idle()
    if given.contender in (PIPELINE, PIPELINE_32):
        batch = BATCH if given.contender == PIPELINE_32 else None
        return score_with_pipeline(given.work, given.file, int(given.rows), batch)
    peers = {PYFUNC: score_with_pyfunc, SPARK: score_with_spark, ALONE: read_and_write}
    return peers[given.contender](given.work, given.file)


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
    for name in ("--contender", "--file", "--graph", "--seconds"):
        kind = {"--file": Path, "--seconds": float}.get(name, str)
        parser.add_argument(name, type=kind, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.contender:
        print(contend(given))
        return
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
