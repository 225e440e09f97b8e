"""Models: logged, registered, found, loaded."""

from __future__ import annotations

import logging
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import mlflow
import yaml
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from mlflow.models import ModelSignature
from mlflow.types import ColSpec, DataType, Schema
from safetensors import SafetensorError
from transformers import PreTrainedModel
from transformers.tokenization_utils_base import PreTrainedTokenizerBase

from evenodd.tracking import store
from evenodd.tracking.contents import active_run_id
from evenodd.tracking.files import first_line, record_files, sound_files
from evenodd.tracking.leases import OWNER_TAG
from evenodd.tracking.reading import DONE_TAG

log = logging.getLogger(__name__)

PACKAGE = Path(__file__).parents[1]

FACTS = "evenodd"
"""Key of our own facts in a logged model's metadata: MLflow has a meaning of its own for others, such as `task`."""


@dataclass(frozen=True)
class ModelEntry:
    """What the registry and the model page show of a model."""

    registered_name: str
    variant: str
    description: str
    tags: dict[str, str] = field(default_factory=dict)
    requirements: tuple[str, ...] = ()
    metadata: dict[str, Any] = field(default_factory=dict)


TEXT_SIGNATURE = ModelSignature(
    inputs=Schema([ColSpec(DataType.string)]),
    outputs=Schema([ColSpec(DataType.string, "label"), ColSpec(DataType.double, "score")]),
)


def log_model(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, entry: ModelEntry) -> str:
    """Logs a plain classifier with its tokenizer as a text-classification pipeline; its URI.

    Raises:
        ValueError: the model still carries adapters, which would be saved without their weights.
    """
    if hasattr(model, "peft_config"):
        raise ValueError("the model carries adapters: merge them first (evenodd.encoders.merge_lora).")
    # mlflow looks this name up at a hub; one with a space cannot be there, so the look-up ends at once.
    model.name_or_path = model.config._name_or_path = f"evenodd {entry.variant}"
    info = mlflow.transformers.log_model(
        {"model": model, "tokenizer": tokenizer},
        name=entry.variant,
        task="text-classification",
        signature=TEXT_SIGNATURE,
        input_example=["You are all welcome here."],
        pip_requirements=list(entry.requirements),
        metadata={FACTS: entry.metadata, "description": entry.description},
        model_config={"truncation": True},
        tags={key: str(value) for key, value in entry.tags.items()},
    )
    record_files(str(info.model_uri))
    return str(info.model_uri)


def log_bundle(folder: Path, entry: ModelEntry, labels: Sequence[str]) -> str:
    """Logs a bundle as a model that takes texts, with the code that answers them; its URI."""
    answer: list[Any] = [
        ColSpec(DataType.string, "label"),
        ColSpec(DataType.string, "decision"),
        ColSpec(DataType.double, "score"),
    ]
    answer += [ColSpec(DataType.double, f"p_{name}") for name in labels]
    with tempfile.TemporaryDirectory() as work:
        code = copy_classifier(Path(work))
        shutil.copy(PACKAGE / "registered.py", code)
        info = mlflow.pyfunc.log_model(
            name=f"{entry.variant}-onnx",
            loader_module="evenodd.registered",
            data_path=str(folder),
            code_paths=[str(code)],
            signature=ModelSignature(Schema([ColSpec(DataType.string)]), Schema(answer)),
            pip_requirements=list(entry.requirements),
            metadata={FACTS: entry.metadata, "description": entry.description},
        )
    record_files(str(info.model_uri))
    return str(info.model_uri)


def copy_classifier(target: Path) -> Path:
    """Copies what answers texts, `evenodd.task` and `evenodd.classifier`, to `target/evenodd`; that folder."""
    copied = target / PACKAGE.name
    copied.mkdir(parents=True)
    shutil.copy(PACKAGE / "__init__.py", copied)
    for name in ("task", "classifier"):
        shutil.copytree(PACKAGE / name, copied / name, ignore=shutil.ignore_patterns("__pycache__"))
    return copied


def register(model_uri: str, entry: ModelEntry) -> str:
    """A version of the registered model; its number. Aliases are set when the run is done."""
    client = MlflowClient()
    run_id = active_run_id()
    _ensure_registered(client, entry.registered_name)
    drop_half_registered(entry.registered_name)
    version = client.create_model_version(
        entry.registered_name,
        source=model_uri,
        run_id=run_id,
        tags={key: str(value) for key, value in entry.tags.items()},
        description=entry.description,
        model_id=model_uri.removeprefix("models:/"),
    )
    return str(version.version)


def drop_half_registered(registered_name: str) -> None:
    """Deletes versions that this package's runs registered and did not live to call done."""
    client = MlflowClient()
    for version in client.search_model_versions(f"name = '{registered_name}'"):
        if version.run_id and version.run_id != active_run_id():
            try:
                run = client.get_run(version.run_id)
            except MlflowException as error:
                if store.is_missing(error):
                    continue
                raise
            ended, tags = run.info.status in ("KILLED", "FAILED"), run.data.tags
            if ended and OWNER_TAG in tags and DONE_TAG not in tags:
                log.info("version %s of %s was only partly registered and is deleted", version.version, registered_name)
                with suppress(MlflowException):  # another process was first
                    client.delete_model_version(registered_name, version.version)


def _ensure_registered(client: MlflowClient, name: str) -> None:
    try:
        client.get_registered_model(name)
    except MlflowException:
        try:
            client.create_registered_model(name, description="Variants of one text classifier; see the version's run.")
        except MlflowException:
            client.get_registered_model(name)  # another process was first


@dataclass(frozen=True)
class Version:
    """A registered version."""

    name: str
    version: str
    run_id: str
    uri: str
    tags: dict[str, str]


def find_version(reference: str, default_name: str) -> Version:
    """A version by `name@alias`, `name/version`, or an alias of the default name.

    Raises:
        ValueError: there is none; the message names the aliases and versions there are.
    """
    client = MlflowClient()
    name, separator, rest = reference.partition("@") if "@" in reference else reference.partition("/")
    if not separator:
        name, rest = default_name, reference
    try:
        with store.answering():
            by_number = rest.isdigit()
            found = client.get_model_version(name, rest) if by_number else client.get_model_version_by_alias(name, rest)
    except MlflowException as error:
        raise ValueError(f"model='{reference}': not in the registry. {_known_versions(client, name)}") from error
    return Version(name, str(found.version), str(found.run_id), f"models:/{name}/{found.version}", dict(found.tags))


def aliases(registered_name: str) -> dict[str, str]:
    """Alias to version number."""
    try:
        with store.answering():
            return {k: str(v) for k, v in MlflowClient().get_registered_model(registered_name).aliases.items()}
    except MlflowException:
        return {}


def names_with(alias: str) -> list[str]:
    """Names of the registered models that have a version of this alias, in their order."""
    with store.answering():
        found = MlflowClient().search_registered_models(max_results=1000)
    return sorted(model.name for model in found if alias in model.aliases)


def set_alias(registered_name: str, alias: str, version: str) -> None:
    """Points an alias at a version."""
    MlflowClient().set_registered_model_alias(registered_name, alias, version)


def tag_version(version: Version, tags: Mapping[str, str]) -> None:
    """Adds tags to a registered version."""
    for key, value in tags.items():
        MlflowClient().set_model_version_tag(version.name, version.version, key, value)


def load_model(uri: str) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """A logged classifier and its tokenizer, by `models:/…` URI.

    Raises:
        RuntimeError: its files are gone or damaged.
    """
    folder = sound_files(uri)
    refuse_code(uri, folder)
    try:
        parts = mlflow.transformers.load_model(str(folder), return_type="components")
    except (MlflowException, SafetensorError, OSError, ValueError, RuntimeError) as error:
        raise RuntimeError(f"model '{uri}' cannot be loaded: {first_line(error)}") from error
    return parts["model"], parts["tokenizer"]


def refuse_code(uri: str, folder: Path) -> None:
    """A fitted model is weights for classes that are installed; MLflow would run the code that another one names.

    Raises:
        RuntimeError: the model brings code, or its description cannot be read.
    """
    try:
        flavors = yaml.safe_load((folder / "MLmodel").read_text(encoding="utf-8"))["flavors"]
        code = {name: flavor["code"] for name, flavor in flavors.items() if flavor.get("code")}
    except (OSError, yaml.YAMLError, KeyError, TypeError, AttributeError, UnicodeDecodeError) as error:
        raise RuntimeError(f"model '{uri}' cannot be read: {first_line(error)}") from error
    if code:
        raise RuntimeError(f"model '{uri}' brings code of its own ({', '.join(code)}), which is not run here.")


def model_metadata(uri: str) -> dict[str, Any]:
    """What was stored with a logged model: labels, decision, data, layer map.

    Raises:
        RuntimeError: its files are gone or damaged.
    """
    folder = sound_files(uri)
    try:
        return dict((mlflow.models.get_model_info(str(folder)).metadata or {})[FACTS])
    except (MlflowException, OSError, yaml.YAMLError, KeyError, TypeError, ValueError) as error:
        raise RuntimeError(f"model '{uri}' cannot be read: {first_line(error)}") from error


def _known_versions(client: MlflowClient, name: str) -> str:
    known = ", ".join(sorted(aliases(name)))
    quoted = name.replace("'", "''")
    versions = sorted((int(v.version) for v in client.search_model_versions(f"name = '{quoted}'")), reverse=True)
    if not versions:
        return f"'{name}' has no versions yet: train one first, e.g. mlflow run . -e distill_odd."
    return f"'{name}' has the aliases {known or 'none'} and versions up to {versions[0]}."
