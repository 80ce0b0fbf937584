"""MLflow's tables, made once: the migrations that make them take seconds for each new sqlite store."""

from __future__ import annotations

import fcntl
import os
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

TEMPLATE = "TEST_MLFLOW_TABLES"
"""Name of the environment variable with the path of the file that has them."""


def copy_tables() -> None:
    """From now on MLflow copies its tables into a new sqlite store in this process; it makes them when there are none.

    What it does before and after, such as the default experiment, stays its own.
    """
    from mlflow.store.db import utils

    make, template = utils._initialize_tables, Path(os.environ[TEMPLATE])

    def copy(engine: Any) -> None:
        if engine.dialect.name != "sqlite":
            make(engine)
            return
        with template.with_suffix(".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not template.exists():
                make(engine)
                _copy(Path(engine.url.database), template.with_suffix(".new"))
                template.with_suffix(".new").rename(template)
                return
        _copy(template, Path(engine.url.database))

    utils._initialize_tables = copy


def _copy(one: Path, other: Path) -> None:
    with closing(sqlite3.connect(one)) as source, closing(sqlite3.connect(other)) as target:
        source.backup(target)
