"""Files of models: logged with the code that answers texts, and read without running any code in them.

Every version is a pyfunc that takes texts (`evenodd.registered`) and contains this package's code. A fitted version is
also a transformers model, for further training.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import mlflow
import yaml
from mlflow.models import Model, ModelSignature
from mlflow.types import ColSpec, ParamSchema, ParamSpec, Schema
from safetensors import SafetensorError
from transformers import PreTrainedModel
from transformers.tokenization_utils_base import PreTrainedTokenizerBase

from evenodd.classifier.faults import first_line
from evenodd.registered.fitted import DESCRIPTION, FACTS, load_tokenizer, load_weights, read_facts
from evenodd.registered.loader import SHIPPED
from evenodd.registered.pyfunc import CONFIG, column_types
from evenodd.storage import digests, file_digest
from evenodd.tracking.files import record_files, recorded_files, sound_files

PACKAGE = Path(__file__).parents[1]
LOADER = "evenodd_model"
CODE = "code"
PYFUNC, TRANSFORMERS = "python_function", "transformers"
EXAMPLE = ("You are all welcome here.",)


@dataclass(frozen=True)
class ModelEntry:
    """What the registry and the model's page show."""

    registered_name: str
    variant: str
    description: str
    tags: dict[str, str] = field(default_factory=dict)
    requirements: tuple[str, ...] = ()
    metadata: dict[str, Any] = field(default_factory=dict)

    @property
    def about(self) -> dict[str, Any]:
        """Metadata for MLflow."""
        return {FACTS: self.metadata, "description": self.description}


def log_model(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, entry: ModelEntry) -> str:
    """Logs a classifier without adapters and its tokenizer, as a pyfunc and a transformers model. Returns the URI.

    Raises:
        ValueError: the model still has adapters, which would be saved without their weights.
    """
    if hasattr(model, "peft_config"):
        raise ValueError("the model has adapters: merge them first (evenodd.encoders.merge_lora).")
    # MLflow looks this name up on the hub; a name with a space cannot exist there, so the look-up ends at once.
    model.name_or_path = model.config._name_or_path = f"evenodd {entry.variant}"
    info = Model.log(
        None,
        _Fitted,
        name=entry.variant,
        metadata=entry.about,
        tags={key: str(value) for key, value in entry.tags.items()},
        flavor_name=TRANSFORMERS,
        parts={"model": model, "tokenizer": tokenizer},
        entry=entry,
        validate_serving_input=False,
    )
    record_files(str(info.model_uri))
    return str(info.model_uri)


class _Fitted:
    """A flavor for `Model.log`: transformers' flavor, with this package's pyfunc."""

    @staticmethod
    def save_model(path: str, mlflow_model: Model, parts: dict[str, Any], entry: ModelEntry, **_: Any) -> None:
        """Writes the model's folder."""
        mlflow.transformers.save_model(
            parts,
            path,
            mlflow_model=mlflow_model,
            task="text-classification",
            signature=signature(entry.metadata.get("task", {}).get("labels", ())),
            input_example=list(EXAMPLE),
            pip_requirements=list(entry.requirements),
        )
        copy_code(Path(path) / CODE)
        env = {"conda_env": "conda.yaml", "python_env": "python_env.yaml"}
        mlflow.pyfunc.add_to_model(mlflow_model, loader_module=LOADER, code=CODE, model_config=CONFIG, **env)
        mlflow_model.save(str(Path(path) / DESCRIPTION))


def log_bundle(folder: Path, entry: ModelEntry, labels: Sequence[str]) -> str:
    """Logs a bundle as a pyfunc. Returns the URI."""
    with tempfile.TemporaryDirectory() as work:
        code = copy_code(Path(work) / CODE)
        info = mlflow.pyfunc.log_model(
            name=f"{entry.variant}-onnx",
            loader_module=LOADER,
            data_path=str(folder),
            code_paths=[str(path) for path in sorted(code.iterdir())],
            model_config=CONFIG,
            signature=signature(labels),
            pip_requirements=list(entry.requirements),
            metadata=entry.about,
        )
    record_files(str(info.model_uri))
    return str(info.model_uri)


def signature(labels: Sequence[str]) -> ModelSignature:
    """Outputs and parameters of a version.

    Inputs are left out, because MLflow would then silently reduce a table of two columns to the first one.
    """
    columns: list[Any] = [ColSpec(kind, name) for name, kind in column_types(tuple(labels)).items()]
    return ModelSignature(outputs=Schema(columns), params=ParamSchema([ParamSpec("exact", "boolean", False)]))


def copy_code(target: Path) -> Path:
    """Writes the code of a version: MLflow's loader, and the package for environments without it."""
    return _copy(_code(), target)


def copy_classifier(target: Path) -> Path:
    """Copies the packages that answer texts, `evenodd.task` and `evenodd.classifier`, to `target/evenodd`, and
    returns it."""
    return _copy(_sources("task", "classifier"), target) / PACKAGE.name


def _code() -> dict[str, Path]:
    """The files of a version's code, by relative path."""
    package = {f"{SHIPPED}/{name}": path for name, path in _sources("task", "classifier", "registered").items()}
    return {f"{LOADER}.py": PACKAGE / "registered" / "loader.py", **package}


def _sources(*rooms: str) -> dict[str, Path]:
    found = [PACKAGE / "__init__.py", *(path for room in rooms for path in sorted((PACKAGE / room).rglob("*.py")))]
    return {path.relative_to(PACKAGE.parent).as_posix(): path for path in found}


def _copy(files: dict[str, Path], target: Path) -> Path:
    for name, path in files.items():
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target / name)
    return target


def load_model(uri: str) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """A fitted classifier and its tokenizer, by `models:/…` URI. No code in it is run.

    Raises:
        RuntimeError: its files are gone or damaged, or it names code that is not this package's.
    """
    folder = _own_files(uri)
    try:
        return load_weights(folder), load_tokenizer(folder)
    except (SafetensorError, OSError, ValueError, RuntimeError) as error:
        raise RuntimeError(f"model '{uri}' cannot be loaded: {first_line(error)}") from error


def model_metadata(uri: str) -> dict[str, Any]:
    """Metadata of a logged model: labels, decision, data, layer map.

    Raises:
        RuntimeError: its files are gone or damaged, or it names code that is not this package's.
    """
    folder = _own_files(uri)
    try:
        return read_facts(folder)
    except ValueError as error:
        raise RuntimeError(f"model '{uri}' cannot be read: {first_line(error)}") from error


def _own_files(uri: str) -> Path:
    """Folder of a logged model's files, which are undamaged and name no foreign code."""
    folder = sound_files(uri)
    refuse_foreign(uri, folder)
    return folder


def refuse_foreign(uri: str, folder: Path) -> None:
    """Refuses a version with foreign code, although that code is not run here.

    Code that differs from the installed package is accepted if it is unchanged since this package logged it.

    Raises:
        RuntimeError: the model names another loader, flavor or code, or its description cannot be read.
    """
    try:
        flavors = yaml.safe_load((folder / DESCRIPTION).read_text(encoding="utf-8"))["flavors"]
        foreign = list(_foreign(flavors))
    except (OSError, yaml.YAMLError, KeyError, TypeError, AttributeError, UnicodeDecodeError) as error:
        raise RuntimeError(f"model '{uri}' cannot be read: {first_line(error)}") from error
    if not foreign and digests(folder / CODE) != {name: file_digest(path) for name, path in _code().items()}:
        foreign = [] if recorded_files(uri) else [CODE]
    if foreign:
        raise RuntimeError(f"model '{uri}' contains other code ({', '.join(foreign)}), which is not run here.")


def _foreign(flavors: dict[str, dict[str, Any]]) -> Iterator[str]:
    """The parts of a description that refer to foreign code."""
    yield from (f"flavor {name}" for name in sorted(set(flavors) - {PYFUNC, TRANSFORMERS}))
    if (flavors.get(TRANSFORMERS) or {}).get("code"):
        yield f"{TRANSFORMERS}.code={flavors[TRANSFORMERS]['code']}"
    expected = {"loader_module": LOADER, "code": CODE, "model_code_path": None, "python_model": None}
    pyfunc = flavors[PYFUNC]
    yield from (f"{PYFUNC}.{key}={pyfunc.get(key)}" for key, ours in expected.items() if pyfunc.get(key) != ours)
