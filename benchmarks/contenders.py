"""The contenders of `benchmarks.scoring`, each in a process of its own:

    python -m benchmarks.contenders NAME --work FOLDER --file ROWS [--rows N] [--graph GRAPH --seconds S]

prints the seconds that it took; for a ceiling, its texts per second.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from itertools import cycle, islice
from pathlib import Path
from typing import Any

SHARD, BATCH = 8192, 32
PIPELINE, PIPELINE_32, PYFUNC, SPARK = "pipeline", "pipeline, batches of 32", "pyfunc on a frame", "spark_udf"
ALONE = "reading and writing alone"
CEILING = "ceiling, 1 process"
RAY = "ray"


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
    time.sleep(2)  # its memory is read every half second
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


def contend(given: argparse.Namespace) -> float:
    """Runs one contender in this process: its seconds, or for a ceiling its texts per second."""
    if given.contender == CEILING:
        return ceiling_rate(given.work, given.file, given.graph, given.seconds)
    if given.contender == RAY:
        return start_ray_idle()
    if given.contender in (PIPELINE, PIPELINE_32):
        batch = BATCH if given.contender == PIPELINE_32 else None
        return score_with_pipeline(given.work, given.file, int(given.rows), batch)
    peers = {PYFUNC: score_with_pyfunc, SPARK: score_with_spark, ALONE: read_and_write}
    return peers[given.contender](given.work, given.file)


def main() -> None:
    """The command line, as `benchmarks.scoring` starts it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("contender")
    for name, kind in (("work", Path), ("file", Path), ("rows", int), ("graph", str), ("seconds", float)):
        parser.add_argument(f"--{name}", type=kind)
    print(contend(parser.parse_args()))


if __name__ == "__main__":
    main()
