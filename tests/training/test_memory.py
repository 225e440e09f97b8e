"""What a fit asks of the memory allocator, and that it ends with the fit."""

from __future__ import annotations

import subprocess
import sys
import textwrap

import pytest

BLOCK = 48 << 20

SCRIPT = f"""
import resource, sys
from pathlib import Path
import numpy as np
from evenodd.training.speedups.memory import freed_memory_kept

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(10):
        np.ones({BLOCK} // 8)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

def resident():
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("RssAnon")).split()[1]) << 10

usual, start = faults(), resident()
with freed_memory_kept() as told:
    np.ones({BLOCK} // 8)
    kept = faults()
print(usual, kept, resident() - start, told)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc's allocator is Linux's")
def test_a_freed_block_is_used_again_within_and_given_back_after() -> None:
    """Every step of a fit would fault its pages in again; or the process would stay as large as the fit was."""
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(SCRIPT)], capture_output=True, text=True, check=True)
    usual, kept, grown, told = done.stdout.split()
    if told != "True":
        pytest.skip("not glibc")
    assert int(kept) * 5 < int(usual)
    assert int(grown) < BLOCK / 2
