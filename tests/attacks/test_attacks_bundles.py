"""Damaged and forged bundles: none starts where a public key is given, and without one none that can be found out."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from onnx import numpy_helper
from serving_bundle import change_bundle, copy_bundle, seal, shared_bundle

from evenodd.classifier.bundle import file_digest
from evenodd.classifier.signature import PUBLIC_KEY, SIGNATURE, sign
from serving.runtime import CHOSEN, check_bundles

pytestmark = pytest.mark.attacks
Forgery = Callable[[Path], None]


def change(**values: Any) -> Forgery:
    return lambda folder: change_bundle(folder, {name.replace("__", "."): value for name, value in values.items()})


def spoil(name: str, seed: int) -> Forgery:
    """A bit changed, or the end cut off."""

    def go(folder: Path) -> None:
        dice, path = random.Random(seed), folder / name
        data = bytearray(path.read_bytes())
        if seed % 2:
            data[dice.randrange(len(data))] ^= 1 << dice.randrange(8)
        else:
            del data[dice.randrange(len(data)) :]
        path.write_bytes(data)

    return go


def write(name: str, data: bytes) -> Forgery:
    return lambda folder: (folder / name).write_bytes(data) and None


def with_digests(forge: Forgery) -> Forgery:
    """The files changed, and their digests with them."""

    def go(folder: Path) -> None:
        forge(folder)
        listed = json.loads((folder / "bundle.json").read_text())["files"]
        change_bundle(folder, {"files": {name: file_digest(folder / name) for name in listed}})

    return go


def weights(factor: float) -> Forgery:
    """Every matrix times a factor."""

    def go(folder: Path) -> None:
        model = onnx.load(str(folder / "model.onnx"))
        for tensor in model.graph.initializer:
            values = numpy_helper.to_array(tensor)
            if values.ndim == 2:
                tensor.CopyFrom(numpy_helper.from_array((values * factor).astype(values.dtype), tensor.name))
        onnx.save(model, str(folder / "model.onnx"))

    return go


def read_elsewhere(place: str) -> Forgery:
    """A graph whose weights are bytes of another file of the machine."""

    def go(folder: Path) -> None:
        model = onnx.load(str(folder / "model.onnx"))
        tensor = next(one for one in model.graph.initializer if len(one.dims) == 2)
        tensor.ClearField("raw_data")
        tensor.ClearField("float_data")
        tensor.data_location = onnx.TensorProto.EXTERNAL
        tensor.external_data.add(key="location", value=place)
        (folder / "model.onnx").write_bytes(model.SerializeToString())

    return go


def edit(name: str, old: str, new: str) -> Forgery:
    return lambda folder: (folder / name).write_text((folder / name).read_text().replace(old, new)) and None


def link(folder: Path) -> None:
    shutil.move(folder / "model.onnx", folder.parent / "elsewhere.onnx")
    (folder / "model.onnx").symlink_to(folder.parent / "elsewhere.onnx")


def other_graph(folder: Path) -> None:
    shutil.copy(shared_bundle("even") / "model.onnx", folder / "model.onnx")


def sealed(forge: Forgery) -> Forgery:
    """A whole bundle of the forger's own: digests and samples fit."""

    def go(folder: Path) -> None:
        forge(folder)
        seal(folder)

    return go


def samples(**values: Any) -> Forgery:
    def go(folder: Path) -> None:
        found = json.loads((folder / "bundle.json").read_text())["samples"]
        change_bundle(folder, {"samples": [{**one, **values} for one in found]})

    return go


FOUND_OUT: dict[str, Forgery] = {
    **{f"graph spoilt {seed}": spoil("model.onnx", seed) for seed in range(6)},
    **{f"int8 graph spoilt {seed}": spoil("model.int8.onnx", seed) for seed in range(4)},
    **{f"tokenizer spoilt {seed}": spoil("tokenizer.json", seed) for seed in range(4)},
    **{f"manifest cut {seed}": spoil("bundle.json", 2 * seed) for seed in range(3)},
    "manifest empty": write("bundle.json", b""),
    "manifest nested": write("bundle.json", b"[" * 200_000),
    "manifest of another format": change(format=2),
    "length beyond the positions": change(max_length=129),
    "length of a book": change(max_length=100_000),
    "temperature none": change(decision__temperature=0),
    "temperature not a number": change(decision__temperature=float("nan")),
    "threshold out of reach": change(decision__threshold=1.0),
    "all for review": change(decision__review=[0.0, 1.0]),
    "labels reversed": change(task__labels=["hate", "noHate"]),
    "positive swapped": change(task__positive="noHate"),
    "temperature another": change(decision__temperature=15.0),
    "weights zeroed": with_digests(weights(0.0)),
    "weights doubled": with_digests(weights(2.0)),
    "graph of another model": with_digests(other_graph),
    "words exchanged in the tokenizer": with_digests(edit("tokenizer.json", '"hate"', '"hat3"')),
    "tokenizer keeps case": with_digests(edit("tokenizer.json", '"lowercase": true', '"lowercase": false')),
    "graph outside": change(graphs__fp32="../model.onnx"),
    "graph at the root": change(graphs__fp32="/etc/passwd"),
    "graph reads outside": with_digests(read_elsewhere("../../../../../../etc/passwd")),
    "graph reads the root": with_digests(read_elsewhere("/etc/passwd")),
    "a file more": write("run_me.py", b"import os"),
    "a linked graph": link,
    "samples away": change(samples=[]),
    "samples of nobody": samples(probabilities={}),
    "samples decided otherwise": samples(decision="hate", label="noHate", score=0.5),
    "margin none": change(checked__margin=0),
    "share beyond all": change(checked__share=2),
    "signature listed": change(files__x={"sha256": "0" * 64, "bytes": 0}),
}
# Consistent in themselves: only a signature tells them.
ONLY_SIGNED: dict[str, Forgery] = {
    "card": sealed(write("card.md", b"# Perfect\n")),
    "figures": change(metrics={"test/f1_macro": 1.0}),
    "lineage": change(version="99"),
    "weights changed and sealed": sealed(weights(0.5)),
    "model exchanged and sealed": sealed(other_graph),
    "threshold moved a little": change(decision__threshold=0.52),
    "signature away": lambda folder: (folder / SIGNATURE).unlink(),
    "signature empty": write(SIGNATURE, b""),
    "signature cut": spoil(SIGNATURE, 4),
    "signature changed": spoil(SIGNATURE, 5),
    "signature of a stranger": lambda folder: resign(folder),
}


def make_key(folder: Path, name: str) -> Path:
    key = Ed25519PrivateKey.generate()
    private = folder / f"{name}.pem"
    private.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    (folder / f"{name}.public.pem").write_bytes(public)
    return private


def resign(folder: Path) -> None:
    sign(folder, (folder / "bundle.json").read_bytes(), make_key(folder.parent, "stranger"))


def starts(folder: Path, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Whether the service starts, or fails with more than a line: what it does before its first worker."""
    monkeypatch.setenv(CHOSEN, "{}")
    monkeypatch.setenv("EVENODD_GRAPH", "checked")
    monkeypatch.setenv("EVENODD_BUNDLE", str(folder))
    try:
        check_bundles()
    except (ValueError, RuntimeError) as fault:
        return "\n" in str(fault)
    return True


@pytest.fixture
def signed(tmp_path: Path) -> Path:
    folder = copy_bundle(shared_bundle("checked"), tmp_path / "bundle")
    sign(folder, (folder / "bundle.json").read_bytes(), make_key(tmp_path, "ours"))
    return folder


def test_there_are_enough_of_them(signed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And the bundle that they are made of starts."""
    assert len(FOUND_OUT) + len(ONLY_SIGNED) >= 40
    assert starts(signed, monkeypatch)
    monkeypatch.setenv(PUBLIC_KEY, str(tmp_path / "ours.public.pem"))
    assert starts(signed, monkeypatch)


@pytest.mark.parametrize("name", [*FOUND_OUT, *ONLY_SIGNED])
def test_no_forged_bundle_starts_with_a_public_key(
    name: str, signed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Digests tell damage; who wrote a bundle only a signature tells."""
    {**FOUND_OUT, **ONLY_SIGNED}[name](signed)
    monkeypatch.setenv(PUBLIC_KEY, str(tmp_path / "ours.public.pem"))
    assert not starts(signed, monkeypatch)


@pytest.mark.parametrize("name", FOUND_OUT)
def test_what_types_ranges_graph_and_samples_can_find_does_not_start(
    name: str, signed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Labels reversed, a threshold of 1 and weights of zero with digests to fit all started once."""
    FOUND_OUT[name](signed)
    assert not starts(signed, monkeypatch)
