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

from runner.tracking.stores import ARTIFACTS

_ADDRESSES = (
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("logged_models", "artifact_location"),
    ("model_versions", "source"),
    ("model_versions", "storage_location"),
)


def bring_artifacts_along(file: Path) -> None:
    """Lets a store's addresses of artifacts lead to the folder beside it, where they led to one beside it elsewhere.

    So a copy never writes into the original's folder.

    Args:
        file: the store, whole; nobody else opens it meanwhile.
    """
    here = file.parent / ARTIFACTS
    with closing(sqlite3.connect(file, timeout=20.0)) as store:
        found = store.execute("SELECT DISTINCT artifact_location FROM experiments").fetchall()
        places = {place for (location,) in found if (place := _beside_a_store(location or "")) is not None}
        for place in sorted(places):
            if not _is_same(_path(place), here):
                with store:
                    _rewrite(store, place, here.as_uri())


def _beside_a_store(location: str) -> str | None:
    """The address of the artifacts' folder that an experiment's is, or is in; None for any other place."""
    parts = location.rstrip("/").split("/")
    if not location.startswith("file:") or ARTIFACTS not in parts[-2:]:
        return None
    return "/".join(parts[: len(parts) - parts[::-1].index(ARTIFACTS)])


def _rewrite(store: sqlite3.Connection, before: str, after: str) -> None:
    for table, column in _ADDRESSES:
        if store.execute("SELECT 1 FROM pragma_table_info(?) WHERE name = ?", (table, column)).fetchone():
            store.execute(
                f"UPDATE {table} SET {column} = ? || substr({column}, ?) WHERE {column} = ? "
                f"OR substr({column}, 1, ?) = ?",
                (after, len(before) + 1, before, len(before) + 1, before + "/"),
            )


def _path(address: str) -> Path:
    return Path(url2pathname(urlsplit(address).path))


def _is_same(one: Path, other: Path) -> bool:
    return one.parent.resolve() == other.parent.resolve()
