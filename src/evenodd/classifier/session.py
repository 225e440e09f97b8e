"""ONNX Runtime sessions on the requested provider, or an error with the reason; and a check of what really runs.

A session that lists CUDA as available falls back to the CPU without an error. So this module relies only on
`session.get_providers()` after the session is created, and on the provider that ran each matrix product.
"""

from __future__ import annotations

import ctypes
import json
import logging
import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort

from evenodd.classifier.faults import first_line

logger = logging.getLogger(__name__)

ORT_NAMES = {
    "cpu": "CPUExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "tensorrt": "TensorrtExecutionProvider",
}
DEVICES = {"cpu": "cpu", "cuda": "cuda", "tensorrt": "cuda"}


@dataclass
class GraphSession:
    """A session and the provider that it runs on.

    Attributes:
        provider: `cpu`, `cuda` or `tensorrt`: the active provider.
        providers: ONNX Runtime's own list for this session.
        placement: number of matrix-product operators by the provider that ran them.
        depends_on_batch: whether a row's logits depend slightly on the other rows, as in a graph that quantises
            activations by the range of the whole batch.
    """

    session: ort.InferenceSession
    provider: str
    placement: dict[str, int] = field(default_factory=dict)
    depends_on_batch: bool = False

    @property
    def providers(self) -> list[str]:
        return list(self.session.get_providers())

    def run(self, feed: dict[str, np.ndarray]) -> np.ndarray:
        """Logits, float32, (rows, labels), for int64 inputs (rows, tokens)."""
        if self.provider == "cpu":
            return np.asarray(self.session.run(["logits"], feed)[0], dtype=np.float32)
        binding = self.session.io_binding()
        for name, values in feed.items():
            binding.bind_cpu_input(name, values)
        binding.bind_output("logits", "cpu")
        self.session.run_with_iobinding(binding)
        return np.asarray(binding.copy_outputs_to_cpu()[0], dtype=np.float32)


def choose_provider(asked: str) -> str:
    """Resolves `auto` to `cuda` if a CUDA device answers, otherwise to `cpu`; other values are returned unchanged."""
    if asked != "auto":
        return asked
    return "cpu" if missing_for_cuda() else "cuda"


def missing_for_cuda() -> str | None:
    """Reason why CUDA cannot be used, or None if a device answers and ONNX Runtime has the provider."""
    if ORT_NAMES["cuda"] not in ort.get_available_providers():
        return f"onnxruntime {ort.__version__} is built without CUDA (install onnxruntime-gpu in its place)"
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return "there is no NVIDIA driver (libcuda.so.1 is not found)"
    if driver.cuInit(0) != 0:
        return "the NVIDIA driver finds no usable device (cuInit failed)"
    count = ctypes.c_int(0)
    if driver.cuDeviceGetCount(ctypes.byref(count)) != 0 or count.value == 0:
        return "the NVIDIA driver lists no device (is CUDA_VISIBLE_DEVICES empty?)"
    return None


def open_session(path: Path, *, asked: str = "cpu", threads: int = 0, flush_denormals: bool = False) -> GraphSession:
    """Opens a session on the requested provider.

    Args:
        path: the graph.
        asked: `auto`, `cpu`, `cuda` or `tensorrt`.
        threads: ONNX Runtime threads on the CPU; 0: one per core.
        flush_denormals: treat denormal numbers as 0; this holds for all later arithmetic of the calling thread.

    Raises:
        ValueError: ONNX Runtime cannot load the file.
        RuntimeError: a provider that was requested by name did not start; the message names what is missing.
    """
    provider = choose_provider(asked)
    if provider != "cpu":
        _prepare_gpu(provider)
    options = _session_options(threads, flush_denormals=flush_denormals)
    wanted = _provider_list(provider)
    with tempfile.TemporaryDirectory() as folder:
        options.enable_profiling = True
        options.profile_file_prefix = str(Path(folder) / "start")
        try:
            session = ort.InferenceSession(str(path), options, providers=wanted)
        except graph_errors() as fault:
            raise _load_failure(path, provider, fault) from None
        if ORT_NAMES[provider] not in session.get_providers():
            reason = f"the session runs on {', '.join(session.get_providers())} instead"
            if asked != "auto":
                raise RuntimeError(_refusal(provider, reason + "; are CUDA 13 and cuDNN 9 installed?"))
            logger.warning("provider auto: cpu, because CUDA did not start (%s)", reason)
            provider = "cpu"
        opened = GraphSession(session, provider)
        _first_run(opened, path)
        operators = _read_operators(Path(session.end_profiling()))
    opened.placement = dict(Counter(provider for name, provider in operators if _multiplies(name)))
    opened.depends_on_batch = any(name.startswith("DynamicQuantize") for name, _ in operators)
    logger.info("graph %s | %s | %s", path.name, provider, opened.placement)
    return opened


def _session_options(threads: int, *, flush_denormals: bool) -> ort.SessionOptions:
    """Options for one run at a time on few threads: no memory pattern, because shapes change, and no spinning."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.enable_mem_pattern = False
    options.log_severity_level = 3
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.add_session_config_entry("session.set_denormal_as_zero", "1" if flush_denormals else "0")
    return options


def _provider_list(provider: str) -> Sequence[Any]:
    """The provider and its fallbacks for single operators. TF32 is off: fp32 means fp32."""
    cuda = (ORT_NAMES["cuda"], {"use_tf32": "0"})
    if provider == "tensorrt":
        return [(ORT_NAMES["tensorrt"], {}), cuda, ORT_NAMES["cpu"]]
    return [cuda, ORT_NAMES["cpu"]] if provider == "cuda" else [ORT_NAMES["cpu"]]


def _prepare_gpu(provider: str) -> None:
    """Loads the CUDA libraries that pip installed, which a session needs."""
    missing = missing_for_cuda()
    if missing:
        raise RuntimeError(_refusal(provider, missing))
    if ORT_NAMES[provider] not in ort.get_available_providers():
        raise RuntimeError(_refusal(provider, f"onnxruntime {ort.__version__} is built without it"))
    ort.preload_dlls()


def _refusal(provider: str, reason: str) -> str:
    return f"provider={provider!r} did not start: {reason}. Set EVENODD_PROVIDER=cpu or auto to serve without it."


def graph_errors() -> tuple[type[Exception], ...]:
    """Exceptions of a graph: ONNX Runtime's own exceptions derive directly from Exception."""
    kinds = vars(ort.capi.onnxruntime_pybind11_state).values()
    own = [kind for kind in kinds if isinstance(kind, type) and issubclass(kind, Exception)]
    return (RuntimeError, ValueError, MemoryError, *own)


def _load_failure(path: Path, provider: str, fault: BaseException) -> Exception:
    reason = first_line(fault)
    if provider != "cpu" and "provider" in reason.lower():
        return RuntimeError(_refusal(provider, reason))
    return ValueError(f"graph {path}: ONNX Runtime cannot load it ({reason}). Export it again.")


def _first_run(opened: GraphSession, path: Path) -> None:
    """Runs two rows of two tokens, to check the graph and to profile the placement of its operators."""
    outputs = [item.name for item in opened.session.get_outputs()]
    if "logits" not in outputs:
        raise ValueError(f"graph {path}: outputs are {outputs}, `logits` is needed. Export it again.")
    ones = np.ones((2, 2), dtype=np.int64)
    names = [item.name for item in opened.session.get_inputs()]
    try:
        opened.run({name: np.zeros_like(ones) if name == "token_type_ids" else ones for name in names})
    except graph_errors() as fault:
        raise _load_failure(path, opened.provider, fault) from None


def _read_operators(profile: Path) -> list[tuple[str, str]]:
    """Operators of a profile with the provider that ran each."""
    events = json.loads(profile.read_text(encoding="utf-8"))
    details = [event.get("args", {}) for event in events]
    return [(item.get("op_name", ""), item["provider"]) for item in details if item.get("provider")]


def _multiplies(operator: str) -> bool:
    return any(part in operator for part in ("MatMul", "Gemm", "Attention", "TRT"))
