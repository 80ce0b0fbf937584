"""These tests need a GPU: elsewhere each is skipped, and says why."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from runner.host.inventory import driver_version, gpus_of


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = [item for item in items if item.path.parent == Path(__file__).parent]
    if not here or gpus_of(os.environ):
        return
    reason = "no NVIDIA driver" if driver_version() is None else "the driver shows no GPU"
    for item in here:
        item.add_marker(pytest.mark.skip(reason=f"{reason}: `make test-gpu` needs an NVIDIA GPU"))
