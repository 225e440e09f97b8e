"""The command line of every entry point: parameters in, one line out when something is wrong."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

from evenodd.flow.logs import configure_logging, quieten_libraries
from evenodd.settings import SHORT_NAMES, Settings, field_paths, flatten, resolve_settings

Parameters = dict[str, str]

FILE_SUFFIXES = (".csv", ".json", ".jsonl", ".ndjson", ".parquet", ".txt", ".tsv")


def command(entry: str, run: Callable[[Parameters], None], *, about: str | None = None) -> None:
    """Runs an entry point with the parameters of the command line and ends the process.

    Exit code 0: done; 2: a parameter, a file or the environment is wrong, told in one line; 130: interrupted.

    Args:
        entry: name of the entry point.
        run: what it does; its heavy imports belong inside, so that a mistake is told before torch is loaded.
        about: first line of `--help`.
    """
    configure_logging()
    try:
        parameters = parse(sys.argv[1:])
        if "help" in parameters:
            print(help_text(entry, about or ""))
            return
        settings = resolve_settings(parameters)
        check_files(settings)
        _stay_offline(settings)
        quieten_libraries()
        run(parameters)
    except KeyboardInterrupt:
        print(f"{entry}: interrupted. The same command goes on from the last checkpoint.", file=sys.stderr)
        sys.exit(130)
    except Exception as error:
        if os.environ.get("EVENODD_TRACEBACK") or not isinstance(error, _told()):
            raise
        print(f"{entry}: {' '.join(str(error).split())}", file=sys.stderr)
        sys.exit(2)


def _told() -> tuple[type[Exception], ...]:
    """Faults that are told in one line: parameters, files, the disk, and the tracking store's."""
    store = sys.modules.get("mlflow.exceptions")
    return (ValueError, RuntimeError, OSError, *((store.MlflowException,) if store else ()))


def parse(arguments: list[str]) -> Parameters:
    """`--name value` and `--name=value` as a mapping.

    Raises:
        ValueError: a word that is no `--name`, a name without a value, or a name said twice.
    """
    parameters: Parameters = {}
    words = iter(arguments)
    for word in words:
        if word in ("-h", "--help"):
            return {"help": ""}
        if not word.startswith("--"):
            raise ValueError(f"'{word}': parameters are given as --name value (mlflow run: -P name=value).")
        name, separator, value = word[2:].partition("=")
        if not separator:
            following = next(words, None)
            if following is None:
                raise ValueError(f"--{name}: a value is missing.")
            value = following
        if name in parameters:
            raise ValueError(f"--{name}: given twice.")
        parameters[name] = value
    return parameters


def help_text(entry: str, about: str) -> str:
    """What an entry point does and every parameter with its default."""
    defaults, notes = flatten(Settings()), field_paths()
    short = {full: name for name, full in SHORT_NAMES.items()}
    lines = [f"{entry}: {about}", "", f"  mlflow run . -e {entry} -P name=value …", "", "Parameters:"]
    lines.append(f"  {'config':<28} YAML file of settings; -P parameters win over it")
    for path, default in defaults.items():
        name = f"{short[path]} ({path})" if path in short else path
        lines.append(f"  {name:<28} {notes[path]}{' ' if notes[path] else ''}[{_shown(default)}]")
    return "\n".join(lines)


def check_files(settings: Settings) -> None:
    """Tells a file that is not there before anything heavy is imported.

    Raises:
        ValueError: what was named with a file's suffix or a path is not there.
    """
    said = {
        "data": settings.data.source,
        "suite": settings.run.suite if settings.run.suite != "own" else None,
        "input": settings.run.input,
    }
    for name, value in said.items():
        named_as_file = value and (Path(value).suffix.lower() in FILE_SUFFIXES or value.startswith((".", "/", "~")))
        if value and named_as_file and not Path(value).expanduser().exists():
            raise ValueError(f"{name}='{value}': no such file. Paths are taken from {Path.cwd()}.")


def _stay_offline(settings: Settings) -> None:
    """Spares look-ups at a hub when neither rows nor weights come from one."""
    local_data = settings.data.source == "sample" or Path(settings.data.source).exists()
    local_model = settings.teacher.source == "minilm" or Path(settings.teacher.source).exists()
    if local_data and local_model:
        os.environ.setdefault("HF_HUB_OFFLINE", "1")


def _shown(value: object) -> str:
    return ",".join(str(part) for part in value) if isinstance(value, tuple) else str(value)
