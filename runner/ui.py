"""How MLflow's server is started for `ui`: for browsers of this machine, and their requests to it by name."""

from __future__ import annotations

import sys
from collections.abc import Mapping


def server_command(port: int) -> list[str]:
    """The command that serves MLflow's pages to browsers of this machine, and to them by this machine's names alone.

    MLflow's own list of hosts has `10.*` in it, and so any page at a name like `10.example.com` that an attacker lets
    point to 127.0.0.1.
    """
    names = ("127.0.0.1", "localhost")
    hosts, origins = ",".join(f"{name}:{port}" for name in names), ",".join(f"http://{name}:{port}" for name in names)
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    return [*command, "--allowed-hosts", hosts, "--cors-allowed-origins", origins]


def server_environment(store: str, inherited: Mapping[str, str]) -> dict[str, str]:
    """The environment of MLflow's server. The store is named here, as other users can read a process's arguments."""
    kept = {name: value for name, value in inherited.items() if name != "MLFLOW_SERVER_DISABLE_SECURITY_MIDDLEWARE"}
    no_jobs = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}  # they would be seven more processes
    return {**kept, **no_jobs, "MLFLOW_BACKEND_STORE_URI": store}
