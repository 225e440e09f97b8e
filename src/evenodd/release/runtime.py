"""The installed ONNX Runtime, which a version and a Bento name among their requirements."""

from __future__ import annotations

from importlib import metadata


def installed_runtime() -> str:
    """Name of the installed distribution of ONNX Runtime.

    Raises:
        RuntimeError: there is none, or there are two, which overwrite each other's files.
    """
    found = []
    for name in ("onnxruntime", "onnxruntime-gpu"):
        try:
            metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
        found.append(name)
    if len(found) != 1:
        both = f"{' and '.join(found)} are both installed and overwrite each other. Uninstall one."
        raise RuntimeError(both if found else "no ONNX Runtime is installed.")
    return found[0]
