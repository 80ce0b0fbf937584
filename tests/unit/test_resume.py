"""The slots of a sweep that goes on: like those that it had, and never more of them."""

from __future__ import annotations

import pytest

from runner.driver.resume import _slots_like
from runner.errors import PlacementError
from runner.placement import Gpu, Machine, Request
from runner.records import Allocation

HALF = Allocation(num_cpus=0.5)


def machine(cpus: int, gpus: int = 0) -> Machine:
    found = tuple(Gpu(id=str(i), uuid=f"GPU-{i}", name="A", memory_mib=24_500, free_mib=24_256) for i in range(gpus))
    return Machine(cpus=cpus, memory_mib=64_000, gpus=found)


@pytest.mark.parametrize(
    ("request_", "cpus", "found"),
    [
        (Request(), 8, 4),
        (Request(), 1, 2),
        (Request(max_concurrent=4), 1, 2),
        (Request(max_concurrent=3), 8, 3),
    ],
)
def test_there_are_as_many_slots_as_before_or_as_fit_now(request_: Request, cpus: int, found: int) -> None:
    slots = _slots_like(HALF, request_, {"": machine(cpus)}, 4, 9, None)
    assert [slot.allocation.num_cpus for slot in slots] == [0.5] * found


def test_on_a_cluster_that_has_lost_a_node_the_sweep_goes_on_with_the_others() -> None:
    had = Allocation(num_cpus=1.0)
    for nodes in ("a", "ab"):
        slots = _slots_like(had, Request(), {name: machine(1) for name in nodes}, 3, 9, None)
        assert [slot.allocation.node for slot in slots] == list(nodes)


def test_a_slot_that_does_not_fit_at_all_is_refused() -> None:
    with pytest.raises(PlacementError, match="512 CPUs"):
        _slots_like(Allocation(num_cpus=512.0), Request(), {"": machine(2)}, 2, 2, None)


def test_a_measured_share_of_a_gpu_is_kept() -> None:
    had = Allocation(num_cpus=1.0, num_gpus=0.25)
    slots = _slots_like(had, Request(), {"": machine(8, gpus=1)}, 4, 9, None)
    assert [slot.allocation.num_gpus for slot in slots] == [0.25] * 4
