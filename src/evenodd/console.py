"""The command line: `evenodd ENTRY name=value …`. It prints the result, or one line about an error."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Mapping, Sequence
from glob import has_magic
from pathlib import Path

from evenodd.flow.entries import ENTRIES, Entry, Result, find_entry
from evenodd.flow.faults import in_one_line
from evenodd.flow.logs import configure_logging, quieten_libraries
from evenodd.interruption import end_with_parent, listen
from evenodd.settings import Request, Settings, full_name, make_request

FILE_SUFFIXES = (".csv", ".json", ".jsonl", ".ndjson", ".parquet", ".txt", ".tsv")
USAGE = "evenodd ENTRY name=value …    (--name value is the same; evenodd ENTRY --help lists the settings)"


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the entry point named by the first argument with the settings in the others, and exits.

    Exit code 0: success; 2: a setting, a file or the environment is wrong, reported in one line; 3: everything ran, but
    the promotion was refused; 128 plus a signal's number: ended by it (130 Ctrl-C, 143 SIGTERM, 129 SIGHUP).
    """
    name, *words = (sys.argv[1:] if arguments is None else arguments) or ["--help"]
    if name in ("-h", "--help"):
        print(f"{USAGE}\n")
        print("\n".join(f"  {entry.name:<22} {entry.summary}" for entry in ENTRIES.values()))
        return
    configure_logging()
    listen()
    end_with_parent()
    try:
        code = run_entry(find_entry(name), words)
    except KeyboardInterrupt as asked:
        number = getattr(asked, "number", signal.SIGINT)
        how = "interrupted" if number == signal.SIGINT else f"ended by {signal.Signals(number).name}"
        _say(f"{name}: {how}. Run the same command again to resume from the last checkpoint.")
        sys.exit(128 + number)
    except _reported() as error:
        if os.environ.get("EVENODD_TRACEBACK"):
            raise
        _say(f"{name}: {in_one_line(error)}")
        sys.exit(getattr(error, "exit_code", 2))
    if code:
        sys.exit(code)


def _say(line: str) -> None:
    """Tells the user, once for all processes of a command."""
    if _processes()[0] == 0:
        print(line, file=sys.stderr)


def run_entry(entry: Entry, words: Sequence[str]) -> int:
    """Runs an entry point, prints its result and returns the exit code. Mistakes are reported before heavy imports.

    Raises:
        ValueError: a word is not a setting, a value is invalid, or a file does not exist.
    """
    if {"-h", "--help"} & set(words):
        print(entry.help())
        return 0
    given = parse(words)
    try:
        request = entry.request(given)
        settings = request.settings
        check_files(settings)
    except ValueError as fault:
        raise ValueError("; ".join([str(fault), *faults_of_data(given, str(fault))])) from None
    _stay_offline(settings)
    quieten_libraries()
    result = entry.run(request) if _processes() == (0, 1) else _run_in_processes(entry, request)
    print(result.text)
    return getattr(result, "exit_code", 0)


def _processes() -> tuple[int, int]:
    """Number of this process and how many torchrun, or what sets its variables, has started for the command."""
    world = int(os.environ.get("WORLD_SIZE", "1"))
    return (int(os.environ.get("RANK", "0")), world) if world > 1 else (0, 1)


def _run_in_processes(entry: Entry, request: Request) -> Result:
    """The first process runs the entry point; the others join its fits, and end here."""
    from evenodd.training import follow, leading

    if _processes()[0] > 0:
        follow(_reported())
    with leading():
        return entry.run(request)


def _reported() -> tuple[type[Exception], ...]:
    """Exceptions that are reported in one line: settings, files, the disk, and the tracking store."""
    known = (("mlflow.exceptions", "MlflowException"), ("sqlalchemy.exc", "SQLAlchemyError"))
    loaded = (getattr(sys.modules[module], name) for module, name in known if module in sys.modules)
    return (ValueError, RuntimeError, OSError, *loaded)


def parse(arguments: Sequence[str]) -> dict[str, str]:
    """Parses `name=value`, `--name value` and `--name=value` into a mapping.

    Raises:
        ValueError: a word has another form, a name has no value, or a name is given twice.
    """
    given: dict[str, str] = {}
    words = iter(arguments)
    for word in words:
        name, separator, value = word.removeprefix("--").partition("=")
        if not name or word.startswith("-") != word.startswith("--") or not (separator or word.startswith("--")):
            raise ValueError(f"'{word}': settings are given as name=value or --name value (mlflow run: -P name=value).")
        if not separator:
            following = next(words, None)
            if following is None:
                raise ValueError(f"--{name}: a value is missing.")
            value = following
        if name in given:
            raise ValueError(f"{name}: given twice.")
        given[name] = value
    return given


def check_files(settings: Settings) -> None:
    """Reports a missing file before heavy imports.

    Raises:
        ValueError: a value with a file's suffix or a path does not exist.
    """
    given = {
        "data": settings.data.source,
        "suite": settings.suite if settings.suite != "own" else None,
        "input": settings.run.input,
    }
    for name, value in given.items():
        if not value or "://" in value or "," in value or has_magic(value):
            continue  # several files, or remote ones: their reader checks them
        named_as_file = Path(value).suffix.lower() in FILE_SUFFIXES or value.startswith((".", "/", "~"))
        if named_as_file and not Path(value).expanduser().exists():
            raise ValueError(f"{name}='{value}': no such file. Paths are relative to {Path.cwd()}.")


def faults_of_data(given: Mapping[str, str], reported: str) -> list[str]:
    """Faults of a file of rows, reported together with faults of settings so that both can be fixed at once.

    Args:
        given: settings of the command line.
        reported: faults that are reported already.
    """
    about = {name: value for name, value in given.items() if (full_name(name) or "").partition(".")[0] == "data"}
    try:
        settings = make_request(about).settings
        check_files(settings)
        if not about or not Path(settings.data.source).expanduser().exists():
            return []
        quieten_libraries()
        from evenodd.rows import load_corpus

        load_corpus(settings.data, seed=settings.data.split_seed, cache=settings.home / "cache")
    except (ValueError, OSError) as fault:
        return [] if str(fault) in reported else [str(fault)]
    return []


def _stay_offline(settings: Settings) -> None:
    """Avoids look-ups at a hub if neither rows nor weights come from one."""
    local_data = settings.data.source == "sample" or Path(settings.data.source).exists()
    local_model = settings.teacher.source in ("minilm", "mpnet") or Path(settings.teacher.source).exists()
    if local_data and local_model:
        os.environ.setdefault("HF_HUB_OFFLINE", "1")
