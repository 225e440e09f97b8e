"""The services that ours is compared with, each in its most common form, and the in-process ceiling.

    fastapi_app      FastAPI with a transformers text-classification pipeline, torch
    OneText          a Bento that runs the fp32 graph for one request at a time
    GraphModel       an MLflow model around the fp32 graph, for `mlflow models serve`
    ceiling          no HTTP: one process per core, one thread each, the int8 graph on sorted batches of 32

The folder of models is in BENCH_MODELS: `torch/` as transformers saves it and `bundle/`.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import time
from pathlib import Path
from typing import Any

import numpy as np

BATCH = 32


def models() -> Path:
    """The folder of models that `benchmarks.serving` created."""
    return Path(os.environ["BENCH_MODELS"])


class Graph:
    """The fp32 graph with its tokenizer: texts to probabilities, padded to the longest text."""

    def __init__(self, folder: Path) -> None:
        import onnxruntime as ort
        from tokenizers import Tokenizer

        self._tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self._tokenizer.enable_truncation(128)
        self._tokenizer.enable_padding()
        self._session = ort.InferenceSession(str(folder / "model.onnx"), providers=["CPUExecutionProvider"])
        self._inputs = [item.name for item in self._session.get_inputs()]

    def predict(self, texts: list[str]) -> np.ndarray:
        """Probabilities, (texts, labels)."""
        encodings = self._tokenizer.encode_batch(texts)
        ids = np.array([item.ids for item in encodings], dtype=np.int64)
        mask = np.array([item.attention_mask for item in encodings], dtype=np.int64)
        feed = {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}
        logits = self._session.run(None, {name: feed[name] for name in self._inputs})[0]
        exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
        return np.asarray(exponentials / exponentials.sum(axis=1, keepdims=True))


def fastapi_app() -> Any:
    """The most common peer: `uvicorn benchmarks.peers:fastapi_app --factory`."""
    from fastapi import Body, FastAPI
    from transformers import pipeline

    classify = pipeline("text-classification", model=str(models() / "torch"), device="cpu", top_k=None)
    app = FastAPI()

    def answer(texts: list[str] = Body(embed=True)) -> dict[str, Any]:  # noqa: B008 - how FastAPI names a field
        return {"results": classify(texts, truncation=True, max_length=128)}

    app.post("/classify")(answer)
    return app


def one_text_service() -> Any:
    """A Bento as in BentoML's first tutorial."""
    import bentoml

    class OneText:
        def __init__(self) -> None:
            self.graph = Graph(models() / "bundle")

        @bentoml.api
        def classify(self, texts: list[str]) -> list[list[float]]:
            return [[float(value) for value in row] for row in self.graph.predict(texts)]

    OneText.__module__ = __name__
    return bentoml.service(OneText)


def save_mlflow_model(folder: Path, bundle: Path) -> None:
    """An MLflow model around the graph, for `mlflow models serve`."""
    import mlflow

    class GraphModel(mlflow.pyfunc.PythonModel):
        def load_context(self, context: Any) -> None:
            self.graph = Graph(Path(context.artifacts["bundle"]))

        def predict(self, context: Any, model_input: list[str]) -> list[list[float]]:
            return [[float(value) for value in row] for row in self.graph.predict(list(model_input))]

    mlflow.pyfunc.save_model(
        str(folder),
        python_model=GraphModel(),
        artifacts={"bundle": str(bundle)},
        code_paths=[str(Path(__file__).parent)],
        pip_requirements=["mlflow"],
    )


def _count_texts(bundle: str, texts: list[str], seconds: float, results: Any) -> None:
    """One process of the ceiling: counts the texts answered within the time, in sorted batches."""
    from evenodd.classifier.bundle import read_bundle
    from evenodd.classifier.engine import Engine
    from serving.settings import Settings

    engine = Engine(read_bundle(Path(bundle)), Settings(threads=1, graph="int8"))
    ordered = sorted(texts, key=len)
    batches = [ordered[start : start + BATCH] for start in range(0, len(ordered), BATCH)]
    order = np.random.default_rng(0).permutation(len(batches))
    engine.score(batches[0])
    count, start = 0, time.perf_counter()
    while time.perf_counter() < start + seconds:
        batch = batches[order[(count // BATCH) % len(order)]]
        engine.score(batch)
        count += BATCH
    results.put(count / (time.perf_counter() - start))


def ceiling(bundle: Path, texts: list[str], seconds: float) -> float:
    """Texts per second without HTTP, summed over one process per core."""
    context = multiprocessing.get_context("spawn")
    results = context.Queue()
    workers = [
        context.Process(target=_count_texts, args=(str(bundle), texts, seconds, results))
        for _ in range(len(os.sched_getaffinity(0)))
    ]
    for worker in workers:
        worker.start()
    rates = [results.get(timeout=seconds + 120) for _ in workers]
    for worker in workers:
        worker.join()
    return float(sum(rates))


def main() -> None:
    """Command line: measures the ceiling."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--bundle", type=Path, required=True)
    parser.add_argument("--texts", type=Path, required=True, help="JSON list of texts")
    parser.add_argument("--seconds", type=float, default=5)
    given = parser.parse_args()
    print(json.dumps(ceiling(given.bundle, json.loads(given.texts.read_text(encoding="utf-8")), given.seconds)))


if __name__ == "__main__":
    main()
