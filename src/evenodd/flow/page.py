"""Texts for the service's page, from the file in the setting `serve.page`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from evenodd.classifier.page import page_faults
from evenodd.task import Task


def read_page(path: str, task: Task) -> dict[str, Any]:
    """Reads the page's texts from a YAML file: question, definition, labels and examples, with the task's labels.

    Raises:
        ValueError: the file does not exist, is not YAML, or does not have the form of `evenodd.classifier.page`.
    """
    try:
        page = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as fault:
        raise ValueError(f"serve.page='{path}' cannot be read: {fault}") from None
    except yaml.YAMLError as fault:
        raise ValueError(f"serve.page='{path}' is not YAML: {' '.join(str(fault).split())}") from None
    faults = list(page_faults(page, task.labels))
    if faults:
        raise ValueError(f"serve.page='{path}': {' '.join(faults)}")
    return dict(page)
