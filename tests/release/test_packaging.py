"""What is installed, declared and said in three places agrees."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterable
from importlib.metadata import packages_distributions, requires
from itertools import chain
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from evenodd.flow.entries import ENTRIES
from evenodd.flow.package import FOLLOWING_PACKAGES, SERVICE_PACKAGES, pinned_requirements
from evenodd.release.runtime import installed_runtime

ROOT = Path(__file__).resolve().parents[2]


EXTRAS_OF_THE_LOCK = ("ray", "docs", "dev")
"""All but Spark, whose 400 MB only those need who have a cluster of it."""
LINUX = {"sys_platform": "linux", "platform_machine": "x86_64"}
WINDOWS = {"sys_platform": "win32", "platform_machine": "AMD64"}
PLATFORMS = (
    LINUX,
    WINDOWS,
    {"sys_platform": "linux", "platform_machine": "aarch64"},
    {"sys_platform": "darwin", "platform_machine": "arm64"},
)


def about() -> dict:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def on(platform: dict[str, str], lines: Iterable[str]) -> dict[str, Requirement]:
    """The requirements that hold on a platform, by canonical name."""
    wanted = [pin for pin in map(Requirement, lines) if pin.marker is None or pin.marker.evaluate({**platform})]
    return {canonicalize_name(pin.name): pin for pin in wanted}


def project(platform: dict[str, str] = LINUX) -> dict[str, Requirement]:
    return on(platform, about()["dependencies"])


def lock(platform: dict[str, str] = LINUX) -> dict[str, str]:
    lines = (ROOT / "requirements.lock").read_text(encoding="utf-8").splitlines()
    return {name: _exact(pin) for name, pin in on(platform, filter(None, lines)).items()}


def conda(platform: dict[str, str] = LINUX) -> tuple[list[str], dict[str, Requirement]]:
    content = yaml.safe_load((ROOT / "conda.yaml").read_text(encoding="utf-8"))
    plain = [part for part in content["dependencies"] if isinstance(part, str)]
    pins = next(part["pip"] for part in content["dependencies"] if isinstance(part, dict))
    return plain, on(platform, pins)


@pytest.mark.parametrize("platform", PLATFORMS, ids=lambda platform: "-".join(platform.values()))
def test_conda_installs_what_the_project_needs(platform: dict[str, str]) -> None:
    """`mlflow run` with conda would fail, or run on other versions, long after `make run` passed."""
    _, pins = conda(platform)
    assert set(pins) == set(project(platform))
    for name, needed in project(platform).items():
        assert needed.specifier.contains(_exact(pins[name])), name


@pytest.mark.parametrize("platform", PLATFORMS, ids=lambda platform: "-".join(platform.values()))
def test_the_lock_holds_every_dependency_at_a_version_that_is_allowed(platform: dict[str, str]) -> None:
    """`make install` installs the lock and nothing else."""
    pins = lock(platform)
    needs = [project(platform), *(on(platform, about()["optional-dependencies"][name]) for name in EXTRAS_OF_THE_LOCK)]
    for name, needed in {name: pin for of_extra in needs for name, pin in of_extra.items()}.items():
        assert name in pins, name
        assert needed.specifier.contains(pins[name]), f"{name} {pins[name]} is not {needed.specifier}"


@pytest.mark.parametrize("platform", PLATFORMS, ids=lambda platform: "-".join(platform.values()))
def test_conda_and_lock_name_the_same_versions(platform: dict[str, str]) -> None:
    """Two environments that differ give two results."""
    pins = lock(platform)
    assert {name: _exact(pin) for name, pin in conda(platform)[1].items()} == {
        name: pins[name] for name in conda(platform)[1]
    }


@pytest.mark.parametrize("platform", PLATFORMS, ids=lambda platform: "-".join(platform.values()))
def test_each_platform_gets_one_onnx_runtime(platform: dict[str, str]) -> None:
    """Two of them overwrite each other's files, and the one with CUDA exists for x86-64 Linux and Windows alone."""
    expected = {"onnxruntime-gpu"} if platform in (LINUX, WINDOWS) else {"onnxruntime"}
    for names in (project(platform), lock(platform), conda(platform)[1]):
        assert {name for name in names if name.startswith("onnxruntime")} == expected


def test_a_cpu_install_has_one_onnx_runtime_without_cuda(tmp_path: Path) -> None:
    """`make install CPU=1` rewrites the lock; both runtimes in one environment overwrite each other's files."""
    (tmp_path / "venv").mkdir()
    shown = subprocess.run(
        ["make", "-n", "install", "CPU=1", f"VENV={tmp_path / 'venv'}"], cwd=ROOT, capture_output=True, text=True
    )
    (rewrite,) = [line for line in shown.stdout.splitlines() if line.startswith("sed ")]
    subprocess.run(["sh", "-c", rewrite], cwd=ROOT, check=True)
    lines = (tmp_path / "venv" / "cpu.lock").read_text(encoding="utf-8").splitlines()
    for platform in PLATFORMS:
        pins = on(platform, lines)
        assert {name: _exact(pin) for name, pin in pins.items() if name.startswith("onnxruntime")} == {
            "onnxruntime": lock()["onnxruntime-gpu"]
        }


def test_every_package_that_the_code_imports_is_declared() -> None:
    """A package that only another one brings along is gone with that one's next version."""
    declared = {*project(), *on(LINUX, chain.from_iterable(about()["optional-dependencies"].values()))}
    providers = packages_distributions()
    missing = {
        name: path
        for folder in ("src", "pipelines", "serving")
        for path in sorted((ROOT / folder).rglob("*.py"))
        for name in _imported(path) - {*sys.stdlib_module_names, "evenodd", "pipelines", "serving"}
        if not {canonicalize_name(owner) for owner in providers.get(name, [name])} & declared
    }
    assert not missing


def test_the_pythons_that_are_declared_are_those_that_ci_runs() -> None:
    """A Python that is promised and never tried breaks unnoticed."""
    pythons = ["3.11", "3.12", "3.13"]
    assert conda()[0] == ["python=3.11", "pip"]
    assert about()["requires-python"] == ">=3.11,<3.14"
    named = [line.rpartition(" ")[2] for line in about()["classifiers"] if " :: Python :: 3." in line]
    assert named == pythons
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text(encoding="utf-8"))
    assert workflow["jobs"]["test"]["strategy"]["matrix"]["python"] == pythons


def test_the_license_is_the_one_that_is_declared() -> None:
    """Package indexes and scanners read the field, lawyers the file."""
    assert about()["license"] == "Apache-2.0"
    text = (ROOT / "LICENSE").read_text(encoding="utf-8")
    assert "Apache License\n" in text
    assert "Version 2.0, January 2004" in text


def test_the_lock_is_free_of_this_machine() -> None:
    """A local path, an index address or a build label installs nowhere else."""
    text = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    assert not re.search(r"file:|https?:|@|--|\+cpu", text)


def test_mlproject_and_the_command_line_know_the_same_entry_points() -> None:
    """An entry point that MLproject lacks cannot be run; one that only it has fails after minutes of set-up."""
    content = yaml.safe_load((ROOT / "MLproject").read_text(encoding="utf-8"))
    declared = content["entry_points"]
    assert set(declared) == set(ENTRIES)
    for name, about in declared.items():
        assert about["command"].endswith(f"python -m pipelines.{name}"), name
        assert "parameters" not in about, "a declared parameter that the command does not pass is lost in silence"


def test_every_entry_point_has_its_module() -> None:
    """The module is imported by name, when it is too late to notice."""
    for name in ENTRIES:
        assert (ROOT / "pipelines" / f"{name}.py").is_file(), name


@pytest.mark.parametrize("more", [(), FOLLOWING_PACKAGES], ids=["plain", "follow"])
def test_the_bento_pins_everything_that_it_installs_to_the_lock(more: tuple[str, ...]) -> None:
    """Resolved anew at every build, the service would run on versions that no test has seen."""
    pins = {name: _exact(pin) for name, pin in on(LINUX, pinned_requirements(*more)).items()}
    assert pins == {name: lock(LINUX).get(name, lock(PLATFORMS[-1]).get(name)) for name in pins}
    assert {*SERVICE_PACKAGES, installed_runtime(), *more} <= set(pins)
    for name in pins:
        for needed in map(Requirement, requires(name) or ()):
            if needed.marker is None or needed.marker.evaluate({"extra": ""}):
                assert canonicalize_name(needed.name) in pins, f"{name} needs {needed}"
    assert not {"torch", "transformers", "mlflow", "datasets", "scipy", "pandas", "evenodd"} & set(pins)


def test_the_first_two_commands_of_the_readme_run_and_test() -> None:
    """They are what a newcomer copies."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```\w*\n(.*?)```", text, flags=re.DOTALL)
    commands = [line.partition("#")[0].strip() for block in blocks for line in block.splitlines()]
    assert [line for line in commands if line][:2] == ["make run", "make test"]


def test_ci_runs_what_a_developer_runs() -> None:
    """Another list of steps in CI passes what `make check` refuses."""
    steps = (ROOT / ".ci" / "run").read_text(encoding="utf-8").splitlines()
    made = [line.split()[1] for line in steps if line.startswith("make ")]
    assert made == ["install", "spark", "check", "docs", "test"]


def _imported(path: Path) -> set[str]:
    """First parts of the modules that a file imports."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module.partition(".")[0])
    return names


def _exact(pin: Requirement) -> str:
    found = re.fullmatch(r"==([^*]+)", str(pin.specifier))
    if not found:
        raise AssertionError(f"{pin}: not an exact version")
    return found[1]
