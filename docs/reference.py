"""Writes the API reference out of the docstrings into docs/api: `make docs`. A warning of pdoc's is an error."""

from __future__ import annotations

import importlib
import os
import pkgutil
import warnings
from pathlib import Path

import evenodd

OUTPUT = Path(__file__).with_name("api")


def resolve_lazy_names() -> None:
    """Sets the names that packages import on first use, because pdoc reads a module's dictionary and not its
    `__getattr__`.
    """
    packages = [name for _, name, is_package in pkgutil.walk_packages(evenodd.__path__, "evenodd.") if is_package]
    for package in map(importlib.import_module, ["evenodd", *packages]):
        for name in getattr(package, "__all__", ()):
            setattr(package, name, getattr(package, name))


def main() -> None:
    """Builds the reference of the whole package."""
    os.environ["PDOC_ALLOW_EXEC"] = "1"  # torch and platform ask the system about itself when they are imported
    resolve_lazy_names()
    import pdoc
    from pdoc import render

    warnings.filterwarnings("error", module="pdoc")
    render.configure(docformat="google", footer_text=f"evenodd {evenodd.__version__}")
    pdoc.pdoc("evenodd", output_directory=OUTPUT)
    print(f"{OUTPUT / 'evenodd.html'}")


if __name__ == "__main__":
    main()
