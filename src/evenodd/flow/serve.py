"""`serve`: the service and its page from the newest bundle, as `make serve` starts it."""

from __future__ import annotations

import logging
import os
import sys
from pathlib import Path
from typing import NoReturn

from evenodd.flow.package import service_folder
from evenodd.settings import Request

log = logging.getLogger(__name__)


def run(request: Request) -> NoReturn:
    """Replaces this process by `bentoml serve` over `model` (a bundle's folder; the newest one when not said).

    Raises:
        ValueError: there is no bundle yet.
    """
    settings = request.settings
    folder = Path(settings.run.model) if settings.run.model else newest_bundle(settings.home / "bundles")
    if not (folder / "bundle.json").is_file():
        raise ValueError(
            f"model='{folder}': no bundle.json there. Export one: mlflow run . -e export --env-manager local"
        )
    os.environ["EVENODD_BUNDLE"] = str(folder.resolve())
    if settings.serve.provider != "auto":
        os.environ["EVENODD_PROVIDER"] = settings.serve.provider
    paths = (str(service_folder().parent), os.environ.get("PYTHONPATH", ""))
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, paths))
    host = os.environ.setdefault("BENTOML_HOST", "127.0.0.1")  # BentoML's own choice is every address of the machine
    log.info("serving %s on http://%s:%s", folder, host, os.environ.get("BENTOML_PORT", "3000"))
    os.execvp(sys.executable, [sys.executable, "-m", "bentoml", "serve", "serving.service:EvenOdd"])


def newest_bundle(folder: Path) -> Path:
    """The bundle written last.

    Raises:
        ValueError: there is none.
    """
    found = sorted(folder.glob("*/bundle.json"), key=lambda path: path.stat().st_mtime)
    if not found:
        raise ValueError(
            f"no bundle in {folder}: run `make run`, or mlflow run . -e export --env-manager local, first."
        )
    return found[-1].parent
