"""The report's templates. All values are escaped, so that external names and texts cannot become HTML."""

from __future__ import annotations

import functools
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

PARTS = "parts.html"


@functools.cache
def _environment() -> Environment:
    return Environment(
        loader=PackageLoader("evenodd.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def render(name: str, **values: Any) -> str:
    """A whole template."""
    return _environment().get_template(name).render(**values)


def render_part(macro: str, *values: Any) -> str:
    """One macro of `parts.html`."""
    return str(getattr(_environment().get_template(PARTS).module, macro)(*values)).strip()
