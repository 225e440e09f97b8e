"""`package`: builds the Bento from exported bundles, with pinned requirements and its lineage."""

from __future__ import annotations

import logging
import os
import shutil
import tempfile
from dataclasses import dataclass
from importlib.metadata import requires, version
from importlib.util import find_spec
from pathlib import Path

import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from evenodd import __version__, tracking
from evenodd.classifier.bundle import read_bundle
from evenodd.classifier.manifest import MANIFEST
from evenodd.classifier.signature import sign
from evenodd.flow.bundles import bundle_of
from evenodd.flow.promote import CHAMPION
from evenodd.release.runtime import installed_runtime
from evenodd.settings import Request, Settings
from evenodd.storage import digest_of, digests

log = logging.getLogger(__name__)

SERVICE_PACKAGES = ("bentoml", "cryptography", "tokenizers", "numpy")
FOLLOWING_PACKAGES = ("mlflow-skinny",)
NOT_BUILT = "not built"
FASTER_HTTP = ("httptools", "uvloop")  # uvicorn uses them if installed; without them the service is slower


@dataclass(frozen=True)
class Packaged:
    """A Bento, by its tag."""

    tag: str

    @property
    def text(self) -> str:
        """The tag, and the next commands."""
        return f"bento: {self.tag}\n  serve: bentoml serve {self.tag}    image: make image"


def run(request: Request) -> Packaged:
    """Packages the champion, or the given variants (`variants=champion,odd,even,lora`), into one Bento."""
    settings = request.settings
    tracking.configure(settings.experiment)
    wanted = settings.run.variants or (settings.run.model or CHAMPION,)
    return Packaged(package(wanted, settings))


def package(references: tuple[str, ...], settings: Settings, *, nested: bool = False) -> str:
    """Builds the Bento and returns its tag. The first variant is the default one.

    An existing Bento with the same bundles, service and packages is reused.

    Raises:
        ValueError: a version has not been exported.
        RuntimeError: a bundle is damaged, or the build failed.
    """
    with tempfile.TemporaryDirectory(prefix="evenodd-bento-") as work:
        stage = Path(work)
        bundles = {name: exported_bundle(name, settings) for name in references}
        manifests = stage_service(stage, bundles, signing_key=settings.export.signing_key)
        pins = pinned_requirements(*(FOLLOWING_PACKAGES if settings.run.follow else ()))
        fingerprint = digest_of([digests(stage), pins, settings.run.build, __version__])[:20]
        with tracking.lease(f"package {fingerprint}", f"packaging {', '.join(references)}"):
            tag = find_bento(fingerprint)
            if tag is None:
                tag = _package(
                    references, manifests, stage, (fingerprint, pins if settings.run.build else None), nested
                )
            else:
                log.info("package | reused: the same bundles, service and packages are in %s", tag)
    log.info("bento %s | %s", tag, ", ".join(f"{m['variant']} version {m['version']}" for m in manifests))
    return tag


def find_bento(fingerprint: str) -> str | None:
    """The newest Bento in this machine's store that was built from the same content."""
    for run in tracking.find_runs({"stage": "package", "fingerprint": fingerprint}):
        tag = run.data.tags.get("bento", "")
        if tag == NOT_BUILT or (bento_folder(tag) / "bento.yaml").is_file():
            return str(tag)
    return None


def bento_folder(tag: str) -> Path:
    """Folder of a Bento in BentoML's store, computed without importing BentoML, which takes seconds."""
    home = Path(os.environ.get("BENTOML_HOME") or Path.home() / "bentoml")
    return home / "bentos" / tag.replace(":", "/")


def _package(
    references: tuple[str, ...], manifests: list[dict], stage: Path, asked: tuple[str, list[str] | None], nested: bool
) -> str:
    fingerprint, pins = asked
    tags = {"stage": "package", "fingerprint": fingerprint}
    with tracking.start_run(f"package · {', '.join(references)}", tags=tags, nested=nested):
        tag = NOT_BUILT if pins is None else build_bento(stage, manifests, pins)
        tracking.set_tags({"bento": tag, "versions": ",".join(str(m["version"]) for m in manifests)})
        tracking.log_json({"bento": tag, "bundles": manifests}, "bento.json")
    return tag


def exported_bundle(reference: str, settings: Settings) -> Path:
    """The bundle of a version's newest export.

    Raises:
        ValueError: the version was never exported, or a file is missing or changed.
        RuntimeError: the bundle's description differs from the exported one.
    """
    found = tracking.find_version(reference, settings.name)
    exports = tracking.find_runs({"stage": "export", "source_run_id": found.run_id})
    if not exports:
        raise ValueError(
            f"'{reference}' (version {found.version}) was never exported: mlflow run . -e export -P model={reference}"
        )
    return bundle_of(exports[0].info.run_id)


def service_folder() -> Path:
    """The folder of the service: in the checkout if one is in use, otherwise in the installed package.

    Raises:
        RuntimeError: the service is not installed.
    """
    found = find_spec("serving")
    if found is None or not found.submodule_search_locations:
        raise RuntimeError("the package 'serving' cannot be imported. Reinstall evenodd, or start in its checkout.")
    return Path(found.submodule_search_locations[0])


def stage_service(stage: Path, bundles: dict[str, Path], *, signing_key: Path | None = None) -> list[dict]:
    """Copies the service, the classifier and the bundles into a build folder; returns the bundles' manifests.

    Args:
        stage: an empty folder.
        bundles: folders by name.
        signing_key: signs the copies again; None: they keep their signatures.

    Raises:
        ValueError: a bundle is damaged, or the key is not valid.
    """
    shutil.copytree(service_folder(), stage / "serving", ignore=shutil.ignore_patterns("__pycache__", "bundles"))
    tracking.copy_classifier(stage)
    manifests: list[dict] = []
    for index, path in enumerate(bundles.values()):
        about = read_bundle(path).description
        if any(about["run_id"] == m["run_id"] for m in manifests):
            continue
        copy = Path(shutil.copytree(path, stage / "serving" / "bundles" / f"{index:02d}-{about['variant']}"))
        if signing_key is not None:
            sign(copy, (copy / MANIFEST).read_bytes(), signing_key)
        manifests.append(about)
    return manifests


def pinned_requirements(*more: str) -> list[str]:
    """The service's packages, further ones, and their dependencies at the installed versions, which the lock names.

    BentoML would resolve the dependencies again over the network, to versions that were not tested.
    """
    pins: dict[str, str] = {}
    seen: set[tuple[str, tuple[str, ...]]] = set()
    waiting = [Requirement(name) for name in (*SERVICE_PACKAGES, installed_runtime(), *FASTER_HTTP, *more)]
    while waiting:
        wanted = waiting.pop()
        name = canonicalize_name(wanted.name)
        pins[name] = f"{name}=={version(name)}"
        if (name, tuple(sorted(wanted.extras))) not in seen:
            seen.add((name, tuple(sorted(wanted.extras))))
            waiting += [needed for needed in map(Requirement, requires(name) or ()) if _applies(needed, wanted.extras)]
    return sorted(pins.values())


def _applies(needed: Requirement, extras: set[str]) -> bool:
    """Whether a requirement applies here, for a package with these extras."""
    return needed.marker is None or any(needed.marker.evaluate({"extra": extra}) for extra in ("", *extras))


def build_bento(stage: Path, manifests: list[dict], pins: list[str] | None = None) -> str:
    """Runs BentoML's build on a staged folder with pinned requirements and returns the tag."""
    import bentoml

    first = manifests[0]
    options = yaml.safe_load((service_folder() / "bentofile.yaml").read_text(encoding="utf-8"))
    options["python"] = {"packages": pins or pinned_requirements(), "lock_packages": False}
    options["labels"] = {
        **options.get("labels", {}),
        "variant": first["variant"],
        "version": str(first["version"]),
        "run_id": str(first["run_id"]),
        "data_digest": str(first["data"].get("digest", ""))[:40],
    }
    service = options.pop("service")
    chatty = logging.getLogger("bentoml._internal.bento.bento")  # a line for every file over 10 MiB
    before = chatty.level
    chatty.setLevel(logging.ERROR)
    try:
        bento = bentoml.bentos.build(service, build_ctx=str(stage), **options)
    except bentoml.exceptions.BentoMLException as error:
        raise RuntimeError(f"the Bento could not be built: {error}") from error
    finally:
        chatty.setLevel(before)
    return str(bento.tag)
