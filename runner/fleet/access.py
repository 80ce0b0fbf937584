"""Who may use a Ray that is started here: processes of this sweep, which know its token, and nobody else."""

from __future__ import annotations

import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

from ray._common.utils import get_default_system_temp_dir
from ray._raylet import AuthenticationTokenLoader, Config  # type: ignore[attr-defined]  # not in its type stub


@contextmanager
def private_cluster() -> Iterator[dict[str, str]]:
    """A Ray that starts meanwhile takes calls with a token of its own only, and keeps its files to this user.

    The token is in the environment of Ray's processes, which other users cannot read, and in no file: Ray by itself
    would make one for all sweeps, `~/.ray/auth_token`, readable by everyone. So are its sockets and the workers' logs,
    below `/tmp/ray`.

    Yields:
        Options for `ray.init`.

    Source: ray 2.60, `ray/_private/authentication/authentication_token_setup.py`.
    """
    own = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
    before = {name: os.environ.get(name) for name in own}
    os.environ.update(own)
    _reload()
    private = tempfile.mkdtemp(prefix="ray-", dir=get_default_system_temp_dir())
    try:
        yield {"_temp_dir": f"{private}/r"}  # Ray opens this one to everyone; short, as sockets allow 107 characters
    finally:
        shutil.rmtree(private, ignore_errors=True)  # what Ray still holds open there is gone with its processes
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
        _reload()


def _reload() -> None:
    """Ray reads mode and token from the environment once in a process."""
    Config.initialize("")
    AuthenticationTokenLoader.instance().reset_cache()
