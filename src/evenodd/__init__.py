"""evenodd: halve a fine-tuned text encoder, or adapt it with LoRA, and let evidence choose."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from evenodd.project import Model, Project

__version__ = "0.2.0"
__all__ = ["Model", "Project", "__version__"]


def __getattr__(name: str) -> Any:
    """Imports the Python API on first use, because `evenodd.classifier` also runs where its packages are missing."""
    if name in __all__:
        from evenodd import project

        return getattr(project, name)
    raise AttributeError(f"module 'evenodd' has no attribute '{name}'")
