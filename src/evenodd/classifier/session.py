"""ONNX Runtime sessions: the provider asked for, or a reason why not; and proof of what runs.

A session that lists CUDA as available falls back to the CPU without an error, so nothing here believes a list: what
counts is `session.get_providers()` after the session is made, and the provider that each matrix product of a real run
was placed on.
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

logger = logging.getLogger(__name__)

ORT_NAMES = {
    "cpu": "CPUExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "tensorrt": "TensorrtExecutionProvider",
}
DEVICES = {"cpu": "cpu", "cuda": "cuda", "tensorrt": "cuda"}


@dataclass
class GraphSession:
    """A session, what it was asked for and what it runs on.

    Attributes:
        provider: `cpu`, `cuda` or `tensorrt`: what really came up.
        providers: ONNX Runtime's own list for this session.
        placement: operators that multiply matrices, counted by the provider they ran on.
        depends_on_batch: whether a row's logits depend a little on the rows beside it, as they do in a graph that
            quantises its activations by the range of the whole batch.
    """

    session: ort.InferenceSession
    provider: str
    placement: dict[str, int] = field(default_factory=dict)
    depends_on_batch: bool = False

    @property
    def providers(self) -> list[str]:
        return list(self.session.get_providers())

    def run(self, feed: dict[str, np.ndarray]) -> np.ndarray:
        """Logits, float32, (rows, labels), of int64 inputs (rows, tokens)."""
        if self.provider == "cpu":
            return np.asarray(self.session.run(["logits"], feed)[0], dtype=np.float32)
        binding = self.session.io_binding()
        for name, values in feed.items():
            binding.bind_cpu_input(name, values)
        binding.bind_output("logits", "cpu")
        self.session.run_with_iobinding(binding)
        return np.asarray(binding.copy_outputs_to_cpu()[0], dtype=np.float32)


def choose_provider(asked: str) -> str:
    """`auto` becomes `cuda` where a CUDA device answers, else `cpu`; anything else stays."""
    if asked != "auto":
        return asked
    return "cpu" if missing_for_cuda() else "cuda"


def missing_for_cuda() -> str | None:
    """Why CUDA cannot be used here, or None when a device answers and ONNX Runtime has the provider."""
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


def open_session(path: Path, *, asked: str, threads: int) -> GraphSession:
    """A session on the provider asked for.

    Args:
        path: the graph.
        asked: `auto`, `cpu`, `cuda` or `tensorrt`.
        threads: ONNX Runtime threads on the CPU.

    Raises:
        ValueError: the file is no graph that ONNX Runtime can load.
        RuntimeError: a provider that was asked for by name did not come up; says what is missing.
    """
    provider = choose_provider(asked)
    if provider != "cpu":
        _prepare_gpu(provider)
    options = _session_options(threads)
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
            logger.warning("provider auto: cpu, because CUDA did not come up (%s)", reason)
            provider = "cpu"
        opened = GraphSession(session, provider)
        _first_run(opened, path)
        operators = _read_operators(Path(session.end_profiling()))
    opened.placement = dict(Counter(provider for name, provider in operators if _multiplies(name)))
    opened.depends_on_batch = any(name.startswith("DynamicQuantize") for name, _ in operators)
    logger.info("graph %s | %s | %s", path.name, provider, opened.placement)
    return opened


def _session_options(threads: int) -> ort.SessionOptions:
    """One run at a time on few threads: no memory pattern for shapes that change, and no spinning cores."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.enable_mem_pattern = False
    options.log_severity_level = 3
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.add_session_config_entry("session.set_denormal_as_zero", "1")
    return options


def _provider_list(provider: str) -> Sequence[Any]:
    """The provider and those it falls back to for single operators. TF32 is off: fp32 means fp32."""
    cuda = (ORT_NAMES["cuda"], {"use_tf32": "0"})
    if provider == "tensorrt":
        return [(ORT_NAMES["tensorrt"], {}), cuda, ORT_NAMES["cpu"]]
    return [cuda, ORT_NAMES["cpu"]] if provider == "cuda" else [ORT_NAMES["cpu"]]


def _prepare_gpu(provider: str) -> None:
    """Load the CUDA libraries that pip installed, before the session looks for them."""
    missing = missing_for_cuda()
    if missing:
        raise RuntimeError(_refusal(provider, missing))
    if ORT_NAMES[provider] not in ort.get_available_providers():
        raise RuntimeError(_refusal(provider, f"onnxruntime {ort.__version__} is built without it"))
    ort.preload_dlls()


def _refusal(provider: str, reason: str) -> str:
    return f"provider={provider!r} did not come up: {reason}. Set EVENODD_PROVIDER=cpu or auto to serve without it."


def graph_errors() -> tuple[type[Exception], ...]:
    """What a graph raises: ONNX Runtime's own exceptions derive from Exception and nothing closer."""
    kinds = vars(ort.capi.onnxruntime_pybind11_state).values()
    own = [kind for kind in kinds if isinstance(kind, type) and issubclass(kind, Exception)]
    return (RuntimeError, ValueError, MemoryError, *own)


def _load_failure(path: Path, provider: str, fault: BaseException) -> Exception:
    first_line = str(fault).strip().splitlines()[0][:300]
    if provider != "cpu" and "provider" in first_line.lower():
        return RuntimeError(_refusal(provider, first_line))
    return ValueError(f"graph {path}: ONNX Runtime cannot load it ({first_line}). Export it again.")


def _first_run(opened: GraphSession, path: Path) -> None:
    """Two rows of two tokens: shows that the graph runs, and gives the profiler something to place."""
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
    """Operators of a profile with the provider each ran on."""
    events = json.loads(profile.read_text(encoding="utf-8"))
    details = [event.get("args", {}) for event in events]
    return [(item.get("op_name", ""), item["provider"]) for item in details if item.get("provider")]


def _multiplies(operator: str) -> bool:
    return any(part in operator for part in ("MatMul", "Gemm", "Attention", "TRT"))
