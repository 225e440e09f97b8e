"""The container image: built by deploy/image.sh, small, unprivileged, and answering.

Needs docker, podman or buildah. The base is the one that deploy/Dockerfile names, where its registry can be reached;
for buildah it is otherwise made of Debian's packages, where `debootstrap` is there.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from serving_bundle import copy_bundle, shared_bundle
from serving_process import Served

from evenodd.flow.package import stage_service

pytestmark = [pytest.mark.container, pytest.mark.slow, pytest.mark.timeout(1500)]

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
BASE = "docker.io/library/python:3.11-slim"
DEBIAN_SUITE, DEBIAN_PACKAGES = "bookworm", "python3,python3-venv,ca-certificates"
MOST_MB = 400
BUILD = """
import sys
from pathlib import Path
from evenodd.flow.package import build_bento
print("TAG", build_bento(Path(sys.argv[1]), [{"variant": "odd", "version": 1, "run_id": "0", "data": {}}]))
"""
LOOK = """
import json, os, shutil, sys
from importlib.metadata import distributions
print(json.dumps({
    "uid": os.getuid(),
    "packages": sorted({d.metadata["Name"].lower() for d in distributions()}),
    "tools": [tool for tool in ("gcc", "cc", "g++", "make", "git", "pip") if shutil.which(tool)],
    "writable": [path for path in ("/opt/bento", "/opt/service", "/usr", "/etc") if os.access(path, os.W_OK)],
}))
"""


def call(*command: str, **environ: str) -> str:
    """Standard output of a command; fails with all it said."""
    found = subprocess.run(command, env={**os.environ, **environ}, capture_output=True, text=True, check=False)
    assert found.returncode == 0, f"{' '.join(command)}\n{found.stdout[-3000:]}\n{found.stderr[-3000:]}"
    return found.stdout


@dataclass(frozen=True)
class Image:
    """A built image, the one it stands on, and the tool that made both."""

    builder: str
    name: str
    base: str

    @property
    def config(self) -> dict[str, Any]:
        """What the image says about how it runs."""
        shown = json.loads(call(self.builder, "inspect", "--type", "image", self.name))
        return dict(shown["Docker"]["config"] if self.builder == "buildah" else shown[0]["Config"])

    def megabytes(self, name: str) -> float:
        """Size of an image, not compressed."""
        if self.builder != "buildah":
            return float(json.loads(call(self.builder, "inspect", "--type", "image", name))[0]["Size"]) / 1e6
        made = call("buildah", "from", name).strip()
        try:
            return float(call("du", "--summarize", "--bytes", call("buildah", "mount", made).strip()).split()[0]) / 1e6
        finally:
            call("buildah", "rm", made)

    @contextlib.contextmanager
    def container(self) -> Iterator[list[str]]:
        """How to run a command as the image's user, with a root that cannot be written where the tool offers that."""
        if self.builder != "buildah":
            yield [self.builder, "run", "--rm", "--network", "host", "--read-only", "--tmpfs", "/tmp", "--entrypoint"]
            return
        made = call("buildah", "from", self.name).strip()
        try:
            yield ["buildah", "run", "--isolation", os.environ.get("BUILDAH_ISOLATION", "chroot"), made, "--"]
        finally:
            call("buildah", "rm", made)

    def command(self, container: list[str], *words: str) -> list[str]:
        """One command line for the container."""
        if self.builder == "buildah":
            return [*container, *words]
        return [*container, words[0], self.name, *words[1:]]


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Image]:
    """The CPU image of a Bento with a tiny model."""
    builder = working_builder()
    work = tmp_path_factory.mktemp("image")
    base = find_base(builder, work)
    stage = work / "stage"
    stage_service(stage, {})
    copy_bundle(shared_bundle("checked"), stage / "serving" / "bundles" / "00-odd")
    environ = {
        "BENTOML_HOME": str(work / "home"),
        "BENTOML_DO_NOT_TRACK": "True",
        "PYTHONPATH": str(ROOT),
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "BUILDER": builder,
        "PYTHON_IMAGE": base,
    }
    built = call(sys.executable, "-c", BUILD, str(stage), **environ)
    tag = re.search(r"TAG (\S+)", built)
    assert tag is not None
    name = call("sh", str(DEPLOY / "image.sh"), tag.group(1), "cpu", **environ).split()[-1]
    yield Image(builder, name, base)
    for made in [name] if base == BASE else [name, base]:
        subprocess.run([builder, "rmi", made], capture_output=True, check=False)


def working_builder() -> str:
    for name in ("docker", "podman", "buildah"):
        if shutil.which(name) and subprocess.run([name, "info"], capture_output=True, check=False).returncode == 0:
            return name
    pytest.skip("neither docker nor podman nor buildah works here (no daemon, or no permission)")


def find_base(builder: str, work: Path) -> str:
    """The base image of the Dockerfile, or one of Debian's packages."""
    if subprocess.run([builder, "pull", BASE], capture_output=True, check=False).returncode == 0:
        return BASE
    if builder != "buildah" or shutil.which("debootstrap") is None or os.getuid() != 0:
        pytest.skip(f"{BASE} cannot be pulled, and only root with buildah and debootstrap can make another")
    root = work / "root"
    command = ["debootstrap", "--variant=minbase", f"--include={DEBIAN_PACKAGES}", DEBIAN_SUITE, str(root)]
    found = subprocess.run([*command, *debian_mirror()], capture_output=True, text=True, check=False)
    if found.returncode:
        pytest.skip(f"neither {BASE} nor Debian's packages can be had: {(found.stdout + found.stderr).strip()[-200:]}")
    made = call("buildah", "from", "scratch").strip()
    (root / "usr" / "bin" / "python").symlink_to("python3")
    call("buildah", "add", "--quiet", made, str(root), "/")
    call("buildah", "config", "--env", "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", made)
    name = "localhost/evenodd-test-base"
    call("buildah", "commit", "--quiet", "--rm", made, name)
    shutil.rmtree(root)
    return name


def debian_mirror() -> list[str]:
    """The mirror that apt uses here; none: debootstrap's own."""
    if shutil.which("apt-get") is None:
        return []
    sites = call("apt-get", "indextargets", "--format", "$(SITE) $(RELEASE)", "Created-By: Packages").splitlines()
    return [site for site, _, suite in (line.partition(" ") for line in sites) if suite == DEBIAN_SUITE][:1]


def test_image_holds_the_service_and_nothing_else(image: Image) -> None:
    """A compiler, the training packages or a writable program are what an intruder or a bill finds first."""
    with image.container() as container:
        seen = json.loads(call(*image.command(container, "python", "-c", LOOK)).splitlines()[-1])
    assert seen["uid"] == 10001
    assert seen["tools"] == []
    assert seen["writable"] == []
    assert {"bentoml", "onnxruntime", "tokenizers", "numpy", "uvloop", "httptools"} <= set(seen["packages"])
    forbidden = {"torch", "transformers", "mlflow", "onnxruntime-gpu", "pip", "setuptools", "evenodd"}
    assert not forbidden & set(seen["packages"])


def test_image_is_small(image: Image) -> None:
    """Every new machine pulls it before it answers."""
    if image.builder == "buildah" and os.getuid() != 0:
        pytest.skip("only root can mount an image with buildah")
    added = image.megabytes(image.name) - image.megabytes(image.base)
    print(f"the image adds {added:.0f} MB to its base")
    assert 50 < added < MOST_MB


def test_image_says_how_it_is_run_and_watched(image: Image) -> None:
    """An orchestrator reads these, not the README."""
    config = image.config
    assert config["User"] == "10001:10001"
    assert "3000/tcp" in config["ExposedPorts"]
    assert "/readyz" in " ".join(config["Healthcheck"]["Test"])
    assert config["Entrypoint"][:3] == ["bentoml", "serve", "/opt/bento"]


def test_image_starts_answers_and_stops(image: Image, tmp_path: Path) -> None:
    """Its own entry point, as its own user: a missing library or a path that only root may write shows here alone."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    log = tmp_path / "log"
    with image.container() as container, log.open("wb") as output:
        entry = image.command(container, *image.config["Entrypoint"], "--port", str(port))
        process = subprocess.Popen(entry, stdout=output, stderr=subprocess.STDOUT, start_new_session=True)
        served = Served(process, f"http://127.0.0.1:{port}", port, log)
        try:
            served.wait_ready(180)
            answer = httpx.post(f"{served.url}/classify", json={"texts": ["i hate you", "sun and rain " * 300]}).json()
            assert [result["label"] for result in answer["results"]]
            assert answer["model"]["variant"] == "odd"
            assert httpx.get(f"{served.url}/info").json()["provider"] == "cpu"
            assert "text/html" in httpx.get(served.url).headers["content-type"]
            assert "evenodd_decisions_total" in httpx.get(f"{served.url}/metrics").text
            check = subprocess.run(
                image.command(container, *health_check(image, port)), capture_output=True, text=True, check=False
            )
            assert check.returncode == 0, check.stderr
        finally:
            stop(process)
        with pytest.raises(httpx.HTTPError):
            httpx.get(f"{served.url}/readyz", timeout=2)
    assert "Traceback" not in served.log


def stop(process: subprocess.Popen[bytes]) -> None:
    """SIGTERM to the service, as an orchestrator sends it to the first process of a container."""
    started = psutil.Process(process.pid).children(recursive=True)
    service = next(filter(_serves, started), psutil.Process(process.pid))
    service.terminate()
    try:
        process.wait(30)
    finally:
        for left in [*started, psutil.Process(process.pid)] if process.poll() is None else started:
            with contextlib.suppress(psutil.NoSuchProcess):
                left.kill()


def _serves(process: psutil.Process) -> bool:
    with contextlib.suppress(psutil.Error):
        return "/opt/bento" in process.cmdline()[1:]
    return False


def health_check(image: Image, port: int) -> list[str]:
    """The image's own check, on another port."""
    words = list(image.config["Healthcheck"]["Test"])
    assert words[0] == "CMD"
    return [word.replace(":3000/", f":{port}/") for word in words[1:]]
