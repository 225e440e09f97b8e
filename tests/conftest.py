"""What all tests share: no hub, a tiny BERT on disk, a few rows with authors, a tracking store of their own."""

from __future__ import annotations

import json
import os
import random
import shutil
import socket
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

import pytest
from tracking_store import mlflow_store

WORKERS = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
if WORKERS > 1:
    os.environ.setdefault("OMP_NUM_THREADS", str(max((os.cpu_count() or 1) // WORKERS, 1)))
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
os.environ.setdefault("HF_DATASETS_DISABLE_PROGRESS_BARS", "1")

ROOT = Path(__file__).resolve().parents[1]
POSTGRES = Path("/usr/lib/postgresql")
DEPTH = 12


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """Names bytes and long texts by their argument: workers that collect in different seconds must find the same ids,
    and a gzip header holds the time.
    """
    return argname if isinstance(val, bytes) or (isinstance(val, str) and len(val) > 80) else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skips, with a reason, what this machine has no means for; files that hold many slow tests go first, so that no
    core is left with one at the end.
    """
    slow = Counter(item.path for item in items if item.get_closest_marker("slow"))
    items.sort(key=lambda item: -slow[item.path])
    needs: dict[str, Callable[[], str | None]] = {
        "browser": lambda: None if shutil.which("chromium") else "chromium is absent: apt-get install chromium",
        "postgres": lambda: None if any(POSTGRES.glob("*/bin/postgres")) else "apt-get install postgresql",
        "container": lambda: None if any(map(shutil.which, ("docker", "podman", "buildah"))) else "no container tool",
        "network": _no_hub,
        "spark": _no_spark,
        "gpu": _no_gpu,
    }
    for name, lack in needs.items():
        marked = [item for item in items if item.get_closest_marker(name)]
        reason = lack() if marked else None
        for item in marked if reason else ():
            item.add_marker(pytest.mark.skip(reason=f"{name}: {reason}"))


def _no_hub() -> str | None:
    try:
        socket.create_connection(("huggingface.co", 443), timeout=2).close()
    except OSError as error:
        return f"the hub cannot be reached ({error})"
    return None


def _no_spark() -> str | None:
    if find_spec("pyspark") is None:
        return "pyspark is not installed: make spark"
    return None if shutil.which("java") else "java is absent: apt-get install openjdk-17-jre-headless"


def _no_gpu() -> str | None:
    import torch

    return None if torch.cuda.is_available() else "no CUDA device"


@pytest.fixture(autouse=True)
def denormal_numbers() -> Iterator[None]:
    """The service's graphs flush denormal numbers to 0, which holds for the whole thread; other tests need them."""
    yield
    if "torch" in sys.modules:
        sys.modules["torch"].set_flush_denormal(False)


@pytest.fixture(scope="session")
def tiny_encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a 12-layer BERT of width 32 and its fast tokenizer, as `load_encoder` and `-P teacher=` take it."""
    from release_models import tiny_model, tiny_tokenizer

    folder = tmp_path_factory.mktemp("encoder")
    tiny_model("bert", depth=DEPTH).save_pretrained(folder)
    tiny_tokenizer().save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def rows_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """JSON lines with text, label and author: 240 rows of 30 authors, a quarter of them hate."""
    from release_models import WORDS

    dice = random.Random(7)
    path = tmp_path_factory.mktemp("rows") / "rows.jsonl"
    plain = [word for word in WORDS if word != "hate"]
    with path.open("w", encoding="utf-8") as file:
        for number in range(240):
            words = dice.choices(plain, k=dice.randint(4, 12))
            label = "hate" if number % 4 == 0 else "noHate"
            if label == "hate":
                words.insert(dice.randrange(len(words)), "hate")
            row = {"text": " ".join(words), "label": label, "author": f"author {number % 30}"}
            file.write(json.dumps(row) + "\n")
    return path


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An SQLite tracking store with its tables and no runs; making one takes seconds, copying it none."""
    from mlflow import MlflowClient
    from small_study import made_once

    def make(path: Path) -> None:
        MlflowClient(f"sqlite:///{path}").search_experiments()

    return made_once(tmp_path_factory.getbasetemp(), "empty.db", make)


@pytest.fixture(scope="session")
def small_study(tmp_path_factory: pytest.TempPathFactory, empty_store: Path) -> Path:
    """A folder with a small study of two labels, see `small_study.write_study`; to be copied, not changed."""
    from small_study import made_once, write_study

    return made_once(tmp_path_factory.getbasetemp(), "study", lambda folder: write_study(folder, empty_store))


@pytest.fixture
def tracking(tmp_path: Path, empty_store: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """`evenodd.tracking` over a store in `tmp_path`, which is the working directory."""
    import mlflow

    from evenodd import tracking as module

    shutil.copy(empty_store, tmp_path / "mlflow.db")
    monkeypatch.chdir(tmp_path)
    with mlflow_store(f"sqlite:///{tmp_path}/mlflow.db"):
        mlflow.set_experiment("tests")
        yield module
