"""Memory that a step gives back and the next one asks for again."""

from __future__ import annotations

import ctypes
import sys

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
LARGEST_KEPT = 1 << 30


def keep_freed_memory() -> bool:
    """Tells glibc's allocator to keep blocks of up to 1 GiB when they are freed; whether it was told.

    By default blocks of megabytes go back to the kernel, which hands out zeroed pages again in the next step: with
    trained word embeddings 13,000 page faults a step and a fifth of its time. The process stays as large as its
    largest step was. Other C libraries and systems are left as they are.
    """
    if not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    return bool(mallopt(M_MMAP_THRESHOLD, LARGEST_KEPT) and mallopt(M_TRIM_THRESHOLD, LARGEST_KEPT))
