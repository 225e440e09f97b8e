"""`serve`: the service and its page, for a bundle's folder or a registered model."""

from __future__ import annotations

import logging
import os
import re
import sys
from pathlib import Path
from typing import NoReturn

from evenodd import tracking
from evenodd.classifier.manifest import MANIFEST
from evenodd.flow.package import service_folder
from evenodd.flow.promote import CHAMPION
from evenodd.settings import Request

log = logging.getLogger(__name__)

BUNDLE, MODEL, CORRECTIONS = "EVENODD_BUNDLE", "EVENODD_MODEL", "EVENODD_CORRECTIONS"
OFF = "off"


def run(request: Request) -> NoReturn:
    """Replaces this process by `bentoml serve` over `model`.

    `model` is a bundle's folder, or an alias, a version or `models:/NAME@ALIAS`, which the service follows. The default
    is EVENODD_BUNDLE or EVENODD_MODEL if set, otherwise the champion of the registry.

    Raises:
        ValueError: no model is named, or it does not exist.
    """
    settings = request.settings
    environ = served_environment(request)
    os.environ.update(environ)
    if settings.serve.provider != "auto":
        os.environ["EVENODD_PROVIDER"] = settings.serve.provider
    paths = (str(service_folder().parent), os.environ.get("PYTHONPATH", ""))
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, paths))
    host = os.environ.setdefault("BENTOML_HOST", "127.0.0.1")  # BentoML's default is every address of the machine
    keep_corrections(host, settings.home)
    what = os.environ.get(MODEL) or os.environ[BUNDLE]
    log.info("serving %s on http://%s:%s", what, host, os.environ.get("BENTOML_PORT", "3000"))
    os.execvp(sys.executable, [sys.executable, "-m", "bentoml", "serve", "serving.service:EvenOdd"])


def served_environment(request: Request) -> dict[str, str]:
    """The environment variables that tell the service what to serve.

    Raises:
        ValueError: no model is named, or it does not exist.
    """
    asked = request.settings.run.model
    if asked is None:
        if os.environ.get(BUNDLE) or os.environ.get(MODEL):
            return {}
        return followed(f"models:/{name_with_champion(request)}@{CHAMPION}")
    if (Path(asked) / MANIFEST).is_file():
        return {BUNDLE: str(Path(asked).resolve()), MODEL: ""}
    reference = asked.removeprefix("models:/")
    named = re.fullmatch(r"([^@/.][^@/]*)(@[^@/]+|/\d+)?", reference)
    if named is None:
        raise ValueError(
            f"model='{asked}': neither the folder of a bundle nor a version. Pass the folder of a bundle, an alias, or "
            f"models:/NAME@ALIAS; `make ui` shows the registered models."
        )
    name, which = named.groups()
    if which is None:
        name = request.settings.name if request.says("name") else name_with_champion(request)
        which = f"{'/' if reference.isdecimal() else '@'}{reference}"
    tracking.find_version(name + which, name)
    return followed(f"models:/{name}{which}")


def followed(model: str) -> dict[str, str]:
    """The environment variables with which the service follows a model in this process's registry."""
    return {MODEL: model, "MLFLOW_TRACKING_URI": tracking.tracking_uri()}


def name_with_champion(request: Request) -> str:
    """The `name`, if that model has a champion; otherwise the only registered name that has one.

    Raises:
        ValueError: none has one, or several have.
    """
    name, names = request.settings.name, tracking.names_with(CHAMPION)
    if name in names:
        return name
    if len(names) == 1 and not request.says("name"):
        return names[0]
    if names:
        raise ValueError(f"which model? {', '.join(names)} have a champion: pass model=models:/{names[0]}@{CHAMPION}.")
    raise ValueError(
        "no model has a champion here: pass model=FOLDER of a bundle (such as .evenodd/bundles/odd) or "
        "model=models:/NAME@ALIAS, or promote a version: evenodd promote model=odd."
    )


def keep_corrections(host: str, home: Path) -> None:
    """Stores corrections in `home` if only this machine can send them, unless EVENODD_CORRECTIONS is set."""
    if host in ("127.0.0.1", "localhost", "::1") and CORRECTIONS not in os.environ:
        home.mkdir(parents=True, exist_ok=True)
        os.environ[CORRECTIONS] = str((home / "corrections.db").resolve())
        log.info("corrections are stored in %s; %s=off refuses them", os.environ[CORRECTIONS], CORRECTIONS)
    elif os.environ.get(CORRECTIONS) == OFF:
        os.environ[CORRECTIONS] = ""
