"""Number of cores that this process may use."""

from __future__ import annotations

import os
from pathlib import Path

QUOTA = Path("/sys/fs/cgroup/cpu.max")


def usable_cores() -> int:
    """Number of cores for this process, limited by a container's quota and `OMP_NUM_THREADS`; at least 1."""
    affinity = getattr(os, "sched_getaffinity", None)
    cores = float(len(affinity(0)) if affinity else os.cpu_count() or 1)
    said = os.environ.get("OMP_NUM_THREADS", "").split(",")[0]
    if said.isdigit():
        cores = min(cores, int(said))
    return max(1, round(min(cores, _quota())))


def _quota() -> float:
    try:
        quota, period = QUOTA.read_text().split()
        return int(quota) / int(period)
    except (OSError, ValueError):  # no such control group, or `max`
        return float("inf")
