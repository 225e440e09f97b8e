"""A served process for tests: `bentoml serve` on a free port, its log in a file, stopped by its id."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx

ROOT = Path(__file__).parent.parent


@dataclass
class Served:
    """A running service."""

    process: subprocess.Popen[bytes]
    url: str
    port: int
    log_file: Path

    @property
    def log(self) -> str:
        return self.log_file.read_text(encoding="utf-8", errors="replace")

    def wait_ready(self, seconds: float = 90, path: str = "/readyz") -> None:
        """Until it answers; fails with the log when the process ends or time is up."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if self.process.poll() is not None:
                raise RuntimeError(f"the service ended with {self.process.returncode}:\n{self.log}")
            with contextlib.suppress(httpx.HTTPError):
                if httpx.get(f"{self.url}{path}", timeout=5).status_code == 200:
                    return
            time.sleep(0.1)
        raise RuntimeError(f"not ready within {seconds} s:\n{self.log}")

    def stop(self) -> int:
        """SIGTERM, and the exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.process.wait(60)


@contextlib.contextmanager
def serve(folder: Path, log_file: Path, *, target: str = "serving.service:EvenOdd", **environ: str) -> Iterator[Served]:
    """Serve a target from a folder, on a free port, until the block ends."""
    port = free_port()
    command = [sys.executable, "-m", "bentoml", "serve", target, "--host", "127.0.0.1", "--port", str(port)]
    settings = {**os.environ, "BENTOML_DO_NOT_TRACK": "True", "HF_HUB_OFFLINE": "1", **environ}
    with started(command, port, folder, log_file, settings) as served:
        yield served


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def started(command: list[str], port: int, folder: Path, log_file: Path, environ: dict[str, str]) -> Iterator[Served]:
    """Runs the command of a server in a folder until the block ends."""
    with log_file.open("wb") as output:
        process = subprocess.Popen(command, cwd=folder, env=environ, stdout=output, stderr=subprocess.STDOUT)
    served = Served(process, f"http://127.0.0.1:{port}", port, log_file)
    try:
        yield served
    finally:
        with contextlib.suppress(subprocess.TimeoutExpired):
            served.stop()
        if process.poll() is None:
            process.kill()
            process.wait(10)
