"""Sealed folders: intact as written, or reported, dropped and rebuilt."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest
from damage import DAMAGES, damaged

from evenodd.storage import SEAL, DamagedError, new_folder, read_seal, seal, sound, write_whole


def make(folder: Path) -> Path:
    with new_folder(folder) as building:
        (building / "deep").mkdir()
        (building / "deep" / "a.bin").write_bytes(os.urandom(4096))
        (building / "b.txt").write_text("b")
    return folder


@pytest.mark.parametrize("name", ["deep/a.bin", "b.txt", SEAL])
@pytest.mark.parametrize("how", DAMAGES)
def test_a_damaged_file_is_named_and_its_folder_dropped(tmp_path: Path, name: str, how: str, caplog) -> None:
    """An existing file was assumed to be intact."""
    folder = make(tmp_path / "kept")
    assert sound(folder)
    damaged(folder / name, how)
    with pytest.raises(DamagedError, match="is incomplete" if how == "gone" and name == SEAL else Path(name).name):
        read_seal(folder)
    with caplog.at_level(logging.WARNING):
        assert not sound(folder)
    assert Path(name).name in caplog.text
    assert list(tmp_path.iterdir()) == []


def test_sealed_values_are_returned_and_changed_ones_are_refused(tmp_path: Path) -> None:
    """A seal that anybody can edit proves nothing."""
    folder = make(tmp_path / "kept")
    seal(folder, {"precision": "fp32", "epoch": 3})
    assert read_seal(folder) == {"precision": "fp32", "epoch": 3}
    text = (folder / SEAL).read_text()
    (folder / SEAL).write_text(text.replace("fp32", "bf16"))
    with pytest.raises(DamagedError, match=SEAL):
        read_seal(folder)


def test_a_new_process_finds_a_byte_that_changed_with_size_and_time_as_before(tmp_path: Path) -> None:
    """A disk flips a bit without touching the time: what one process knows of a file must not outlive it."""
    folder = make(tmp_path / "kept")
    path = folder / "deep" / "a.bin"
    before = path.stat()
    damaged(path, "flipped")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    asked = f"from pathlib import Path; from evenodd.storage import sound; print(sound(Path({str(folder)!r})))"
    done = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
    assert "a.bin is damaged" in done.stderr


def test_an_interruption_leaves_nothing_and_the_first_of_two_stays(tmp_path: Path) -> None:
    """Half a folder under its name would be read; the slower of two processes must not replace what others read."""
    with pytest.raises(KeyboardInterrupt), new_folder(tmp_path / "kept") as building:  # noqa: PT012
        (building / "a").touch()
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []
    with new_folder(tmp_path / "kept") as building:
        (building / "a").write_text("second")
        with new_folder(tmp_path / "kept") as other:
            (other / "a").write_text("first")
    assert (tmp_path / "kept" / "a").read_text() == "first"
    assert sound(tmp_path / "kept")
    assert [path.name for path in tmp_path.iterdir()] == ["kept"]


def test_a_file_is_written_whole_or_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full disk in the middle of writing would leave a part under the name."""
    path = tmp_path / "a.json"
    write_whole(path, "one")
    monkeypatch.setattr(Path, "replace", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(OSError, match="No space"):
        write_whole(path, "two")
    assert path.read_text() == "one"
    assert [found.name for found in tmp_path.iterdir()] == ["a.json"]
