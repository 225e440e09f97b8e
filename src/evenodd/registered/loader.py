"""The module that MLflow imports from a version, `evenodd_model`; the code of the logging package is in `package/`.

An installed package takes precedence, so that a process never mixes two versions of it.
"""

from __future__ import annotations

import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

SHIPPED = "package"


def _load_pyfunc(path: str, model_config: dict[str, Any] | None = None) -> Any:
    """The model of a folder that `evenodd.tracking` logged."""
    found = find_spec("evenodd")
    if found is None or found.origin is None:  # not installed, or a folder with that name
        sys.path.append(str(Path(__file__).with_name(SHIPPED)))
    from evenodd.registered.pyfunc import open_model

    return open_model(Path(path), model_config)
