"""What MLflow imports of a version, as `evenodd_model`; the code that the version was logged with is in `package/`.

The installed package answers where there is one, so that a process never holds halves of two versions of it.
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
    if found is None or found.origin is None:  # none, or a folder of that name that is no package
        sys.path.append(str(Path(__file__).with_name(SHIPPED)))
    from evenodd.registered.pyfunc import open_model

    return open_model(Path(path), model_config)
