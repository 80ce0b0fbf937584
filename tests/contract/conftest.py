"""What all contract tests have: MLflow's tables, for sweeps in this process."""

from __future__ import annotations

import pytest


@pytest.fixture(scope="session", autouse=True)
def _tables(tables: None) -> None:
    """MLflow's tables are made once: each new store takes a second of the processor otherwise."""
