"""How many fits a machine has room for, by its cores or GPUs, its memory, and the limits of a container."""

from __future__ import annotations

from pathlib import Path

import psutil
import torch

from evenodd.flow.plan import Plan
from evenodd.training import best_device

BASE_BYTES, BYTES_PER_WEIGHT_BYTE = 1.5e9, 7.0
"""A fit's memory: torch, rows and activations, and the weights with gradients, AdamW's state, mean and checkpoints."""
HUB_MODEL_BYTES = 440e6
WEIGHT_FILES = (".safetensors", ".bin")
CGROUP = Path("/sys/fs/cgroup")


def fits_at_once(asked: int | None, plans: list[Plan], encoder: str | Path) -> int:
    """How many fits run at once: what was asked for, or one for each thread or GPU, as far as memory goes.

    Args:
        asked: the setting `run.jobs`; fits that are split over processes run one after another all the same.
        plans: what is to be fitted.
        encoder: folder or hub name; its size tells the memory.
    """
    if any(plan.settings.train.processes > 1 for plan in plans):
        return 1
    if asked is not None:
        return max(1, min(asked, len(plans)))
    places = torch.cuda.device_count() if best_device() == "cuda" else min(torch.get_num_threads(), _cores_allowed())
    room = _free_bytes() / (BASE_BYTES + BYTES_PER_WEIGHT_BYTE * _weight_bytes(encoder))
    return max(1, min(places, len(plans), int(room)))


def _weight_bytes(encoder: str | Path) -> float:
    folder = Path(encoder)
    sizes = [path.stat().st_size for path in folder.glob("*") if path.suffix in WEIGHT_FILES]
    return max(sizes, default=HUB_MODEL_BYTES)


def _free_bytes() -> float:
    """Memory that this machine has left, or this container where it may use less."""
    free = float(psutil.virtual_memory().available)
    limit, used = _number(CGROUP / "memory.max"), _number(CGROUP / "memory.current")
    if limit is not None and used is not None:
        free = min(free, limit - used + _files_in_memory())
    return free


def _files_in_memory() -> float:
    """What the container counts as used and the kernel would give back."""
    lines = (CGROUP / "memory.stat").read_text().splitlines() if (CGROUP / "memory.stat").exists() else []
    counted = dict(line.split() for line in lines)
    return float(counted.get("inactive_file", 0))


def _cores_allowed() -> int:
    """Cores that a container may use by its quota, rounded down; very many without one."""
    said = (CGROUP / "cpu.max").read_text().split() if (CGROUP / "cpu.max").exists() else ["max"]
    return max(1, int(said[0]) // int(said[1])) if said[0].isdigit() else 1 << 16


def _number(path: Path) -> float | None:
    text = path.read_text().strip() if path.exists() else ""
    return float(text) if text.isdigit() else None
