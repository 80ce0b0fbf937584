"""A sqlite store whose folder was moved or copied: its artifacts are where it is now.

MLflow keeps absolute addresses of artifacts, as it must: a relative one would be resolved from the working directory of
whoever reads. They are therefore rewritten where a store is opened and is not where it was.
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
    """Lets a store's addresses of artifacts lead to the folder beside it, where those came along from elsewhere.

    So a copy never writes into the original's folder. What did not come along stays where it is: the file was moved
    alone, or its artifacts were never beside it.

    Args:
        file: the store, whole; no other process opens it meanwhile.
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
    """The address of the artifacts' folder that an experiment's is, or is in; None for any other place."""
    parts = location.rstrip("/").split("/")
    if not location.startswith("file:") or ARTIFACTS not in parts[-2:]:
        return None
    return "/".join(parts[: len(parts) - parts[::-1].index(ARTIFACTS)])


def _rewrite(store: sqlite3.Connection, before: str, here: Path) -> None:
    """Puts `here` in the place of `before`, in each address whose files came along."""
    below = (len(before) + 1, before + "/")
    columns = [(table, column) for table, column in _ADDRESSES if _has_column(store, table, column)]

    def is_here(address: str) -> bool:
        return (here / url2pathname(address[len(before) :].lstrip("/"))).exists()

    # Of the folder itself, and of what has no files yet, the others tell; a folder without its parent was moved.
    moved = not _path(before).parent.exists() or any(
        is_here(address)
        for table, column in columns
        for (address,) in store.execute(f"SELECT {column} FROM {table} WHERE substr({column}, 1, ?) = ?", below)
    )

    def came_along(address: str) -> bool:
        if address != before and (is_here(address) or _path(address).exists()):
            return is_here(address)
        return moved

    store.create_function("came_along", 1, came_along)
    for table, column in columns:
        store.execute(
            f"UPDATE {table} SET {column} = ? || substr({column}, ?) WHERE ({column} = ? "
            f"OR substr({column}, 1, ?) = ?) AND came_along({column})",
            (here.as_uri(), len(before) + 1, before, *below),
        )


def _has_column(store: sqlite3.Connection, table: str, column: str) -> bool:
    return store.execute("SELECT 1 FROM pragma_table_info(?) WHERE name = ?", (table, column)).fetchone() is not None


def _path(address: str) -> Path:
    return Path(url2pathname(urlsplit(address).path))


def _is_same(one: Path, other: Path) -> bool:
    return one.parent.resolve() == other.parent.resolve()
