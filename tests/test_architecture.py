"""The packages: who may import whom, that nothing happens at import, and that libraries do not print."""

from __future__ import annotations

import ast
import functools
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "src" / "evenodd"
# Each room and those below it that it may import; itself always.
BELOW = {
    "task": set(),
    "settings": {"task"},
    "storage": set(),
    "interruption": set(),
    "hub": set(),
    "classifier": {"task"},
    "encoders": {"task", "settings", "storage", "hub", "classifier"},
    "rows": {"task", "settings", "storage", "hub", "classifier"},
}
BELOW["training"] = {*BELOW["rows"], "rows", "encoders", "interruption"}
BELOW["evidence"] = BELOW["search"] = {*BELOW["training"], "training"}
BELOW["report"] = {*BELOW["evidence"], "evidence", "search"}
BELOW["registered"] = {"task", "classifier"}
BELOW["tracking"] = BELOW["release"] = {*BELOW["report"], "registered"}
BELOW["flow"] = set(BELOW)
BELOW["project"] = {*BELOW}
BELOW["console"] = {*BELOW} - {"project"}
CLASSIFIER = {"numpy", "onnxruntime", "tokenizers"}
ISLAND_OPTIONAL = {"mlflow", "psycopg"}
ISLAND = {*CLASSIFIER, *ISLAND_OPTIONAL, "bentoml", "prometheus_client", "pydantic", "serving", "starlette", "uvicorn"}


def sources(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*.py") if "__pycache__" not in path.parts)


def imports(path: Path) -> Iterator[tuple[str, bool]]:
    """Dotted names of imported modules, and whether at the top of the file."""
    tree = _tree(path)
    top = {id(node) for node in tree.body}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, id(node) in top) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                yield f"{path.parent.name}.{base}".rstrip("."), id(node) in top
            elif base in ("evenodd", "pipelines", "serving"):
                yield from ((f"{base}.{alias.name}", id(node) in top) for alias in node.names)
            else:
                yield base, id(node) in top


def room(name: str) -> str:
    """`evenodd.rows.rows` is in `rows`."""
    return name.removeprefix("evenodd").strip(".").partition(".")[0]


@pytest.mark.parametrize("path", sources(PACKAGE), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_point_down_only(path: Path) -> None:
    """A stage that reaches back up cannot be understood, tested or replaced alone."""
    own = room(path.relative_to(PACKAGE).with_suffix("").parts[0])
    if own == "__init__":
        pytest.skip("the package itself")
    found = {room(name) for name, _ in imports(path) if name.startswith("evenodd.")}
    found.discard("__version__")
    assert own in BELOW, f"{own} is no room of the design"
    assert found - {own} <= BELOW[own]
    assert not [name for name, _ in imports(path) if name.startswith(("pipelines", "serving"))]


@pytest.mark.parametrize("path", sources(PACKAGE), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_mlflow_is_known_to_tracking_alone(path: Path) -> None:
    """Otherwise another tracker, or none, would mean changes everywhere."""
    named = {name for name, _ in imports(path) if name.partition(".")[0] == "mlflow"}
    assert not named or path.parent == PACKAGE / "tracking"


@pytest.mark.parametrize("path", sources(ROOT / "serving"), ids=lambda path: path.name)
def test_serving_is_an_island(path: Path) -> None:
    """The Bento holds only these packages: another import fails where it is served, not here."""
    found = {(name.partition(".")[0], top) for name, top in imports(path)}
    assert not outside({name for name, _ in imports(path)}) - ISLAND
    assert not {name for name, top in found if top} & ISLAND_OPTIONAL


def travelling() -> list[Path]:
    return [*sources(PACKAGE / "task"), *sources(PACKAGE / "classifier")]


@pytest.mark.parametrize("path", travelling(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_the_classifier_needs_three_packages(path: Path) -> None:
    """It travels into the Bento and the registered model, where nothing else of the project is."""
    found = {(name, top) for name, top in imports(path) if not (name.startswith("cryptography") and not top)}
    assert not outside({name for name, _ in found}) - CLASSIFIER, "cryptography is imported where a key is given"


def outside(names: set[str]) -> set[str]:
    """Packages that are neither Python's own nor `evenodd.task` and `evenodd.classifier`."""
    packages = {name.partition(".")[0] for name in names if not name.startswith(("evenodd.task", "evenodd.classifier"))}
    return packages - sys.stdlib_module_names


def everything() -> list[Path]:
    return [*sources(PACKAGE), *sources(ROOT / "pipelines"), *sources(ROOT / "serving")]


@pytest.mark.parametrize("path", everything(), ids=lambda path: str(path.relative_to(ROOT)))
def test_nothing_happens_at_import(path: Path) -> None:
    """Work at import is paid by `--help`, and fails before an error can be told in a line."""
    found = [ast.unparse(node) for node in _acts(_tree(path).body)]
    if path.parts[-2:] == ("serving", "service.py"):
        # BentoML reads a service's settings from its decorator, so this module's import is their one place.
        found = [line for line in found if "os.environ.get('EVENODD_" not in line]
    assert found == []


def quiet_sources() -> list[Path]:
    """All but the command line, which prints a command's result."""
    return [path for path in sources(PACKAGE) if path != PACKAGE / "console.py"]


@pytest.mark.parametrize("path", quiet_sources(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_the_package_logs_and_does_not_print(path: Path) -> None:
    """A notebook or a service that uses it decides what is shown."""
    calls = [node for node in ast.walk(_tree(path)) if isinstance(node, ast.Call)]
    assert not [call.lineno for call in calls if isinstance(call.func, ast.Name) and call.func.id == "print"]
    names = {call.func.attr for call in calls if isinstance(call.func, ast.Attribute)}
    assert "basicConfig" not in names or path.name in ("logs.py", "processes.py")


@pytest.mark.parametrize("path", everything(), ids=lambda path: str(path.relative_to(ROOT)))
def test_errors_are_raised_and_not_asserted(path: Path) -> None:
    """`python -O` drops asserts, and the check with them."""
    assert not [node.lineno for node in ast.walk(_tree(path)) if isinstance(node, ast.Assert)]


@functools.cache
def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def _acts(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """Statements of a module that do something: all but definitions, imports, constants and `if __name__`."""
    for node in body:
        if isinstance(node, ast.If):
            if not (_is_main(node.test) or ast.unparse(node.test) == "TYPE_CHECKING"):
                yield from _acts([*node.body, *node.orelse])
        elif isinstance(node, ast.Expr):
            if not isinstance(node.value, ast.Constant):
                yield node
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            if not all(_is_name(target) for target in _targets(node)) or _touches_the_world(node.value):
                yield node
        elif not isinstance(node, ast.Import | ast.ImportFrom | ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node


def _is_name(target: ast.expr) -> bool:
    return all(isinstance(part, ast.Name) for part in (target.elts if isinstance(target, ast.Tuple) else [target]))


def _targets(node: ast.Assign | ast.AnnAssign) -> list[ast.expr]:
    return node.targets if isinstance(node, ast.Assign) else [node.target]


def _touches_the_world(value: ast.expr | None) -> bool:
    """Whether a constant's value reads files, the environment, a clock or a network, or builds a model."""
    acts = {"open", "read_text", "read_bytes", "read_csv", "load", "getenv", "run", "time", "now", "from_pretrained"}
    acts |= {"request", "urlopen", "connect", "mkdir", "listdir", "glob", "InferenceSession", "system", "device_count"}
    for node in ast.walk(value) if value else ():
        if isinstance(node, ast.Call):
            name = node.func.attr if isinstance(node.func, ast.Attribute) else ast.unparse(node.func)
            if name in acts:
                return True
        if isinstance(node, ast.Attribute) and ast.unparse(node) == "os.environ":
            return True
    return False


def _is_main(test: ast.expr) -> bool:
    return ast.unparse(test) == "__name__ == '__main__'"
