"""Shares that fit, and refusals with a true sum."""

from __future__ import annotations

import pytest

from runner.errors import PlacementError
from runner.placement import (
    Gpu,
    Machine,
    Request,
    explain,
    in_waves,
    match,
    needs_a_probe,
    place_as_ray,
    plan_slots,
    with_places,
    without_mps,
)
from runner.records import Allocation, Mps, Slot

TWO_CORES = Machine(cpus=2, memory_mib=24_000)


def gpu(index: int, free_mib: int = 24_256, name: str = "A") -> Gpu:
    return Gpu(id=str(index), uuid=f"GPU-{index}", name=name, memory_mib=24_500, free_mib=free_mib)


FOREIGN, OWN, NONE = Mps(kind="foreign"), Mps(kind="own"), Mps(kind="unavailable", reason="R")


def machine(*free_mib: int, cpus: int = 8, mps: Mps = NONE) -> Machine:
    gpus = tuple(gpu(index, free) for index, free in enumerate(free_mib))
    return Machine(cpus=cpus, memory_mib=64_000, gpus=gpus, mps=mps, gpu_overhead_mib=500)


ONE_GPU = machine(24_256)  # 24000 MiB are usable
TWO_GPUS = machine(24_256, 24_256)


def shares(slots: tuple[Slot, ...]) -> list[tuple[float, tuple[str, ...], int | None]]:
    return [(s.allocation.num_gpus, s.allocation.gpus, s.allocation.gpu_memory_mib) for s in slots]


# --- CPUs -------------------------------------------------------------------------------------------------------------


def test_a_cpu_machine_gives_one_core_to_each_model() -> None:
    slots = plan_slots(Request(), TWO_CORES, trials=8)
    assert [slot.index for slot in slots] == [0, 1]
    assert slots[0].allocation == Allocation(num_cpus=1.0, threads=1)


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


def test_a_cpu_machine_packs_by_measured_memory_too() -> None:
    short = Machine(cpus=8, memory_mib=24_000, free_memory_mib=5_024)
    assert len(plan_slots(Request(), short, 9, need_mib=1_000)) == 3, "(5024 - 1024) / 1150"
    assert len(plan_slots(Request(), short, 9, need_mib=90_000)) == 1, "what nothing enforces is not refused"
    assert len(plan_slots(Request(max_concurrent=8), short, 9, need_mib=1_000)) == 8, "nor what is asked for"


def test_a_limit_of_host_memory_is_planned_for_and_enforced() -> None:
    short = Machine(cpus=8, memory_mib=24_000, free_memory_mib=5_024)
    slots = plan_slots(Request(memory_mib=1_000), short, 9)
    assert [slot.allocation.memory_mib for slot in slots] == [1_000, 1_000], "(5024 - 1024) // (1000 + 700)"
    with pytest.raises(PlacementError, match=r"3 × \(1000 \+ 700 of a worker\) = 5100 > 4000 MiB .*memory_mib=633 or"):
        plan_slots(Request(memory_mib=1_000, max_concurrent=3), short, 9)


# --- GPUs -------------------------------------------------------------------------------------------------------------


def test_a_third_of_a_gpu_is_a_third_of_its_usable_memory_less_the_overhead() -> None:
    slots = plan_slots(Request(num_gpus=0.33), ONE_GPU, trials=9)
    assert shares(slots) == [(0.33, ("0",), 7_420)] * 3
    assert slots[0].allocation.gpu_overhead_mib == 500
    assert explain(slots, ONE_GPU)[0] == (
        "GPU 0 (A): 3 × (7420 limit + 500 overhead) + 256 margin = 24016 of 24256 MiB free"
    )


def test_workers_between_which_a_gpu_switches_are_told_where_no_mps_runs() -> None:
    thirds = plan_slots(Request(num_gpus=0.33), TWO_GPUS, trials=4)
    start = "the card switches between its 2 workers"
    told = [line.partition(", since")[0] for line in without_mps(thirds, TWO_GPUS)]
    assert told == [f"GPU 0: {start}", f"GPU 1: {start}"]
    served = machine(24_256, 24_256, mps=OWN)
    assert not without_mps(plan_slots(Request(num_gpus=0.33), served, trials=4), served)
    assert not without_mps(plan_slots(Request(num_gpus=1), TWO_GPUS, trials=4), TWO_GPUS)


def test_without_mps_auto_gives_a_gpu_one_worker_in_which_trials_take_turns() -> None:
    (slot,) = slots = plan_slots(Request(), ONE_GPU, trials=9, need_mib=4_500)
    assert shares(slots) == [(1.0, ("0",), 23_500)], "all of the card, with the overhead of one process"
    assert (slot.allocation.places, slot.allocation.waiting_mib) == (4, 17_625), "three of four parts"
    assert "one worker, in which 4 trials take turns; each has 5875 MiB" in explain(slots, ONE_GPU)[1]
    assert "its 4 trials take turns in one worker" in without_mps(slots, ONE_GPU)[0]
    assert slots == plan_slots(Request(), ONE_GPU, trials=1, need_mib=4_500), "whatever the number of trials"


@pytest.mark.parametrize(
    ("request_", "with_mps", "found"),
    [
        ({}, False, [8, 8]),
        ({}, True, [1] * 16),
        ({"in_stacks": True}, True, [8, 8]),
        ({"max_concurrent": 4}, False, [1] * 4),
        ({"gpu_memory_mib": 4_300}, False, [1] * 10),
        ({"num_gpus": 0.5}, False, [1] * 4),
        ({"num_gpus": 0.0}, False, [1] * 16),
    ],
)
def test_what_is_asked_for_has_a_worker_each_and_so_have_models_that_compute_through_mps(
    request_: dict[str, float], with_mps: bool, found: list[int]
) -> None:
    two = machine(24_256, 24_256, cpus=16, mps=OWN if with_mps else NONE)
    slots = plan_slots(Request(**request_), two, trials=99, need_mib=100)  # type: ignore[arg-type]
    assert [slot.allocation.places for slot in slots] == found


def test_gpus_of_different_sizes_have_places_of_their_own() -> None:
    slots = plan_slots(Request(), machine(24_256, 6_256), trials=99, need_mib=4_500)
    assert [slot.allocation.places for slot in slots] == [4, 1]


def test_a_sweep_that_goes_on_has_the_places_that_it_had_or_as_many_as_fit_now() -> None:
    whole = plan_slots(Request(num_gpus=1), ONE_GPU, trials=9)
    assert [with_places(whole, 4, need)[0].allocation.places for need in (None, 4_500, 9_000, 90_000)] == [4, 4, 2, 1]


def test_a_limit_alone_gives_the_share() -> None:
    slots = plan_slots(Request(gpu_memory_mib=4_300), ONE_GPU, trials=9)
    assert shares(slots) == [(0.2, ("0",), 4_300)] * 5, "24000 // 4800"


def test_a_measured_need_packs_as_many_as_fit_and_divides_the_whole_gpu() -> None:
    slots = plan_slots(Request(), machine(24_256, mps=OWN), trials=9, need_mib=4_500)
    assert shares(slots) == [(0.25, ("0",), 5_500)] * 4, "24000 // (4500 × 1.15 + 500)"


def test_what_was_not_measured_gets_a_gpu_of_its_own() -> None:
    assert shares(plan_slots(Request(), TWO_GPUS, trials=9)) == [(1.0, ("0",), 23_500), (1.0, ("1",), 23_500)]
    assert needs_a_probe(Request(), TWO_GPUS)
    assert not needs_a_probe(Request(), TWO_CORES)
    assert not needs_a_probe(Request(num_gpus=0.5), TWO_GPUS)


def test_models_packed_by_measurement_get_a_core_each() -> None:
    assert len(plan_slots(Request(), machine(24_256, cpus=3, mps=OWN), trials=9, need_mib=10)) == 3


def test_models_spread_over_gpus_before_they_share_one() -> None:
    """Ray would put both on the first GPU: each is asked for as a whole, under the limit of a half."""
    slots = plan_slots(Request(num_gpus=0.5), TWO_GPUS, trials=2)
    assert shares(slots) == [(1.0, ("0",), 11_500), (1.0, ("1",), 11_500)]


def test_each_gpu_gives_shares_of_its_own_size() -> None:
    slots = plan_slots(Request(num_gpus=0.5), machine(24_256, 12_256), trials=9)
    assert [limit for _, _, limit in shares(slots)] == [11_500, 11_500, 5_500, 5_500]


def test_a_gpu_that_others_have_filled_is_left_out() -> None:
    slots = plan_slots(Request(num_gpus=0.5), machine(700, 24_256), trials=9)
    assert [gpus for _, gpus, _ in shares(slots)] == [("1",), ("1",)]
    slots = plan_slots(Request(num_gpus=2.0), machine(24_256, 700, 24_256), trials=9)
    assert shares(slots) == [(2.0, ("0", "2"), 23_500)]


def test_shares_that_do_not_divide_are_packed_gpu_by_gpu() -> None:
    """Three times 0.6 are less than two GPUs, and fit on them only twice."""
    assert len(plan_slots(Request(num_gpus=0.6), TWO_GPUS, trials=9)) == 2
    assert len(plan_slots(Request(num_gpus=0.18), TWO_GPUS, trials=99)) == 10


def test_no_gpu_share_means_no_gpu() -> None:
    allocation = plan_slots(Request(num_gpus=0), ONE_GPU, 1)[0].allocation
    assert (allocation.num_gpus, allocation.gpus, allocation.gpu_memory_mib) == (0, (), None)


def test_the_overhead_can_be_set() -> None:
    slots = plan_slots(Request(num_gpus=0.5, gpu_overhead_mib=1_000), ONE_GPU, trials=9)
    assert shares(slots)[0] == (0.5, ("0",), 11_000)


@pytest.mark.parametrize(
    ("request_", "mps", "expected"),
    [
        (Request(num_gpus=0.33), FOREIGN, ("foreign", 33)),
        (Request(num_gpus=0.33), OWN, ("own", 33)),
        (Request(num_gpus=0.33), NONE, ("unavailable", None)),
        (Request(num_gpus=0.33), Mps(kind="off"), ("off", None)),
        (Request(num_gpus=1), FOREIGN, ("foreign", 100)),
        (Request(num_gpus=1), OWN, ("off", None)),
        (Request(num_gpus=0.02, gpu_overhead_mib=0), OWN, ("off", None)),
    ],
)
def test_mps_gets_the_same_share_and_no_daemon_is_started_for_one_model(
    request_: Request, mps: Mps, expected: tuple[str, int | None]
) -> None:
    for trials in (1, 9):
        allocation = plan_slots(request_, machine(24_256, mps=mps), trials)[0].allocation
        assert (allocation.mps, allocation.mps_thread_percentage) == expected, "not by the number of trials"


def test_the_sums_say_whose_daemon_it_is() -> None:
    served = machine(24_256, mps=OWN)
    assert "MPS: a daemon of the sweep's own, 33 %" in explain(plan_slots(Request(num_gpus=0.33), served, 9), served)[2]


@pytest.mark.parametrize(
    ("request_", "machine_", "message"),
    [
        (
            Request(num_cpus=1.0, max_concurrent=3),
            TWO_CORES,
            "3 × 1 CPUs = 3 > 2 CPUs of this machine; set resources.num_cpus=0.66 or resources.max_concurrent=2",
        ),
        (Request(num_cpus=3.0), TWO_CORES, "1 × 3 CPUs = 3 > 2 CPUs of this machine; set resources.num_cpus=2"),
        (Request(max_concurrent=300), TWO_CORES, "less than 0.01 to each; set resources.max_concurrent=200"),
        (Request(num_gpus=0.5), TWO_CORES, "0.5 asked, no GPU found"),
        (Request(num_gpus=2.0), ONE_GPU, "2 asked, 1 found; set resources.num_gpus=1"),
        (Request(num_gpus=0.00001), ONE_GPU, "1e-05 asked, Ray counts in 0.0001"),
        (
            Request(num_gpus=0.33, max_concurrent=4),
            ONE_GPU,
            "max_concurrent=4: 3 models of this size fit on 1 GPU; set resources.max_concurrent=3",
        ),
        (
            Request(num_gpus=0.5, gpu_memory_mib=20_000),
            ONE_GPU,
            "resources.num_gpus=0.5 and resources.gpu_memory_mib=20000: 2 × (20000 + 500 overhead) + 256 margin = "
            "41256 > 24256 MiB free on GPU 0 (A); set resources.gpu_memory_mib=11500 or resources.num_gpus=1",
        ),
        (
            Request(num_gpus=0.02),
            ONE_GPU,
            "0.02 × (24256 MiB free - 256 margin) - 500 overhead leaves a limit of -20 MiB on GPU 0 (A); set "
            "resources.num_gpus=0.0212",
        ),
        (
            Request(gpu_memory_mib=24_000),
            ONE_GPU,
            "1 × (24000 + 500 overhead) + 256 margin = 24756 > 24256 MiB free on GPU 0 (A); set "
            "resources.gpu_memory_mib=23500",
        ),
        (Request(), machine(700), "no GPU has room for a model: 1 × (1 + 500 overhead) + 256 margin = 757 > 700 MiB"),
    ],
)  # fmt: skip
def test_what_cannot_fit_is_refused_with_the_sum_and_what_does(
    request_: Request, machine_: Machine, message: str
) -> None:
    with pytest.raises(PlacementError) as refused:
        plan_slots(request_, machine_, trials=9)
    assert message in str(refused.value)


def test_a_measured_model_that_no_gpu_holds_is_refused_with_the_sum() -> None:
    with pytest.raises(PlacementError, match=r"takes 30000 MiB: 1 × \(30000 \+ 500.* > 24256 MiB .*num_gpus=0"):
        plan_slots(Request(), ONE_GPU, trials=1, need_mib=30_000)


def test_one_model_may_fill_a_gpu_without_headroom() -> None:
    assert shares(plan_slots(Request(), ONE_GPU, trials=9, need_mib=23_500)) == [(1.0, ("0",), 23_500)]


# --- what Ray does with them ------------------------------------------------------------------------------------------


def test_ray_takes_the_gpu_with_the_least_room_and_whole_ones_first() -> None:
    assert place_as_ray([0.5, 0.75, 0.2, 0.4], 2) == [(0,), (1,), (1,), (0,)]
    assert place_as_ray([0.1, 2.0], 3) == [(0,), (1, 2)]
    assert place_as_ray([0.1, 2.0], 2) is None


def test_workers_are_matched_with_slots_by_where_ray_has_put_them() -> None:
    slots = plan_slots(Request(num_gpus=0.5), machine(24_256, 12_256), trials=9)
    (wave,) = in_waves(slots)
    assert match(wave, [("1",), ("0",), ("1",), ("0",)]) == [1, 3, 0, 2]
    assert match(wave, [("0",), ("0",), ("0",), ("1",)]) is None


def test_slots_of_different_shares_are_created_in_waves() -> None:
    slots = plan_slots(Request(gpu_memory_mib=7_000), machine(24_256, 12_256), trials=9)
    assert shares(slots) == [(0.3333, ("0",), 7_000)] * 3 + [(1.0, ("1",), 7_000)]
    assert [[slot.index for slot in wave] for wave in in_waves(slots)] == [[0, 1, 2], [3]]


def test_a_gpu_that_others_have_nearly_filled_is_left_out_until_models_are_measured() -> None:
    slots = plan_slots(Request(), machine(900, 24_256), trials=4)
    assert [slot.allocation.gpus for slot in slots] == [("1",)]


def test_gpus_that_differ_a_little_hold_what_is_asked_for_before_it_is_measured() -> None:
    almost = machine(24_246, 24_256)
    slots = plan_slots(Request(max_concurrent=4), almost, trials=9)
    assert [slot.allocation.gpus for slot in slots] == [("0",), ("0",), ("1",), ("1",)]
    filled = machine(9_000, 24_256)
    assert {slot.allocation.gpus for slot in plan_slots(Request(max_concurrent=2), filled, trials=9)} == {("1",)}


def test_gpus_that_are_all_full_are_refused_before_anything_is_measured() -> None:
    with pytest.raises(PlacementError, match="no GPU has room for a model"):
        plan_slots(Request(max_concurrent=2), machine(300, 300), trials=9)
