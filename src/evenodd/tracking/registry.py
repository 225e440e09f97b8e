"""The registry: versions, aliases and tags."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass

from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from evenodd.tracking import store
from evenodd.tracking.contents import active_run_id
from evenodd.tracking.leases import OWNER_TAG
from evenodd.tracking.models import ModelEntry
from evenodd.tracking.reading import DONE_TAG

log = logging.getLogger(__name__)


def register(model_uri: str, entry: ModelEntry) -> str:
    """Registers a version and returns its number. Aliases are set when the run is done."""
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
    """Deletes versions of this package's runs that were registered but never completed."""
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
            client.create_registered_model(name, description=_described(name))
        except MlflowException:
            client.get_registered_model(name)  # another process was first


def _described(name: str) -> str:
    """Description of a registered model."""
    lines = [
        "A text classifier in several variants. Every version takes texts and returns label, decision, score and a "
        "probability per label, like the service:",
        f'    mlflow.pyfunc.load_model("models:/{name}@champion").predict(["some text"])',
        "Versions with the tag `kind=torch` are fitted models, which are also transformers models; those with "
        "`kind=onnx` are exported: the graphs that the service runs, without torch.",
        "Aliases: `champion` is the promoted version, a variant's name its newest fit, and that name with `-onnx` its "
        "newest export.",
    ]
    return "\n\n".join(lines)


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
    """Sorted names of the registered models that have this alias."""
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


def _known_versions(client: MlflowClient, name: str) -> str:
    known = ", ".join(sorted(aliases(name)))
    quoted = name.replace("'", "''")
    versions = sorted((int(v.version) for v in client.search_model_versions(f"name = '{quoted}'")), reverse=True)
    if not versions:
        return f"'{name}' has no versions yet: train one first, e.g. mlflow run . -e distill_odd."
    return f"'{name}' has the aliases {known or 'none'} and versions up to {versions[0]}."
