"""A PostgreSQL server of the tests' own: private folder, private socket, no port."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

_SETTINGS = {"fsync": "off", "listen_addresses": "''", "log_min_messages": "fatal"}
_ACCOUNTS = ("postgres", "nobody")  # it refuses to run as root


def missing() -> str:
    """Why no server can be started here; empty where one can."""
    if _programs() is None:
        return "PostgreSQL is not installed (Debian: apt-get install postgresql)"
    if find_spec("psycopg") is None:
        return "psycopg is not installed (pip install 'psycopg[binary]')"
    if os.geteuid() == 0 and _open_folder() is None:
        return "no temporary folder that another account may enter, and PostgreSQL does not run as root"
    return ""


@contextmanager
def serving() -> Iterator[str]:
    """A new, empty server; yields the address of its database for SQLAlchemy."""
    programs = _programs()
    assert programs is not None
    account = next((name for name in _ACCOUNTS if _exists(name)), None) if os.geteuid() == 0 else None
    folder = Path(tempfile.mkdtemp(prefix="pg-", dir=_open_folder() if account else None))
    try:
        if account is not None:
            shutil.chown(folder, account)
        data = folder / "data"
        made = [
            programs / "initdb",
            "-D",
            data,
            "-U",
            "postgres",
            "-A",
            "trust",
            "-E",
            "UTF8",
            "--locale=C",
            "--no-sync",
        ]
        subprocess.run(made, user=account, cwd=folder, check=True, stdout=subprocess.DEVNULL)
        settings = [f"-c{name}={value}" for name, value in _SETTINGS.items()]
        options = " ".join([f"-k {folder}", *settings])
        control = [programs / "pg_ctl", "-D", data, "-w", "-s"]
        subprocess.run([*control, "-l", folder / "log", "-o", options, "start"], user=account, cwd=folder, check=True)
        try:
            yield f"postgresql://postgres@/postgres?host={folder}"
        finally:
            subprocess.run([*control, "-m", "immediate", "stop"], user=account, cwd=folder, check=True)
    finally:
        shutil.rmtree(folder)


def _programs() -> Path | None:
    """The folder of `initdb` and `pg_ctl`, which Debian puts on nobody's path."""
    found = shutil.which("initdb")
    debian = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    return Path(found).parent if found else debian[-1].parent if debian else None


def _open_folder() -> Path | None:
    folders = (Path(tempfile.gettempdir()), Path("/var/tmp"), Path("/dev/shm"))
    return next((folder for folder in folders if folder.is_dir() and _is_open(folder)), None)


def _is_open(folder: Path) -> bool:
    return all(path.stat().st_mode & 0o001 for path in (folder.resolve(), *folder.resolve().parents))


def _exists(account: str) -> bool:
    import pwd

    try:
        pwd.getpwnam(account)
    except KeyError:
        return False
    return True
