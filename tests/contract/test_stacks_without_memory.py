"""A stack that is beyond its worker's memory, in a sweep that starts a Ray of its own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from test_out_of_memory import WIDE

import runner
from runner.journal import JournalReader


@pytest.mark.ray
@pytest.mark.slow
def test_a_stack_beyond_its_limit_is_halved_until_it_fits(tmp_path: Path, monkeypatch: Any) -> None:
    """XLA crashes on a CPU that has no memory for it, so that the size is found at the check."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "wide.py").write_text(
        WIDE.replace("units=1", "units=500, rate=0.01").replace('"adam"', "keras.optimizers.Adam(rate)")
    )
    found = runner.sweep(
        "wide.py", space={"rate": "loguniform(1e-4, 1e-2)"}, search={"max_trials": 8, "sampler": "random"},
        train={"epochs": 2, "batch_size": 8}, resources={"stack": 8, "max_concurrent": 1, "memory_mib": 400},
    )  # fmt: skip
    assert (found.trials["status"] == "complete").all()
    with JournalReader(found.folder) as reader:
        sizes = {record.trial.train.stack for record in reader.trials()}
    assert max(sizes) <= 4
