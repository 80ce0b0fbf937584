"""A short selection of the fault suite, and its own parts; `make faults` runs all of it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest
from faults.injection import POINTS, Injection
from faults.outcome import Outcome, compare

TESTS = Path(__file__).parents[1]
SELECTION = (
    "driver killed before commit",
    "driver killed after commit",
    "driver killed between metrics and tags",
    "driver killed mid-snapshot",
    "driver killed while flushing",
    "driver killed between a decision and its act",
    "driver killed while an order waits",
    "snapshot with a flipped bit",
)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_selection_of_faults_loses_doubles_and_changes_nothing(tmp_path: Path) -> None:
    results = tmp_path / "results.jsonl"
    command = [sys.executable, "-m", "faults", "--quick", "--results", str(results), *SELECTION]
    environment = {**os.environ, "PYTHONPATH": str(TESTS)}
    ended = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr[-4000:]
    tries = [json.loads(line) for line in results.read_text(encoding="utf-8").splitlines()]
    assert [made["fault"] for made in tries] == list(SELECTION)
    assert all(made["struck"] for made in tries)


@pytest.mark.parametrize("point", POINTS)
def test_a_fault_strikes_at_a_seam_that_there_is(point: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TMPDIR", os.environ.get("TMPDIR", tempfile.gettempdir()))  # one of them sets both
    monkeypatch.setattr(tempfile, "tempdir", tempfile.gettempdir())
    for seed in range(20):  # which decides between several seams
        with ExitStack() as patches:
            POINTS[point](Injection(point=point, number=1, seed=seed, kind=str(tmp_path)), patches)


A, B = b"a" * 8, b"b" * 8
WHOLE = Outcome(
    journal={("000", "loss", 1): A, ("001", "loss", 1): B},
    mlflow={("000", "loss", 1): [A], ("001", "loss", 1): [B]},
    ends={"": ("complete",), "000": ("complete", "", 1, ((0, 8, 1),)), "001": ("complete", "", 1, ((0, 8, 1),))},
    runs={"": [("FINISHED", ())], "000": [("FINISHED", (("exact", "true"),))], "001": [("FINISHED", ())]},
    weights={"000": "w", "001": "v"},
)


def test_an_undisturbed_outcome_is_as_wanted() -> None:
    found = compare(WHOLE, WHOLE, ())
    assert (found.lost, found.doubled, found.siblings, found.differences) == (0, 0, (), ())


def test_every_kind_of_difference_is_found() -> None:
    lost = replace(WHOLE, mlflow={("001", "loss", 1): [B]})
    assert compare(WHOLE, lost, ()).lost == 1
    assert compare(WHOLE, replace(lost, journal={}), ()).lost == 3
    doubled = replace(WHOLE, mlflow={**WHOLE.mlflow, ("000", "loss", 1): [A, A]})
    assert compare(WHOLE, doubled, ()).doubled == 1
    assert compare(replace(WHOLE, journal={("000", "loss", 1): A}), WHOLE, ()).doubled == 1
    other_runs = {**WHOLE.runs, "000": [("FINISHED", ())]}
    for change in (
        {"journal": {**WHOLE.journal, ("000", "loss", 1): B}},
        {"mlflow": {**WHOLE.mlflow, ("000", "loss", 1): [B]}},
        {"ends": {**WHOLE.ends, "000": ("stopped", "", 1, ((0, 8, 1),))}},
        {"runs": other_runs},
        {"weights": {**WHOLE.weights, "000": "x"}},
    ):
        found = compare(WHOLE, replace(WHOLE, **change), {"000"})
        assert found.siblings == ()
        assert len(found.differences) == 1, change
        assert compare(WHOLE, replace(WHOLE, **change), {"001"}).siblings == ("000",)
    assert compare(WHOLE, replace(WHOLE, damaged=("journal.db",)), ()).differences == ("journal.db is damaged",)
