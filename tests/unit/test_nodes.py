"""Slots over several machines."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.errors import PlacementError
from runner.placement import Gpu, Machine, Request, over_committed, plan_on_nodes, plan_slots

GPU = Gpu(id="0", uuid="GPU-0", name="A", memory_mib=10_256, free_mib=10_256)
SMALL, LARGE = Machine(cpus=1, memory_mib=8_000), Machine(cpus=3, memory_mib=8_000)
WITH_GPU = Machine(cpus=4, memory_mib=8_000, gpus=(GPU,))


def nodes_of(request: Request, machines: dict[str, Machine], trials: int = 9) -> list[str]:
    return [slot.allocation.node for slot in plan_on_nodes(request, machines, trials)]


def test_models_are_spread_over_nodes_as_far_as_each_holds_them() -> None:
    machines = {"a": SMALL, "b": LARGE}
    assert nodes_of(Request(), machines) == ["a", "b", "b", "b"]
    assert nodes_of(Request(), machines, trials=2) == ["a", "b"]
    assert nodes_of(Request(max_concurrent=3), machines) == ["a", "b", "b"]
    assert nodes_of(Request(num_cpus=2), machines) == ["b"]


def test_there_is_a_slot_even_where_nothing_is_left_to_train() -> None:
    assert nodes_of(Request(), {"": LARGE}, trials=0) == [""]
    assert nodes_of(Request(), {"a": SMALL, "b": LARGE}, trials=0) == ["a"]


def test_each_nodes_gpus_are_its_own() -> None:
    slots = plan_on_nodes(Request(num_gpus=0.5), {"a": WITH_GPU, "b": WITH_GPU}, 9)
    assert [(slot.allocation.node, slot.allocation.gpus) for slot in slots] == [
        ("a", ("0",)), ("a", ("0",)), ("b", ("0",)), ("b", ("0",)),
    ]  # fmt: skip


def test_nodes_without_gpu_are_left_out_where_others_have_one_and_nothing_is_asked() -> None:
    machines = {"a": LARGE, "b": WITH_GPU}
    assert set(nodes_of(Request(), machines)) == {"b"}
    assert set(nodes_of(Request(num_gpus=0), machines)) == {"a", "b"}


def test_a_request_beyond_all_nodes_is_refused_with_what_each_holds() -> None:
    with pytest.raises(PlacementError, match=r"=5: 4 models fit on the cluster \(1 on a, 3 on b\); set .*=4"):
        plan_on_nodes(Request(max_concurrent=5), {"a": SMALL, "b": LARGE}, 9)
    with pytest.raises(PlacementError, match=r"node a: .* > 1 CPUs .*; node b: .* > 3 CPUs"):
        plan_on_nodes(Request(num_cpus=5), {"a": SMALL, "b": LARGE}, 9)


@given(
    st.lists(st.builds(Machine, cpus=st.integers(1, 16), memory_mib=st.just(64_000)), min_size=1, max_size=4),
    st.builds(
        Request,
        num_cpus=st.sampled_from(["auto", 0.5, 2.0]),
        max_concurrent=st.sampled_from(["auto", 1, 3, 8]),
        memory_mib=st.sampled_from(["auto", 2_000]),
    ),
    st.integers(1, 40),
)
def test_no_node_is_over_committed(machines: list[Machine], request: Request, trials: int) -> None:
    named = {f"node{index}": machine for index, machine in enumerate(machines)}
    try:
        slots = plan_on_nodes(request, named, trials)
    except PlacementError:
        return
    assert [slot.index for slot in slots] == list(range(len(slots)))
    assert 1 <= len(slots) <= trials
    for node, machine in named.items():
        assert over_committed([slot for slot in slots if slot.allocation.node == node], machine) == ()
    if len(machines) == 1:
        assert Counter(s.allocation.num_cpus for s in slots) == Counter(
            s.allocation.num_cpus for s in plan_slots(request, machines[0], trials)
        )
