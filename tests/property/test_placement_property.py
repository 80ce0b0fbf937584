"""Hundreds of machines and requests: nothing is given away twice, all slots find their places, refusals are true."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import example, given, settings
from hypothesis import strategies as st

from runner.errors import PlacementError
from runner.placement import Gpu, Machine, Request, gpus_used, in_waves, match, over_committed, place_as_ray, plan_slots
from runner.records import Allocation, Mps, Slot

MANY = settings(max_examples=min(5 * settings.default.max_examples, 2000))
AUTO = st.just("auto")
SHARES = st.one_of(st.sampled_from([0.1, 0.18, 0.25, 0.33, 0.333333, 0.5, 0.6, 0.75, 1.0]), st.floats(0.0001, 1.0))
NEEDS = st.one_of(st.none(), st.floats(1.0, 90_000.0))


@st.composite
def machines(draw: st.DrawFn) -> Machine:
    gpus = []
    for index in range(draw(st.integers(0, 5))):
        total = draw(st.sampled_from([2_000, 8_192, 11_264, 23_028, 81_559]))
        free = draw(st.one_of(st.just(total - 300), st.integers(0, total)))
        gpus.append(Gpu(id=str(index), uuid=f"GPU-{index}", name="A", memory_mib=total, free_mib=free))
    return Machine(
        cpus=draw(st.integers(1, 128)),
        memory_mib=64_000,
        free_memory_mib=draw(st.integers(0, 64_000)),
        gpus=tuple(gpus),
        gpu_overhead_mib=draw(st.integers(0, 900)),
        mps=Mps(kind=draw(st.sampled_from(["own", "foreign", "off", "unavailable"]))),
    )


REQUESTS = st.builds(
    Request,
    num_gpus=st.one_of(AUTO, st.just(0.0), SHARES, st.sampled_from([2.0, 3.0, 7.0])),
    num_cpus=st.one_of(AUTO, st.sampled_from([0.07, 0.29, 0.5, 1.0, 1.5, 2.0, 64.0]), st.floats(1e-6, 200.0)),
    gpu_memory_mib=st.one_of(AUTO, st.integers(1, 90_000)),
    gpu_overhead_mib=st.one_of(AUTO, st.integers(0, 2_000)),
    memory_mib=st.one_of(AUTO, st.integers(1, 90_000)),
    max_concurrent=st.one_of(AUTO, st.integers(1, 300)),
)


def check(slots: tuple[Slot, ...], machine: Machine) -> None:
    assert [slot.index for slot in slots] == list(range(len(slots)))
    assert over_committed(slots, machine) == ()
    ids = gpus_used(slots)
    shares = [slot.allocation.num_gpus for wave in in_waves(slots) for slot in wave]
    placed = place_as_ray(shares, len(ids))
    assert placed is not None, "Ray places all of them"
    start = 0
    for wave in in_waves(slots):
        found = [tuple(ids[index] for index in gpus) for gpus in placed[start : start + len(wave)]]
        assert match(wave, found) is not None, "and where the plan has them"
        start += len(wave)


@MANY
@given(request=REQUESTS, machine=machines(), trials=st.integers(1, 400), need=NEEDS)
@example(request=Request(num_gpus=0.6), machine=Machine(cpus=4, memory_mib=1), trials=3, need=None)
def test_nothing_is_over_committed_and_all_is_placed_or_refused_with_what_does_fit(
    request: Request, machine: Machine, trials: int, need: float | None
) -> None:
    try:
        slots = plan_slots(request, machine, trials, need)
    except PlacementError as err:
        refused = err
    else:
        refused = None
    if refused is not None:
        assert refused.nearest
        assert all(f"resources.{key}=" in str(refused) for change in refused.nearest for key in change)
        for change in refused.nearest:
            check(plan_slots(replace(request, **change), machine, trials, need), machine)
        return
    assert 1 <= len(slots) <= trials
    if request.max_concurrent != "auto":
        assert len(slots) == min(request.max_concurrent, trials) or not machine.gpus
    check(slots, machine)
    for slot in slots:
        allocation = slot.allocation
        if not allocation.num_gpus:
            assert (allocation.gpus, allocation.gpu_memory_mib, allocation.mps_thread_percentage) == ((), None, None)
            continue
        assert allocation.gpu_memory_mib is not None
        assert allocation.gpu_memory_mib > 0
        assert request.num_gpus == "auto" or allocation.num_gpus >= request.num_gpus - 1e-4
        assert request.gpu_memory_mib in ("auto", allocation.gpu_memory_mib)
        if allocation.places > 1:
            assert not machine.mps
            assert need is not None
            assert allocation.gpu_memory_mib // allocation.places >= need, "each trial has what was measured"


@MANY
@given(request=REQUESTS, machine=machines(), need=NEEDS)
def test_a_trial_has_the_same_share_alone_and_in_a_sweep(
    request: Request, machine: Machine, need: float | None
) -> None:
    try:
        alone, many = (plan_slots(request, machine, trials, need)[0].allocation for trials in (1, 300))
    except PlacementError:
        return
    assert replace(alone, num_gpus=0.0) == replace(many, num_gpus=0.0)


@st.composite
def packings(draw: st.DrawFn) -> list[Slot]:
    """Shares of any sizes that fit, each with its GPU."""
    slots: list[Slot] = []
    for gpu in range(draw(st.integers(1, 4))):
        room = 10_000
        for _ in range(draw(st.integers(1, 5))):
            if room:
                part = draw(st.one_of(st.integers(1, room), st.just(room)))
                allocation = Allocation(num_cpus=1, num_gpus=part / 10_000, gpus=(str(gpu),))
                slots.append(Slot(index=len(slots), allocation=allocation))
                room -= part
    return slots


@MANY
@given(slots=packings())
def test_shares_that_fit_are_all_placed_when_asked_for_gpu_by_gpu(slots: list[Slot]) -> None:
    asked = [slot.allocation.num_gpus for wave in in_waves(slots) for slot in wave]
    assert sorted(asked) == sorted(slot.allocation.num_gpus for slot in slots)
    assert place_as_ray(asked, len(gpus_used(slots))) is not None


def test_half_a_quarter_three_quarters_a_half_are_placed_in_another_order_only() -> None:
    written = [(0.5, "0"), (0.25, "1"), (0.75, "1"), (0.5, "0")]
    assert place_as_ray([share for share, _ in written], 2) is None
    slots = [
        Slot(index=index, allocation=Allocation(num_cpus=1, num_gpus=share, gpus=(gpu,)))
        for index, (share, gpu) in enumerate(written)
    ]
    asked = [slot.allocation.num_gpus for wave in in_waves(slots) for slot in wave]
    assert place_as_ray(asked, 2) == [(0,), (0,), (1,), (1,)]
