"""The notebook in docs/ runs from its first cell to its last."""

from __future__ import annotations

import os
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

ROOT = Path(__file__).resolve().parents[1]


@pytest.mark.slow
def test_the_notebook_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A renamed method or setting would meet the first reader of the documentation."""
    for name in [name for name in os.environ if name.startswith(("MLFLOW_", "EVENODD_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join((str(ROOT / "src"), str(ROOT))))
    notebook = nbformat.read(ROOT / "docs" / "own_data.ipynb", as_version=4)
    NotebookClient(notebook, timeout=500, resources={"metadata": {"path": str(tmp_path)}}).execute()
    answers = notebook.cells[-2]["outputs"][-1]["text"].splitlines()
    assert [line.split()[0] in ("praise", "complaint", "question") for line in answers] == [True] * 3
    assert (tmp_path / "mlflow.db").exists()
