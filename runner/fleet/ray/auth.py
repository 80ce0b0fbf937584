"""Who may use a Ray that is started here: processes of this sweep, which know its token, and nobody else."""

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

# Names are short: sockets' paths, which have 107 characters at most, begin with them.
_PREFIX, _MARK, _RAYS = "lsr-", "made-by", "r"


# Seconds until a process of Ray's that misses its control process gives up, the driver among them, in C++ and without
# a word. Longer than a sweep takes to notice that by itself, and to end in good order.
_RECONNECT_S = 600


@contextmanager
def private_cluster(nice: int = 0) -> Iterator[dict[str, str]]:
    """A Ray that starts meanwhile takes calls with a token of its own only, and keeps its files to this user.

    The token is in the environment of Ray's processes, which other users cannot read, and in no file: Ray by itself
    would make one for all sweeps, `~/.ray/auth_token`, readable by everyone. So are its sockets and the workers' logs,
    below `/tmp/ray`: hence a folder of its own.

    Args:
        nice: added to this process' niceness for that of its workers; by itself Ray adds 15.

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
            yield {"_temp_dir": str(private / _RAYS)}  # Ray opens this one to everyone
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
        _reload()


@contextmanager
def _private_folder() -> Iterator[Path]:
    """A new folder that is locked and removed on leaving; those of drivers that were killed are removed first."""
    parent = Path(get_default_system_temp_dir())
    for left in parent.glob(f"{_PREFIX}*"):
        with _locked(left) as free:
            if free and _is_ours(left):
                shutil.rmtree(left, ignore_errors=True)
    # Under its own name once it is locked, and not before: another sweep may be looking for folders left behind.
    new = Path(tempfile.mkdtemp(prefix=f".{_PREFIX}", dir=parent))
    (new / _MARK).write_bytes(_machine())
    with _locked(new) as locked:
        private = new.rename(parent / new.name.removeprefix(".")) if locked else new
        try:
            yield private
        finally:
            shutil.rmtree(private, ignore_errors=True)  # what Ray still holds open there is gone with its processes


def _is_ours(folder: Path) -> bool:
    """Whether a sweep on this machine made the folder, and nobody has put anything else there.

    A folder of temporary files that several machines share may have locks that each of them sees alone.
    """
    try:
        names = {path.name for path in folder.iterdir()}
        return names <= {_MARK, _RAYS} and (folder / _MARK).read_bytes() == _machine()
    except OSError:  # without the mark, or another sweep that has begun at the same time has just removed it
        return False


def _machine() -> bytes:
    """This machine since it was started."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_bytes()
    except OSError:  # not Linux
        return platform.node().encode()


@contextmanager
def _locked(folder: Path) -> Iterator[bool]:
    """Locks a folder of this user's.

    Yields:
        False if it is another user's, another process has locked it, or it has been removed.
    """
    with ExitStack() as held:
        try:
            descriptor = held.enter_context(lock(folder, FOLDER | os.O_NOFOLLOW))
        except OSError:
            is_ours = False
        else:
            is_ours = os.fstat(descriptor).st_uid == os.getuid()
        yield is_ours


def _reload() -> None:
    """Ray reads mode, token and its settings from the environment once in a process."""
    Config.initialize("")
    AuthenticationTokenLoader.instance().reset_cache()
