"""`python -m pipelines ENTRY --name value …`: what MLproject calls."""

from __future__ import annotations

import importlib
import sys

from evenodd.console import Parameters, command
from evenodd.encoders.catalog import VARIANTS
from evenodd.flow.schedule.ahead import import_ahead
from evenodd.settings import resolve_settings

# Entry points that do not fit a single variant: module of this package and first line of --help.
ENTRIES = {
    "main": "everything: teacher, every named variant, compare, export, promote, package",
    "study": "every named variant over every seed, tuned first when asked, and compared; goes on where it stopped",
    "ablation": "what each term of the distillation loss adds: a student with its terms switched off one by one",
    "compare": "lines the finished runs up, tests the differences, names a winner or a tie",
    "promote": "checks the gates and moves the champion alias",
    "export": "ONNX graphs with a parity gate, and the bundle that is served",
    "package": "builds the Bento from an exported bundle",
    "evaluate": "scores a registered model, run or bundle on a data file or a behaviour suite",
    "score": "labels, decisions and scores for a large file or a folder of texts, as CSV",
    "serve": "the service and its page from the newest bundle, on http://localhost:3000",
}
SEVERAL_FITS = ("main", "study", "ablation")


def entries() -> dict[str, str]:
    """Every entry point and what it does."""
    return {**{variant.entry: variant.summary for variant in VARIANTS.values()}, **ENTRIES}


def main() -> None:
    """Runs the entry point that the first argument names."""
    known = entries()
    entry = sys.argv.pop(1) if len(sys.argv) > 1 else "--help"
    if entry in ("-h", "--help"):
        print("python -m pipelines ENTRY --name value …\n")
        print("\n".join(f"  {name:<22} {about}" for name, about in known.items()))
        return
    if entry not in known:
        sys.exit(f"'{entry}' is no entry point; there are {', '.join(known)}.")

    def run(parameters: Parameters) -> None:
        settings = resolve_settings(parameters)
        if entry in SEVERAL_FITS or (entry not in ENTRIES and settings.evidence.seeds > 1):
            import_ahead(settings)
        if entry in ENTRIES:
            importlib.import_module(f"evenodd.flow.{entry}").run(parameters)
        else:
            importlib.import_module("evenodd.flow.fit").run(entry, parameters)

    command(entry, run, about=known[entry])


if __name__ == "__main__":
    main()
