"""How long calls to workers may take, and why one was lost: without Ray's processes."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import pytest

from runner.fleet.ray import postmortem
from runner.fleet.ray.fleet import RayFleet
from runner.records import Allocation, Replay, Slot, Snapshot, Trial, Work

from ray.exceptions import RayTaskError  # isort: skip


def test_what_is_sent_to_another_machine_waits_for_the_trials_restored_before_it(
    make_trial: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fleet = RayFleet([Slot(index=0, allocation=Allocation(num_cpus=1, node="other"))], address="there:1", cpus=1)
    limits: list[tuple[str, float]] = []

    def call(slot: int, name: str, *arguments: Any, limit_s: float, load: Any = ()) -> Any:
        limits.append((name, limit_s))
        return name

    def gather(calls: dict[Any, Any]) -> dict[Any, Any]:
        return {key: Path("/there/000") if name == "take" else None for key, name in calls.items()}

    monkeypatch.setattr(fleet, "_call", call)
    monkeypatch.setattr(fleet, "_gather", gather)
    fleet.restore({0: tuple(replay(make_trial(id=trial_id), tmp_path) for trial_id in ("000", "001", "002"))})
    assert limits == [
        ("take", 600.0), ("restore", 1800.0), ("take", 2400.0), ("restore", 3600.0), ("take", 4200.0),
        ("restore", 5400.0),
    ]  # fmt: skip


def replay(trial: Trial, folder: Path) -> Replay:
    state = folder / f"{trial.id}.state.npz"
    state.write_bytes(b"s")
    snapshot = Snapshot(trial_id=trial.id, round=0, step=1, state=state)
    return Replay(trial=trial, snapshot=snapshot, orders=(Work(trial=trial, round=1), Work(trial=trial, round=2)))


@pytest.mark.parametrize(
    ("number", "of_space"),
    [(errno.ENOSPC, True), (errno.EDQUOT, True), (errno.EROFS, True), (errno.EACCES, False)],
)
def test_a_full_disk_of_another_machine_is_no_failure_of_the_trials_own(number: int, of_space: bool) -> None:
    raised = OSError(number, os.strerror(number), "/tmp/lsr-worker-1")
    err = RayTaskError("take", "Traceback", raised)
    assert postmortem.explain(err, None, None, limited=False).of_space == of_space
    assert postmortem.explain(err.as_instanceof_cause(), None, None, limited=False).of_space == of_space
