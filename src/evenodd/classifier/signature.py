"""Signs and verifies bundles: an Ed25519 signature over bundle.json, which holds the digests of every other file.

Keys are plain PEM files (`openssl genpkey -algorithm ed25519 -out signing.pem`, `openssl pkey -in signing.pem -pubout
-out public.pem`) and a signature has 64 bytes, so nothing but the two files is needed: no server, no identity provider,
no clock. openssl can check it too: `openssl pkeyutl -verify -pubin -inkey public.pem -rawin -in bundle.json -sigfile
bundle.sig`. `cryptography` is imported only if a key is given.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from evenodd.classifier.manifest import SIGNATURE

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

PUBLIC_KEY = "EVENODD_PUBLIC_KEY"
"""Variable with the file of public keys whose bundles are accepted; unset: any bundle is accepted."""
PASSWORD = "EVENODD_SIGNING_PASSWORD"
"""Variable with the password of an encrypted private key."""
END = "-----END PUBLIC KEY-----"


def check_signature(folder: Path, manifest: bytes) -> None:
    """Verifies the signature of a manifest with the public keys, if any are given.

    Args:
        folder: folder of the bundle.
        manifest: content of bundle.json, not parsed yet.

    Raises:
        ValueError: the signature is missing or by another key, the manifest was changed, or the keys are invalid.
        RuntimeError: the package `cryptography` is missing.
    """
    named = os.environ.get(PUBLIC_KEY, "").strip()
    if not named:
        return
    path = folder / SIGNATURE
    if not path.is_file():
        raise ValueError(
            f"bundle {folder}: it is not signed, but {PUBLIC_KEY} requires a signature. Export it with "
            "-P export.signing_key=FILE."
        )
    signature = path.read_bytes()
    if not any(_verifies(key, signature, manifest) for key in _read_public(Path(named))):
        raise ValueError(
            f"bundle {folder}: its signature is by none of the keys in {named}, or bundle.json was changed after it "
            "was signed. Export it again with a key that is trusted here."
        )


def sign(folder: Path, manifest: bytes, key_file: Path) -> None:
    """Writes the signature of a manifest into its bundle's folder.

    Raises:
        ValueError: the file holds no Ed25519 private key, or its password is wrong.
        RuntimeError: the package `cryptography` is missing.
    """
    (folder / SIGNATURE).write_bytes(_read_private(key_file).sign(manifest))


def signer_of(key_file: Path) -> str:
    """The public key of a private key, as hexadecimal, which identifies a signer.

    Raises:
        ValueError, RuntimeError: as `sign`.
    """
    return _read_private(key_file).public_key().public_bytes_raw().hex()


def _verifies(key: Ed25519PublicKey, signature: bytes, manifest: bytes) -> bool:
    from cryptography.exceptions import InvalidSignature

    try:
        key.verify(signature, manifest)
    except InvalidSignature:
        return False
    return True


def _read_public(path: Path) -> Iterator[Ed25519PublicKey]:
    """All keys of the file: the old one and the new one, while keys change."""
    _need_cryptography()
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    blocks = [block + END for block in _read(path, PUBLIC_KEY).split(END)[:-1]]
    try:
        keys = [load_pem_public_key(block.encode()) for block in blocks]
    except ValueError as fault:
        raise ValueError(f"{PUBLIC_KEY}={path}: not a PEM file of public keys ({fault}).") from None
    if not keys or not all(isinstance(key, Ed25519PublicKey) for key in keys):
        raise ValueError(f"{PUBLIC_KEY}={path}: Ed25519 public keys in PEM form are needed, and nothing else.")
    return (key for key in keys if isinstance(key, Ed25519PublicKey))


def _read_private(path: Path) -> Ed25519PrivateKey:
    _need_cryptography()
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    password = os.environ.get(PASSWORD, "").encode() or None
    try:
        key = load_pem_private_key(_read(path, "export.signing_key").encode(), password)
    except (ValueError, TypeError, UnsupportedAlgorithm) as fault:
        raise ValueError(f"export.signing_key={path}: {fault} A password is read from {PASSWORD}.") from None
    if not isinstance(key, Ed25519PrivateKey):
        raise ValueError(f"export.signing_key={path}: an Ed25519 key is needed: openssl genpkey -algorithm ed25519")
    return key


def _read(path: Path, asked_by: str) -> str:
    try:
        return path.read_text(encoding="ascii")
    except (OSError, UnicodeDecodeError) as fault:
        raise ValueError(f"{asked_by}={path}: the key cannot be read ({type(fault).__name__}).") from None


def _need_cryptography() -> None:
    try:
        import cryptography  # noqa: F401
    except ImportError:
        raise RuntimeError("signatures need the package cryptography, which is not installed here.") from None
