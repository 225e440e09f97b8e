"""`make bench`: every benchmark in turn, each in a process of its own. Further arguments go to all of them."""

from __future__ import annotations

import subprocess
import sys

BENCHMARKS = ("training", "scale", "inference", "serving", "verdict")


def main() -> None:
    """Runs them all; ends with the first failure's exit code."""
    for name in BENCHMARKS:
        print(f"\n== {name}", flush=True)
        code = subprocess.run([sys.executable, "-m", f"benchmarks.{name}", *sys.argv[1:]], check=False).returncode
        if code:
            sys.exit(code)


if __name__ == "__main__":
    main()
