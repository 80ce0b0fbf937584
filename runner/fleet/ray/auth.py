"""Restricts a local Ray cluster to the processes of its sweep by a token and a private folder."""

from __future__ import annotations

import os
import platform
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from ray._common.utils import get_default_system_temp_dir
from ray._raylet import AuthenticationTokenLoader, Config  # type: ignore[attr-defined]  # not in its type stub

from runner.locks import FOLDER, lock

# Short, because the paths of sockets begin with them and have at most 107 characters.
_PREFIX, _MARK, _RAYS = "lsr-", "made-by", "r"

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
    before = {name: os.environ.get(name) for name in own}
    os.environ.update(own)
    _reload()
    try:
        with _private_folder() as private:
            yield {"_temp_dir": str(private / _RAYS)}  # Ray makes this folder readable by everyone
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
        _reload()


@contextmanager
def _private_folder() -> Iterator[Path]:
    """A new locked folder, which is removed at the end; removes folders that killed drivers left behind first."""
    parent = Path(get_default_system_temp_dir())
    for left in parent.glob(f"{_PREFIX}*"):
        with _locked(left) as free:
            if free and _is_ours(left):
                shutil.rmtree(left, ignore_errors=True)
    # Gets its final name only once it is locked, because another sweep may be removing folders left behind.
    new = Path(tempfile.mkdtemp(prefix=f".{_PREFIX}", dir=parent))
    (new / _MARK).write_bytes(_machine())
    with _locked(new) as locked:
        private = new.rename(parent / new.name.removeprefix(".")) if locked else new
        try:
            yield private
        finally:
            shutil.rmtree(private, ignore_errors=True)  # files that Ray has open go with its processes


def _is_ours(folder: Path) -> bool:
    """Whether a sweep on this machine made the folder and it has no other files.

    Machines that share a folder for temporary files may not see each other's locks.
    """
    try:
        names = {path.name for path in folder.iterdir()}
        return names <= {_MARK, _RAYS} and (folder / _MARK).read_bytes() == _machine()
    except OSError:  # no mark, or another sweep has just removed the folder
        return False


def _machine() -> bytes:
    """Identifies this machine since its last boot."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_bytes()
    except OSError:  # not Linux
        return platform.node().encode()


@contextmanager
def _locked(folder: Path) -> Iterator[bool]:
    """Locks a folder until the context or this process ends; yields whether it could.

    False if another user owns the folder, another process has locked it, or it has been removed.
    """
    with ExitStack() as closing:
        try:
            descriptor = closing.enter_context(lock(folder, FOLDER | os.O_NOFOLLOW))
        except OSError:
            is_ours = False
        else:
            is_ours = os.fstat(descriptor).st_uid == os.getuid()
        yield is_ours


def _reload() -> None:
    """Has Ray read mode, token and settings from the environment again, which it does only once in a process."""
    Config.initialize("")
    AuthenticationTokenLoader.instance().reset_cache()
