"""Larger shares: whoever runs out of memory, and whoever is idle, nothing is ever given away twice."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from runner.errors import PlacementError
from runner.loop.slots import Shares
from runner.placement import Gpu, Machine, Request, gpus_used, in_waves, match, over_committed, place_as_ray, plan_slots
from runner.records import Slot

MACHINES = st.builds(
    lambda cpus, free, gpus: Machine(
        cpus=cpus,
        memory_mib=64_000,
        free_memory_mib=free,
        gpus=tuple(Gpu(id=str(i), uuid=f"GPU-{i}", name="A", memory_mib=g, free_mib=g) for i, g in enumerate(gpus)),
    ),
    st.integers(1, 32),
    st.integers(2_000, 64_000),
    st.lists(st.integers(3_000, 80_000), max_size=4),
)
REQUESTS = st.builds(
    Request,
    num_gpus=st.sampled_from(["auto", 0, 0.2, 0.33, 0.5, 1.0, 2.0]),
    gpu_memory_mib=st.sampled_from(["auto", 500, 3_000]),
    memory_mib=st.sampled_from(["auto", 200, 2_000]),
    max_concurrent=st.sampled_from(["auto", 1, 2, 5]),
)
CHOICE = st.lists(st.booleans(), min_size=64, max_size=64)


@given(MACHINES, REQUESTS, st.lists(st.tuples(CHOICE, CHOICE), min_size=1, max_size=3))
def test_shares_grow_within_the_machine_and_find_their_places(
    machine: Machine, request: Request, rounds: list[tuple[list[bool], list[bool]]]
) -> None:
    try:
        slots: tuple[Slot, ...] = plan_slots(request, machine, 64)
    except PlacementError:
        return
    shares, planned = Shares(slots, {"": machine}), {slot.index: slot.allocation for slot in slots}
    left = used = list(planned)
    for busy_choice, hungry_choice in rounds:
        busy = [slot for slot in used if busy_choice[slot % 64]]
        hungry = [slot for slot in busy if hungry_choice[slot % 64]]
        growth = shares.grow(hungry, busy)
        assert set(growth.allocations) <= set(hungry)
        assert set(growth.retired).isdisjoint(busy)
        left = [slot for slot in left if slot not in growth.retired]
        now = [Slot(index=slot, allocation=shares.of(slot)) for slot in left]
        assert over_committed(now, machine) == ()
        for slot in left:
            before, after = planned[slot], shares.of(slot)
            assert (after.threads, after.num_cpus, after.gpus) == (before.threads, before.num_cpus, before.gpus)
            assert (after.memory_limit_mib or 0) >= (before.memory_limit_mib or 0)
        assert_places(now)
        used = busy  # the idle are never used again, though their workers may live


def assert_places(slots: Sequence[Slot]) -> None:
    """Ray still puts every worker where it is planned, asked in the order in which a fleet asks."""
    names = gpus_used(slots)
    ordered = [slot for wave in in_waves(slots) for slot in wave if slot.allocation.gpus]
    placed = place_as_ray([slot.allocation.num_gpus for slot in ordered], len(names))
    assert placed is not None
    assert match(ordered, [tuple(names[index] for index in each) for each in placed]) is not None
