"""MLflow's tables, made once: the migrations that make them take seconds for each new sqlite store."""

from __future__ import annotations

import fcntl
import os
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

TEMPLATE = "TEST_MLFLOW_TABLES"
"""Name of the environment variable with the path of the file of SQL that makes them at once."""


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
                with closing(sqlite3.connect(engine.url.database)) as store:
                    template.with_suffix(".new").write_text("\n".join(store.iterdump()), encoding="utf-8")
                template.with_suffix(".new").rename(template)
                return
        with closing(sqlite3.connect(engine.url.database)) as store:
            store.executescript(template.read_text(encoding="utf-8"))

    utils._initialize_tables = copy
