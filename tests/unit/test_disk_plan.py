"""How much disk a sweep takes, by hand, and what is refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from runner.autotune.memory import Need
from runner.config import Config
from runner.config.schema import Keep, Tracking
from runner.driver import disk
from runner.driver.disk import check_room, lines, other_store, plan_disk
from runner.errors import PlacementError
from runner.records import EarlyStopping, Facts

MIB = 2**20
FACTS = Facts(
    steps_per_epoch=1, rows=None, validation_rows=None, parameters=1, program="round", program_reason="", inexact="",
    summary="", loadable=True, weights_bytes=100 * MIB, state_bytes=300 * MIB,
)  # fmt: skip
MODEL = 400 + 1 / 16  # MiB: weights, state, and what describes it


def prepared(make_trial: Any, trials: int = 8, slots: int = 2, needs: Any = None, schedule: Any = "queue", **keep: Any):
    trial = replace(make_trial(), member="m")
    return SimpleNamespace(
        config=Config(name="m", keep=Keep(**keep), schedule=schedule),
        trials=[trial] * trials,
        most_trials=trials,
        slots=range(slots),
        at_once=slots,
        needs=needs or (Need(trial=trial, trials=trials, memory_mib=None),),
    )


@pytest.mark.parametrize(
    ("changes", "models", "snapshots"),
    [
        ({}, 8, 2 * 2 + 2),
        ({"models": 3}, 3 + 2, 6),
        ({"models": 30}, 8, 6),
        ({"models": "none"}, 0, 6),
        ({"snapshots": True}, 8, 2 * 8 + 2),
        ({"schedule": "rotate"}, 8, 2 * 8 + 2),
        ({"trials": 1}, 1, 2 + 1),
    ],
)
def test_all_that_is_there_at_once_counts(make_trial: Any, changes: Any, models: int, snapshots: int) -> None:
    plan = plan_disk(prepared(make_trial, **changes), {"m": FACTS})
    assert (len(plan.models), plan.snapshots) == (models, snapshots)
    assert plan.total_bytes / MIB == models * MODEL + snapshots * 300


def test_a_model_that_cannot_be_loaded_is_its_weights_and_kept_best_weights_are_part_of_a_state(
    make_trial: Any,
) -> None:
    sweep = prepared(make_trial)
    assert set(plan_disk(sweep, {"m": replace(FACTS, loadable=False)}).models) == {100 * MIB}
    stopping = replace(sweep.trials[0], train=replace(sweep.trials[0].train, early_stopping=EarlyStopping()))
    sweep.needs = (Need(trial=stopping, trials=8, memory_mib=None),)
    assert plan_disk(sweep, {"m": FACTS}).snapshot_bytes == 400 * MIB


def test_models_that_were_measured_count_with_their_own_size(make_trial: Any, tmp_path: Path) -> None:
    trial = replace(make_trial(), member="m")
    known = Need(trial=trial, trials=3, memory_mib=1.0, weights_bytes=1000 * MIB, state_bytes=2000 * MIB)
    unknown = Need(trial=trial, trials=5, memory_mib=None)
    plan = plan_disk(prepared(make_trial, needs=(unknown, known), models=1), {"m": FACTS})
    assert [round(size / MIB) for size in plan.models] == [3000] * 3, "the largest ones may be the best"
    assert (plan.snapshot_bytes, plan.is_complete) == (2000 * MIB, False)
    assert "3 models × 3,000.1 MiB + 6 snapshots × 2,000.0 MiB = 21,000.2 MiB" in "".join(lines(plan, tmp_path))
    assert "plan --probe measures each" in "".join(lines(plan, tmp_path))
    both = plan_disk(prepared(make_trial, needs=(unknown, known)), {"m": FACTS})
    assert "8 models of at most 3,000.1 MiB, 11,000.5 MiB + 6 snapshots" in str(both)
    nothing = plan_disk(prepared(make_trial), {"m": replace(FACTS, weights_bytes=0, state_bytes=0)})
    assert "disk: unknown" in "".join(lines(nothing, tmp_path))


@pytest.mark.parametrize(
    ("free_mib", "keep", "refusal"),
    [
        (5001, {}, None),
        (
            5000,
            {},
            r"8 models × 400\.1 MiB \+ 6 snapshots × 300\.0 MiB = 5,000\.5 MiB > 5,000\.0 MiB free in .*=5 fits",
        ),
        (3100, {}, "keep.models=1 fits"),
        (2000, {}, "keep.models=none fits"),
        (1800, {"models": "none"}, None),
        (
            1799,
            {"models": "none"},
            r"0 models .*not even the snapshots fit; free room there, or set resources\.max",
        ),
        (5001, {"snapshots": True}, "set keep.snapshots=false"),
    ],
)
def test_what_does_not_fit_is_refused_with_the_sum_and_what_would(
    make_trial: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, free_mib: int, keep: Any, refusal: str | None
) -> None:
    monkeypatch.setattr(disk.shutil, "disk_usage", lambda _: SimpleNamespace(free=free_mib * MIB))
    sweep: Any = prepared(make_trial, **keep)
    plan = plan_disk(sweep, {"m": FACTS})
    if refusal is None:
        check_room(plan, sweep, tmp_path / "sweeps")
        return
    with pytest.raises(PlacementError, match=refusal) as refused:
        check_room(plan, sweep, tmp_path / "sweeps")
    assert refused.value.exit_code == 2
    if "=5" in refusal:
        fits: Any = prepared(make_trial, models=5)
        check_room(plan_disk(fits, {"m": FACTS}), fits, tmp_path)


def test_a_store_on_the_same_file_system_takes_no_room_and_another_one_must_have_it(
    make_trial: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = Config(name="m", tracking=Tracking(uri=f"sqlite:///{tmp_path}/store/mlflow.db"))
    assert other_store(config, tmp_path / "sweeps") is None
    assert other_store(Config(name="m", tracking=Tracking(uri="http://host")), tmp_path) is None
    shared = Path("/dev/shm")
    if not shared.is_dir() or shared.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("there is no second file system")
    elsewhere = Config(name="m", tracking=Tracking(uri=f"sqlite:///{shared}/none/mlflow.db"))
    assert other_store(elsewhere, tmp_path) == shared
    sweep = prepared(make_trial)
    sweep.config = elsewhere
    free = {tmp_path: 10_000, shared: 3000}
    monkeypatch.setattr(disk.shutil, "disk_usage", lambda folder: SimpleNamespace(free=free[folder] * MIB))
    with pytest.raises(PlacementError, match=r"copies of 8 models, 3,200\.5 MiB > 3,000\.0 MiB free in /dev/shm"):
        check_room(plan_disk(sweep, {"m": FACTS}), sweep, tmp_path)
