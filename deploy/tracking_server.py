"""Starts MLflow's server with users of its own, and passwords out of files: they stand in no command line."""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import quote

SECRETS = Path("/run/secrets")


def database(password: str, name: str = "mlflow") -> str:
    """Address of MLflow's database; the password may hold any character."""
    return f"postgresql://{name}:{quote(password, safe='')}@database/{name}"


def auth_settings(address: str) -> str:
    """MLflow's file on users. A percent sign is doubled, as the file is read with interpolation."""
    lines = {
        "default_permission": "READ",
        "database_uri": address,
        "admin_username": "admin",
        "authorization_function": "mlflow.server.auth:authenticate_request_basic_auth",
    }
    return "[mlflow]\n" + "".join(f"{name} = {value.replace('%', '%%')}\n" for name, value in lines.items())


def main() -> None:
    """Replaces this process by the server."""
    read = {name: (SECRETS / name).read_text().strip() for name in ("mlflow-database", "mlflow-admin")}
    address = database(read["mlflow-database"])
    file = Path("/tmp/auth.ini")
    file.touch(mode=0o600)
    file.write_text(auth_settings(address))
    os.environ["MLFLOW_AUTH_CONFIG_PATH"] = str(file)
    os.environ["MLFLOW_AUTH_ADMIN_PASSWORD"] = read["mlflow-admin"]
    os.environ["MLFLOW_BACKEND_STORE_URI"] = address
    os.environ.setdefault("MLFLOW_FLASK_SERVER_SECRET_KEY", os.urandom(32).hex())
    given = ["--host", "0.0.0.0", "--port", "5000", "--artifacts-destination", "/artifacts", "--serve-artifacts"]
    os.execvp("mlflow", ["mlflow", "server", "--app-name", "basic-auth", *given])


if __name__ == "__main__":
    main()
