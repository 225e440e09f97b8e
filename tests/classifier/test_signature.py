"""Signed bundles: what a public key lets through, and what it does not."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from serving_bundle import copy_bundle, shared_bundle

from evenodd.classifier import Classifier
from evenodd.classifier.bundle import read_bundle
from evenodd.classifier.signature import PASSWORD, PUBLIC_KEY, SIGNATURE, sign, signer_of

FORMS = (Encoding.PEM, PrivateFormat.PKCS8)


@pytest.fixture
def keys(tmp_path: Path) -> tuple[Path, Path]:
    """Files of a private and a public key."""
    return write_keys(tmp_path)


def write_keys(folder: Path, name: str = "ours") -> tuple[Path, Path]:
    key = Ed25519PrivateKey.generate()
    private, public = folder / f"{name}.pem", folder / f"{name}.public.pem"
    private.write_bytes(key.private_bytes(*FORMS, NoEncryption()))
    public.write_bytes(key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    return private, public


@pytest.fixture
def signed(tmp_path: Path, keys: tuple[Path, Path]) -> Path:
    folder = copy_bundle(shared_bundle(), tmp_path / "bundle")
    sign(folder, (folder / "bundle.json").read_bytes(), keys[0])
    return folder


def test_a_signed_bundle_is_taken_with_and_without_a_key(
    signed: Path, keys: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever has no key must still be able to use it."""
    assert Classifier.open(signed).answer(["sun"])
    monkeypatch.setenv(PUBLIC_KEY, str(keys[1]))
    assert Classifier.open(signed).answer(["sun"])


def test_an_unsigned_bundle_is_refused_where_a_key_is_given(
    keys: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(PUBLIC_KEY, str(keys[1]))
    with pytest.raises(
        ValueError, match=r"it is not signed, but EVENODD_PUBLIC_KEY requires .* export\.signing_key=FILE"
    ):
        read_bundle(shared_bundle())


def test_a_changed_manifest_is_refused_before_it_is_parsed(
    signed: Path, keys: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A parser is for what somebody vouches for."""
    monkeypatch.setenv(PUBLIC_KEY, str(keys[1]))
    path = signed / "bundle.json"
    path.write_bytes(path.read_bytes() + b" ")
    with pytest.raises(ValueError, match="by none of the keys"):
        read_bundle(signed)
    path.write_bytes(b"[" * 100_000)
    with pytest.raises(ValueError, match="by none of the keys"):
        read_bundle(signed)


def test_old_and_new_key_are_both_taken_while_keys_change(
    signed: Path, keys: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With one key at a time, every bundle would have to change in the same moment."""
    _, other = write_keys(tmp_path, "other")
    monkeypatch.setenv(PUBLIC_KEY, str(other))
    with pytest.raises(ValueError, match="by none of the keys"):
        read_bundle(signed)
    both = tmp_path / "both.pem"
    both.write_text(other.read_text() + keys[1].read_text())
    monkeypatch.setenv(PUBLIC_KEY, str(both))
    read_bundle(signed)


@pytest.mark.parametrize("content", ["", "x", "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n", "é"])
def test_a_file_without_keys_lets_nothing_through(
    signed: Path, content: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An empty file of keys that trusts everybody is the worst of all typing mistakes."""
    (tmp_path / "keys.pem").write_text(content)
    monkeypatch.setenv(PUBLIC_KEY, str(tmp_path / "keys.pem"))
    with pytest.raises(ValueError, match=r"EVENODD_PUBLIC_KEY=.*keys\.pem"):
        read_bundle(signed)
    monkeypatch.setenv(PUBLIC_KEY, str(tmp_path / "missing.pem"))
    with pytest.raises(ValueError, match="cannot be read"):
        read_bundle(signed)


def test_other_kinds_of_key_are_refused(signed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    (tmp_path / "ec.pem").write_bytes(key.private_bytes(*FORMS, NoEncryption()))
    with pytest.raises(ValueError, match="an Ed25519 key is needed: openssl genpkey"):
        sign(signed, b"{}", tmp_path / "ec.pem")
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    (tmp_path / "public.pem").write_bytes(public)
    monkeypatch.setenv(PUBLIC_KEY, str(tmp_path / "public.pem"))
    with pytest.raises(ValueError, match="Ed25519 public keys in PEM form are needed"):
        read_bundle(signed)


def test_a_private_key_may_have_a_password(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "locked.pem"
    path.write_bytes(Ed25519PrivateKey.generate().private_bytes(*FORMS, BestAvailableEncryption(b"open sesame")))
    with pytest.raises(ValueError, match=f"A password is read from {PASSWORD}"):
        signer_of(path)
    monkeypatch.setenv(PASSWORD, "open sesame")
    assert len(signer_of(path)) == 64


def test_openssl_agrees(signed: Path, keys: tuple[Path, Path]) -> None:
    """Whoever audits a bundle needs none of our code."""
    command = ["openssl", "pkeyutl", "-verify", "-pubin", "-inkey", str(keys[1]), "-rawin", "-in"]
    command += [str(signed / "bundle.json"), "-sigfile", str(signed / SIGNATURE)]
    try:
        found = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        pytest.skip("openssl is not here")
    assert "Verified Successfully" in found.stdout, found.stderr


def test_cryptography_is_not_needed_where_no_key_is_given() -> None:
    """It travels in the Bento, and is no condition of a model that is loaded elsewhere."""
    code = (
        "import sys; sys.modules['cryptography'] = None\n"
        "from pathlib import Path; from evenodd.classifier import Classifier\n"
        f"Classifier.open(Path({str(shared_bundle())!r}))\n"
        "import os; os.environ['EVENODD_PUBLIC_KEY'] = 'x'\n"
        f"from evenodd.classifier.bundle import read_bundle\nfrom evenodd.classifier.signature import sign\n"
        f"try: sign(Path('.'), b'', Path('x'))\nexcept RuntimeError as fault: print(fault)\n"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "signatures need the package cryptography" in found.stdout
