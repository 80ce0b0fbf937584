"""What models were measured to take is kept, by what shapes them, and used again."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from runner.autotune.cache import MeasurementsFile
from runner.autotune.memory import Needs, is_complete, largest
from runner.placement import Gpu, Machine
from runner.records import Allocation, Checked, Facts, Failure, Slot

VERSIONS = {"tensorflow": "2"}


@pytest.fixture
def needs(tmp_path: Path) -> Needs:
    return Needs(MeasurementsFile(tmp_path / "needs.json"), "cpu", VERSIONS)


def checked(memory_mib: float) -> Checked:
    facts = Facts(
        steps_per_epoch=1, rows=None, validation_rows=None, parameters=1, program="round", program_reason="",
        inexact="", summary="", loadable=True,
    )  # fmt: skip
    return Checked(trial_id="000", facts=facts, metrics=(), step_s=1.0, trace_s=1.0, memory_mib=memory_mib)


def trials(make_trial: Any) -> list[Any]:
    args = {"data_params": (), "model_params": ("units", "rate")}
    params = [{"units": 8, "rate": 0.1}, {"units": 8, "rate": 0.2}, {"units": 16, "rate": 0.1}]
    return [make_trial(id=f"{index:03}", params=values, **args) for index, values in enumerate(params)]


def test_models_that_differ_in_rates_alone_are_measured_once(needs: Needs, make_trial: Any) -> None:
    found = needs.of(trials(make_trial))
    assert [(need.trial.id, need.trials, need.memory_mib) for need in found] == [("000", 2, None), ("002", 1, None)]
    assert largest(found) is None
    assert not is_complete(found)


def test_a_measurement_is_found_again_for_the_same_model_device_and_versions_alone(
    needs: Needs, make_trial: Any, tmp_path: Path
) -> None:
    small, same, large = trials(make_trial)
    needs.keep(small, checked(300.0))
    needs.keep(large, checked(500.0))
    assert [need.memory_mib for need in needs.of([same, large])] == [300.0, 500.0]
    assert largest(needs.of([same, large])) == 500.0
    assert is_complete(needs.of([same, large]))
    larger_batch = replace(small, train=replace(small.train, batch_size=64))
    file = MeasurementsFile(tmp_path / "needs.json")
    for other, trial in (
        (needs, larger_batch),
        (Needs(file, "NVIDIA A10", VERSIONS), small),
        (Needs(file, "cpu", {"tensorflow": "3"}), small),
    ):
        assert other.of([trial])[0].memory_mib is None


def test_a_model_that_failed_stays_unmeasured(needs: Needs, make_trial: Any) -> None:
    (trial, *_) = trials(make_trial)
    needs.keep(trial, Failure(trial_id="000", kind="build", message="no"))
    assert needs.of([trial])[0].memory_mib is None


@pytest.mark.parametrize(("free_mib", "overhead"), [(13_600, 400), (14_000, None), (9_000, None)])
def test_the_overhead_is_what_is_gone_beside_the_limit_where_that_is_plausible(
    needs: Needs, free_mib: int, overhead: int | None
) -> None:
    gpu = Gpu(id="0", uuid="a", name="A", memory_mib=24_500, free_mib=24_000)
    before = Machine(cpus=1, memory_mib=1, gpus=(gpu,))
    during = replace(before, gpus=(replace(gpu, free_mib=free_mib),))
    slot = Slot(index=0, allocation=Allocation(num_cpus=1, num_gpus=1, gpus=("0",), gpu_memory_mib=10_000))
    needs.keep_overhead(before, during, slot)
    assert needs.overhead_mib == overhead


def test_a_file_of_nonsense_is_an_empty_one(needs: Needs, make_trial: Any, tmp_path: Path) -> None:
    (tmp_path / "needs.json").write_text("[1")
    assert needs.of(trials(make_trial))[0].memory_mib is None
