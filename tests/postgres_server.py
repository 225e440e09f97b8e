"""Debian's PostgreSQL for tests: a separate server on a Unix socket, stopped at the end."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def postgres_server() -> Iterator[str]:
    """Folder of the socket; the user is `evenodd`, the database `postgres`, and no password is asked for."""
    programs = sorted(Path("/usr/lib/postgresql").glob("*/bin"))[-1]
    with tempfile.TemporaryDirectory(prefix="evenodd-pg-") as name:
        user = ["runuser", "-u", "postgres", "--"] if os.getuid() == 0 else []
        if user:
            shutil.chown(name, "postgres")
        options = f"-c listen_addresses='' -c unix_socket_directories='{name}'"
        control = [*user, programs / "pg_ctl", "-D", f"{name}/data"]
        subprocess.run(
            [*user, programs / "initdb", "-D", f"{name}/data", "-A", "trust", "-U", "evenodd"], check=True, cwd=name
        )
        subprocess.run([*control, "-o", options, "-w", "-l", f"{name}/log", "start"], check=True, cwd=name)
        try:
            yield name
        finally:
            subprocess.run([*control, "-m", "fast", "stop"], check=True, cwd=name)
