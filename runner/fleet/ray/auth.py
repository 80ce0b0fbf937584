"""Restricts a local Ray cluster to the processes of its sweep by a token and a private folder."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from ray._common.utils import get_default_system_temp_dir
from ray._raylet import AuthenticationTokenLoader, Config  # type: ignore[attr-defined]  # not in its type stub

from runner.host.environment import variables
from runner.host.private_folder import private_folder

_PREFIX, _RAYS = "lsr-", "r"

# Seconds until Ray's processes, the driver among them, abort without a message after they lost the control process.
# Longer than a sweep needs to notice the loss itself and to end cleanly.
_RECONNECT_S = 600


@contextmanager
def private_cluster(nice: int = 0) -> Iterator[dict[str, str]]:
    """Makes a Ray that starts inside of it accept only calls with a new token, and keep its files in a private folder.

    The token is in the environment of Ray's processes, which other users cannot read, and in no file. By default Ray
    makes one for all sweeps, `~/.ray/auth_token`, which everyone can read. Everyone can also read its sockets and the
    workers' logs below `/tmp/ray`, which is the reason for the private folder.

    Args:
        nice: niceness of the workers relative to this process; Ray's default is 15.

    Yields:
        Options for `ray.init`.

    Source: ray 2.60, `ray/_private/authentication/authentication_token_setup.py`.
    """
    own = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
    own |= {"RAY_worker_niceness": str(nice), "RAY_gcs_rpc_server_reconnect_timeout_s": str(_RECONNECT_S)}
    try:
        with variables(own):
            _reload()
            with _private_folder() as private:
                yield {"_temp_dir": str(private / _RAYS)}  # Ray makes this folder readable by everyone
    finally:
        _reload()


def _private_folder() -> AbstractContextManager[Path]:
    """A new folder for Ray's files; those that killed drivers left behind are removed first."""
    return private_folder(Path(get_default_system_temp_dir()), _PREFIX, [_RAYS])


def _reload() -> None:
    """Has Ray read mode, token and settings from the environment again, which it does only once in a process."""
    Config.initialize("")
    AuthenticationTokenLoader.instance().reset_cache()
