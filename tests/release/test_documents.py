"""What the documents say can be followed: files, make targets, entry points and settings that they name exist."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
import yaml

from evenodd.flow.entries import ENTRIES
from evenodd.settings import SHORT_NAMES, Settings, flatten

ROOT = Path(__file__).resolve().parents[2]
MADE = {"docs/api/evenodd.html"}
DOCUMENTS = [
    path
    for path in (*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"))
    if "api" not in path.parts and path.name not in ("EXPERIMENTS.md", "CHANGELOG.md")
]

each = pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))


@each
def test_links_lead_somewhere(path: Path) -> None:
    """A file that was moved leaves a reader with an error page."""
    links = re.findall(r"\]\(([^)#]+)[^)]*\)", path.read_text(encoding="utf-8"))
    assert not [link for link in links if "://" not in link and not (path.parent / link).exists()]


@each
def test_files_that_are_named_exist(path: Path) -> None:
    """A path in code quotes is what a reader opens next."""
    named = re.findall(r"`((?:src|tests|docs|deploy|configs|pipelines|serving|benchmarks)/[\w./-]*)`", path.read_text())
    assert not [name for name in named if name not in MADE and not (ROOT / name).exists()]


@each
def test_make_targets_that_are_named_exist(path: Path) -> None:
    """The first thing that a reader types."""
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    text = path.read_text(encoding="utf-8")
    named = re.findall(r"(?:^|`)make ([a-z-]+)", text, re.MULTILINE)
    assert set(named) <= targets


@each
def test_commands_that_are_shown_are_accepted(path: Path) -> None:
    """An entry point or a setting that was renamed is refused, with the reader's data in hand."""
    known = {*flatten(Settings()), *SHORT_NAMES, "config"}
    train = {name.removeprefix("train.") for name in known if name.startswith("train.")}
    known |= {f"teacher.{name}" for name in train}
    text = path.read_text(encoding="utf-8")
    commands = re.findall(r"(?:^|`)(?:evenodd|mlflow run \. -e) ([a-z_]+)([^`\n]*)", text, re.MULTILINE)
    for entry, words in commands:
        assert entry in ENTRIES, entry
        said = re.findall(r"(?:^| )(?:-P )?([a-z_.]+)=", words.partition("#")[0])
        assert set(said) <= known, words
    code = re.findall(r"`([a-z_]+(?:\.[a-z_]+)*)=[^`]*`", text)
    assert {name for name in code if name.islower()} <= known


def test_workflows_call_make() -> None:
    """A step that CI alone has cannot be repeated by a developer."""
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text(encoding="utf-8"))
    steps = [step["run"] for job in workflow["jobs"].values() for step in job["steps"] if "run" in step]
    assert steps
    assert all(step.startswith("make ") for step in steps)


def test_every_make_target_is_described() -> None:
    """`make help` lists those that have a comment."""
    shown = subprocess.run(["make", "-s", "help"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    phony = re.search(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    assert phony
    assert {line.split()[0] for line in shown.splitlines()} == set(phony[1].split()) - {"help"}
