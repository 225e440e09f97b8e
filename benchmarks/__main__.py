"""`make bench`: every benchmark in turn, each in its own process.

    make bench                                        all of them, hours
    make bench ARGS="--quick"                         all of them, short
    make bench ARGS="--only training --json out.json" only one, with its figures in out-training.json

Each has options of its own: `python -m benchmarks.training --help`.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

BENCHMARKS = ("training", "scale", "inference", "scoring", "serving", "verdict")


def main() -> None:
    """Runs them all; exits with the code of the first failure."""
    for name, command in commands(sys.argv[1:]).items():
        print(f"\n== {name}", flush=True)
        code = subprocess.run([sys.executable, "-m", f"benchmarks.{name}", *command], check=False).returncode
        if code:
            sys.exit(code)


def commands(arguments: list[str]) -> dict[str, list[str]]:
    """The arguments of each benchmark to run."""
    parser = argparse.ArgumentParser(
        prog="make bench", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", nargs="+", choices=BENCHMARKS, default=BENCHMARKS, help="only these")
    parser.add_argument("--quick", action="store_true", help="short runs, only speeds")
    parser.add_argument("--json", type=Path, help="file for the figures; the benchmark's name is added")
    said = parser.parse_args(arguments)
    found: dict[str, list[str]] = {}
    for name in said.only:
        found[name] = ["--quick"] if said.quick else []
        if said.json:
            found[name] += ["--json", str(said.json.with_stem(f"{said.json.stem}-{name}"))]
    return found


if __name__ == "__main__":
    main()
