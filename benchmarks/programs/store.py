"""What a contestant of W7 has left in its MLflow store, read from the database: the same work for all."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any


def read(file: Path) -> dict[str, Any]:
    """`accuracies`: of each trial the last validation accuracy; `metric_rows`: epochs with one, of all trials."""
    with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as database:
        accuracies = database.execute("SELECT value FROM latest_metrics WHERE key = 'val_accuracy'").fetchall()
        (rows,) = database.execute("SELECT count(*) FROM metrics WHERE key = 'val_accuracy'").fetchone()
    return {"accuracies": [value for (value,) in accuracies], "metric_rows": rows}
