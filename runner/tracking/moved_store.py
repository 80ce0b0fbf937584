"""Corrects the artifact locations in a sqlite store whose folder was moved or copied.

MLflow stores absolute locations, because each reader would resolve a relative one from its own working directory. They
are rewritten when a store is opened in another folder than before.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

from runner.tracking.addresses import ARTIFACTS

_ADDRESSES = (
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("logged_models", "artifact_location"),
    ("model_versions", "source"),
    ("model_versions", "storage_location"),
)


def relocate_artifacts(file: Path) -> None:
    """Points a store's artifact locations to the folder beside it, for artifacts that were moved or copied with it.

    So a copy never writes into the original's folder. Other locations do not change: the store's file may have been
    moved alone, or its artifacts may never have been beside it.

    Args:
        file: the store, with all its tables; no other process may open it meanwhile.
    """
    here = file.parent / ARTIFACTS
    with closing(sqlite3.connect(file, timeout=20.0)) as store:
        found = store.execute("SELECT DISTINCT artifact_location FROM experiments").fetchall()
        places = {place for (location,) in found if (place := _beside_a_store(location or "")) is not None}
        for place in sorted(places):
            if not _is_same(_path(place), here):
                with store:
                    _rewrite(store, place, here)


def _beside_a_store(location: str) -> str | None:
    """The `mlartifacts` folder that an experiment's location is or lies in, as an address; None if there is none."""
    parts = location.rstrip("/").split("/")
    if not location.startswith("file:") or ARTIFACTS not in parts[-2:]:
        return None
    return "/".join(parts[: len(parts) - parts[::-1].index(ARTIFACTS)])


def _rewrite(store: sqlite3.Connection, before: str, here: Path) -> None:
    """Replaces `before` by `here` in each address whose files were moved or copied along."""
    below = (len(before) + 1, before + "/")
    columns = [(table, column) for table, column in _ADDRESSES if _has_column(store, table, column)]

    def is_here(address: str) -> bool:
        return (here / url2pathname(address[len(before) :].lstrip("/"))).exists()

    # Addresses without files of their own follow the others. If the old parent folder is gone, everything was moved.
    moved = not _path(before).parent.exists() or any(
        is_here(address)
        for table, column in columns
        for (address,) in store.execute(f"SELECT {column} FROM {table} WHERE substr({column}, 1, ?) = ?", below)
    )

    def is_relocated(address: str) -> bool:
        if address != before and (is_here(address) or _path(address).exists()):
            return is_here(address)
        return moved

    store.create_function("is_relocated", 1, is_relocated)
    for table, column in columns:
        store.execute(
            f"UPDATE {table} SET {column} = ? || substr({column}, ?) WHERE ({column} = ? "
            f"OR substr({column}, 1, ?) = ?) AND is_relocated({column})",
            (here.as_uri(), len(before) + 1, before, *below),
        )


def _has_column(store: sqlite3.Connection, table: str, column: str) -> bool:
    return store.execute("SELECT 1 FROM pragma_table_info(?) WHERE name = ?", (table, column)).fetchone() is not None


def _path(address: str) -> Path:
    return Path(url2pathname(urlsplit(address).path))


def _is_same(one: Path, other: Path) -> bool:
    return one.parent.resolve() == other.parent.resolve()
