"""The encoder's files: the bundled ones are the published ones, others are read from the given place."""

from __future__ import annotations

import sys
from fnmatch import fnmatch
from pathlib import Path

import huggingface_hub
import pytest
from huggingface_hub import constants

from evenodd import hub
from evenodd.encoders import files as encoder_files
from evenodd.encoders.files import resolve_model, source_digest
from evenodd.storage import file_digest


def make_folder(folder: Path, weights: bytes = b"weights") -> Path:
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    (folder / "model.safetensors").write_bytes(weights)
    return folder


def test_the_bundled_model_is_found_without_importing_its_package() -> None:
    """The package's own code is not needed, and importing it would run it."""
    folder = Path(resolve_model("minilm"))
    assert file_digest(folder / "model.safetensors") == encoder_files.BUNDLED_SHA256["model.safetensors"]
    assert encoder_files.BUNDLED_PACKAGE not in sys.modules


def test_altered_bundled_weights_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Results would be attributed to a model that was not used."""
    monkeypatch.setitem(encoder_files.BUNDLED_SHA256, "tokenizer.json", "0" * 64)
    with pytest.raises(RuntimeError, match=r"tokenizer.json is not the published file"):
        resolve_model("minilm")


def test_a_missing_package_says_how_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """The default must not fail with an import error."""
    monkeypatch.setattr(encoder_files, "BUNDLED_PACKAGE", "package_that_is_not_there")
    with pytest.raises(RuntimeError, match="make install"):
        resolve_model("minilm")


def test_a_folder_with_a_configuration_is_the_model(tmp_path: Path) -> None:
    """A local path must win over a hub name of the same spelling."""
    assert resolve_model(str(make_folder(tmp_path / "model"))) == tmp_path / "model"


def test_what_is_no_model_says_what_to_pass(tmp_path: Path) -> None:
    """A wrong path must fail before anything is trained, in one line."""
    for source in (tmp_path, tmp_path / "missing"):
        with pytest.raises(ValueError, match="-P teacher=minilm") as caught:
            resolve_model(str(source))
        assert "\n" not in str(caught.value)


def test_an_unreachable_hub_is_the_one_line_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Without it transformers retries for half a minute and then blames the model's name."""
    monkeypatch.setattr(constants, "is_offline_mode", lambda: True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(RuntimeError) as caught:
        resolve_model("bert-base-uncased")
    assert str(caught.value) == (
        "teacher='bert-base-uncased': the hub cannot be reached. "
        "Pass a local folder (-P teacher=path) or the bundled model (-P teacher=minilm)."
    )


def test_a_model_in_the_local_hub_cache_needs_no_hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A cached model works offline, at the revision that was asked for."""
    asked: list[str | None] = []

    def cached(name: str, file: str, revision: str | None = None) -> str:
        asked.append(revision)
        return str(tmp_path / "snapshot" / file)

    monkeypatch.setattr(constants, "is_offline_mode", lambda: True)
    monkeypatch.setattr(huggingface_hub, "try_to_load_from_cache", cached)
    assert resolve_model("someone/model", "v2") == tmp_path / "snapshot"
    assert asked == ["v2"]


@pytest.mark.parametrize("weights", ["model.safetensors", "pytorch_model.bin"])
def test_a_hub_model_is_loaded_from_the_files_of_its_revision(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, weights: str
) -> None:
    """A revision that is written down and not obeyed makes a comparison of something else."""
    fetched: list[str] = []

    def download(name: str, revision: str, allow_patterns: list[str]) -> str:
        fetched.append(revision)
        folder = tmp_path / revision
        folder.mkdir(exist_ok=True)
        for file in ("config.json", weights, "tf_model.h5"):
            if any(fnmatch(file, pattern) for pattern in allow_patterns):
                (folder / file).write_text(revision)
        return str(folder)

    monkeypatch.setattr(hub, "hub_commit", lambda kind, name, revision: f"commit-of-{revision}")
    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    folder = resolve_model("someone/model", "v2")
    assert folder == tmp_path / "commit-of-v2"
    assert set(fetched) == {"commit-of-v2"}
    assert {path.name for path in folder.iterdir()} == {"config.json", weights}
    assert source_digest(folder) != source_digest(resolve_model("someone/model", "v3"))


def test_a_revision_of_a_folder_is_refused(tmp_path: Path) -> None:
    """A setting without effect would look like one that has it."""
    for source in (str(make_folder(tmp_path / "model")), "minilm"):
        with pytest.raises(ValueError, match="only a hub model has revisions"):
            resolve_model(source, "v2")


def test_the_digest_follows_the_content_and_not_the_place(tmp_path: Path) -> None:
    """A teacher is reused if and only if its source has the same content, in any folder."""
    digest = source_digest(make_folder(tmp_path / "one"))
    assert source_digest(make_folder(tmp_path / "two")) == digest
    assert source_digest(make_folder(tmp_path / "three", b"other")) != digest
    (tmp_path / "one" / "model.safetensors").write_bytes(b"changed!")
    assert source_digest(tmp_path / "one") != digest
