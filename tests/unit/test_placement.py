"""Shares that fit, and refusals with a true sum."""

from __future__ import annotations

import pytest

from runner.errors import PlacementError
from runner.placement import Gpu, Machine, Request, plan_slots

TWO_CORES = Machine(cpus=2, memory_mib=24_000)
ONE_GPU = Machine(cpus=8, memory_mib=64_000, gpus=(Gpu(index=0, name="A", memory_mib=24_000),))


def test_a_cpu_machine_gives_one_core_to_each_model() -> None:
    slots = plan_slots(Request(), TWO_CORES, trials=8)
    assert [slot.index for slot in slots] == [0, 1]
    assert (slots[0].allocation.num_cpus, slots[0].allocation.threads) == (1.0, 1)
    assert slots[0].allocation.gpu_memory_mib is None


def test_there_are_no_more_slots_than_trials() -> None:
    assert len(plan_slots(Request(), TWO_CORES, trials=1)) == 1


def test_the_share_does_not_depend_on_the_number_of_trials() -> None:
    alone, many = plan_slots(Request(), TWO_CORES, 1)[0], plan_slots(Request(), TWO_CORES, 50)[0]
    assert alone.allocation == many.allocation


def test_more_models_than_cores_share_them() -> None:
    slots = plan_slots(Request(max_concurrent=3), TWO_CORES, trials=3)
    assert len(slots) == 3
    assert slots[0].allocation.num_cpus == 0.66
    assert slots[0].allocation.threads == 1


def test_a_third_of_a_gpu_is_a_third_of_its_memory() -> None:
    slots = plan_slots(Request(num_gpus=0.33), ONE_GPU, trials=9)
    assert len(slots) == 3
    assert slots[0].allocation.num_gpus == 0.33
    assert slots[0].allocation.gpu_memory_mib == 7920


def test_no_gpu_share_means_no_gpu() -> None:
    assert plan_slots(Request(num_gpus=0), ONE_GPU, 1)[0].allocation.num_gpus == 0


@pytest.mark.parametrize(
    ("request_", "machine", "message"),
    [
        (Request(num_cpus=1.0, max_concurrent=3), TWO_CORES, r"3 × 1 CPUs = 3 > 2 CPUs .*num_cpus to 0.66 or .*=2"),
        (Request(num_gpus=0.5), TWO_CORES, "0.5 asked, no GPU found"),
        (Request(num_gpus=2.0), ONE_GPU, "2 asked, 1 found"),
        (Request(num_gpus=0.33, max_concurrent=4), ONE_GPU, r"4 × 0.33 GPUs do not fit on 1 GPU.*max_concurrent=3"),
        (Request(num_gpus=0.5, gpu_memory_mib=20_000), ONE_GPU, r"20000 > 0.5 × 24000 = 12000 MiB"),
    ],
)
def test_what_cannot_fit_is_refused_with_the_sum(request_: Request, machine: Machine, message: str) -> None:
    with pytest.raises(PlacementError, match=message):
        plan_slots(request_, machine, trials=9)
