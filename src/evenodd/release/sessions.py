"""ONNX Runtime sessions on the requested provider, without a silent fallback."""

from __future__ import annotations

import logging
from importlib import metadata
from pathlib import Path
from typing import Literal

import numpy as np
import onnxruntime as ort

log = logging.getLogger(__name__)

Provider = Literal["auto", "cpu", "cuda", "tensorrt"]
PROVIDERS = {
    "cpu": "CPUExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "tensorrt": "TensorrtExecutionProvider",
}
FATAL = 4


def installed_runtimes() -> tuple[str, ...]:
    """Names of the installed ONNX Runtime distributions, of which two would overwrite each other's files."""
    found = []
    for name in ("onnxruntime", "onnxruntime-gpu"):
        try:
            metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
        found.append(name)
    return tuple(found)


def open_session(path: Path, provider: Provider = "auto", *, threads: int | None = None) -> ort.InferenceSession:
    """Opens a graph on a provider and verifies that the provider is active.

    Args:
        path: an ONNX file.
        provider: `auto` uses CUDA if it starts, otherwise the CPU, and logs the choice; any other value is
            mandatory.
        threads: threads inside an operator on the CPU; None: ONNX Runtime's choice, one per core.

    Raises:
        ValueError: the provider is unknown.
        RuntimeError: a mandatory provider did not start, or two ONNX Runtime packages are installed.
    """
    if provider not in ("auto", *PROVIDERS):
        raise ValueError(f"provider={provider!r}: unknown. Allowed: auto, {', '.join(PROVIDERS)}.")
    runtimes = installed_runtimes()
    if len(runtimes) > 1:
        raise RuntimeError(f"{' and '.join(runtimes)} are both installed and overwrite each other. Uninstall one.")
    if provider in ("cuda", "tensorrt") and not has_gpu():
        raise RuntimeError(f"provider={provider}: it did not start; {_missing(provider)} Pass provider=cpu.")
    wanted = _wanted(provider)
    session = ort.InferenceSession(str(path), sess_options=_options(threads), providers=wanted)
    taken = session.get_providers()[0]
    if provider != "auto" and taken != PROVIDERS[provider]:
        raise RuntimeError(f"provider={provider}: it did not start; {_missing(provider)} Pass provider=cpu.")
    if provider == "auto":
        log.info("provider auto | took %s | %s", taken, Path(path).name)
    return session


def _wanted(provider: Provider) -> list[str]:
    """Provider names in order of preference, GPU libraries loaded first."""
    available = ort.get_available_providers()
    chosen = "cuda" if provider == "auto" else provider
    names = [PROVIDERS[chosen]] if PROVIDERS[chosen] in available else []
    if chosen == "tensorrt" and PROVIDERS["cuda"] in available:
        names.append(PROVIDERS["cuda"])
    if provider == "auto" and not has_gpu():
        names = []
    if names and chosen != "cpu":
        _preload()
    return [*dict.fromkeys([*names, PROVIDERS["cpu"]])]


def has_gpu() -> bool:
    """Whether the NVIDIA driver shows a device; without one ONNX Runtime still lists CUDA as available."""
    return any(Path("/proc/driver/nvidia/gpus").glob("*")) or Path("/dev/nvidia0").exists() or Path("/dev/dxg").exists()


def _preload() -> None:
    """Loads the CUDA and cuDNN libraries of installed wheels, which a session needs."""
    preload = getattr(ort, "preload_dlls", None)
    if preload is not None and has_gpu():
        preload()


def _missing(provider: str) -> str:
    """Reason why a provider did not start."""
    if PROVIDERS[provider] not in ort.get_available_providers():
        return f"{' '.join(installed_runtimes())} {ort.__version__} is built without it (install onnxruntime-gpu)."
    if not has_gpu():
        return "this machine shows no NVIDIA device (no /dev/nvidia0: driver missing, or the container has no --gpus)."
    libraries = "CUDA 13 and cuDNN 9" + (" and TensorRT 10" if provider == "tensorrt" else "")
    return f"there is a device, but the libraries of {libraries} did not load (onnxruntime {ort.__version__})."


def _options(threads: int | None) -> ort.SessionOptions:
    """Session options as in the service: all graph optimisations, threads that do not spin, no warnings."""
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.log_severity_level = FATAL
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    if threads is not None:
        options.intra_op_num_threads = threads
    return options


def run_session(session: ort.InferenceSession, feeds: dict[str, np.ndarray]) -> np.ndarray:
    """Logits of one padded batch: float32, (batch, labels)."""
    return np.asarray(session.run(["logits"], feeds)[0], dtype=np.float32)
