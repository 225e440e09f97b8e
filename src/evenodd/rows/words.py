"""Word lists that ship with the package as YAML files."""

from __future__ import annotations

import re
from functools import cache
from importlib import resources
from typing import Any

import yaml

Words = dict[str, Any]
"""Nested mappings whose leaves are tuples of phrases, or numbers."""
_DIVIDER = re.compile(r"\n|(?:^|(?<=\s))\|(?=\s|$)")


@cache
def read_words(package: str, name: str) -> Words:
    """The word lists of one file, read once per process and read-only.

    Args:
        package: dotted name of the package that contains the file.
        name: name of the file without `.yaml`.

    Returns:
        The file's mappings. Each text in it is split into phrases at line ends and at ` | `; repeated phrases are
        kept.

    Raises:
        FileNotFoundError: the package has no such file.
    """
    text = resources.files(package).joinpath(f"{name}.yaml").read_text(encoding="utf-8")
    words: Words = _split(yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)))
    return words


def _split(part: Any) -> Any:
    if isinstance(part, dict):
        return {key: _split(value) for key, value in part.items()}
    if isinstance(part, str):
        return tuple(phrase.strip() for phrase in _DIVIDER.split(part) if phrase.strip())
    return part
