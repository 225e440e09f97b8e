"""What is installed, declared and said in three places agrees."""

from __future__ import annotations

import re
import tomllib
from importlib.metadata import requires
from pathlib import Path

import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from evenodd.flow.package import SERVICE_PACKAGES, pinned_requirements
from pipelines.__main__ import ENTRIES, entries

ROOT = Path(__file__).resolve().parents[2]


def project() -> dict[str, Requirement]:
    content = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    return _by_name(content["project"]["dependencies"])


def lock() -> dict[str, str]:
    lines = (ROOT / "requirements.lock").read_text(encoding="utf-8").splitlines()
    pins = _by_name(line for line in lines if line.strip() and not line.startswith(("#", "-")))
    return {name: _exact(pin) for name, pin in pins.items()}


def conda() -> tuple[list[str], dict[str, Requirement]]:
    content = yaml.safe_load((ROOT / "conda.yaml").read_text(encoding="utf-8"))
    plain = [part for part in content["dependencies"] if isinstance(part, str)]
    return plain, _by_name(next(part["pip"] for part in content["dependencies"] if isinstance(part, dict)))


def test_conda_installs_what_the_project_needs() -> None:
    """`mlflow run` with conda would fail, or run on other versions, long after `make run` passed."""
    _, pins = conda()
    assert set(pins) == set(project())
    for name, needed in project().items():
        assert needed.specifier.contains(_exact(pins[name])), name


def test_the_lock_holds_every_dependency_at_a_version_that_is_allowed() -> None:
    """`make install` installs the lock and nothing else."""
    pins = lock()
    for name, needed in project().items():
        assert name in pins, name
        assert needed.specifier.contains(pins[name]), f"{name} {pins[name]} is not {needed.specifier}"


def test_conda_and_lock_name_the_same_versions() -> None:
    """Two environments that differ give two results."""
    pins = lock()
    assert {name: _exact(pin) for name, pin in conda()[1].items()} == {name: pins[name] for name in conda()[1]}


def test_the_lock_pins_the_tools_of_development() -> None:
    """`make check` on another linter version fails on unchanged code."""
    content = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    for name, needed in _by_name(content["project"]["optional-dependencies"]["dev"]).items():
        assert needed.specifier.contains(lock()[name]), name


def test_conda_names_the_python_that_the_project_allows() -> None:
    """3.12 would resolve to other wheels."""
    content = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    plain, _ = conda()
    assert "python=3.11" in plain
    assert content["project"]["requires-python"] == ">=3.11,<3.12"


def test_the_lock_is_free_of_this_machine() -> None:
    """A local path, an index address or a build label installs nowhere else."""
    text = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    assert not re.search(r"file:|https?:|@|--|\+cpu", text)
    assert "onnxruntime" not in lock(), "onnxruntime and onnxruntime-gpu overwrite each other's files"


def test_mlproject_and_the_command_line_know_the_same_entry_points() -> None:
    """An entry point that MLproject lacks cannot be run; one that only it has fails after minutes of set-up."""
    content = yaml.safe_load((ROOT / "MLproject").read_text(encoding="utf-8"))
    declared = content["entry_points"]
    assert set(declared) == set(entries())
    for name, about in declared.items():
        assert about["command"].endswith(f"python -m pipelines {name}"), name
        assert "parameters" not in about, "a declared parameter that the command does not pass is lost in silence"


def test_every_entry_point_has_its_module() -> None:
    """The module is imported by name, when it is too late to notice."""
    for name in ENTRIES:
        assert (ROOT / "src" / "evenodd" / "flow" / f"{name}.py").is_file(), name


def test_the_bento_pins_everything_that_it_installs_to_the_lock() -> None:
    """Resolved anew at every build, the service would run on versions that no test has seen."""
    pins = {name: _exact(pin) for name, pin in _by_name(pinned_requirements()).items()}
    assert pins == {name: lock()[name] for name in pins}
    assert set(SERVICE_PACKAGES) <= set(pins)
    for name in pins:
        for needed in map(Requirement, requires(name) or ()):
            if needed.marker is None or needed.marker.evaluate({"extra": ""}):
                assert canonicalize_name(needed.name) in pins, f"{name} needs {needed}"
    assert not {"torch", "transformers", "mlflow", "datasets", "scipy", "pandas", "evenodd", "onnxruntime"} & set(pins)


def test_the_first_two_commands_of_the_readme_run_and_test() -> None:
    """They are what a newcomer copies."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```\w*\n(.*?)```", text, flags=re.DOTALL)
    commands = [line.partition("#")[0].strip() for block in blocks for line in block.splitlines()]
    assert [line for line in commands if line][:2] == ["make run", "make test"]


def test_ci_runs_what_a_developer_runs() -> None:
    """Another list of steps in CI passes what `make check` refuses."""
    steps = (ROOT / ".ci" / "run").read_text(encoding="utf-8").splitlines()
    assert [line for line in steps if line.startswith("make ")] == ["make check", "make test"]


def _by_name(lines: object) -> dict[str, Requirement]:
    return {canonicalize_name(pin.name): pin for pin in (Requirement(str(line)) for line in lines)}  # type: ignore[attr-defined]


def _exact(pin: Requirement) -> str:
    found = re.fullmatch(r"==([^*]+)", str(pin.specifier))
    if not found:
        raise AssertionError(f"{pin}: not an exact version")
    return found[1]
