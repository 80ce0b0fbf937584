"""GPU memory after a worker's end: what is waited for, and what is said where it does not come back."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Mapping, Sequence

import pytest

from runner.errors import FleetError
from runner.host.endings import wait_until_free, wait_until_gone
from runner.host.inventory import GpuUse, gpu_use
from runner.host.processes import start_of


class Card:
    """A GPU whose use is another one at each look; the last stays."""

    def __init__(self, *uses: tuple[int, dict[int, int]]) -> None:
        self.looks, self._uses = 0, uses

    def __call__(self, names: Sequence[str]) -> Mapping[str, GpuUse]:
        assert list(names) == ["0"]
        free, processes = self._uses[min(self.looks, len(self._uses) - 1)]
        self.looks += 1
        return {"0": GpuUse(free_mib=free, processes=processes)}


def wait(card: Card, timeout_s: float = 10.0) -> None:
    wait_until_free(["0"], 1_000, pid=7, timeout_s=timeout_s, look=card, sleep=lambda _: None)


def test_a_slot_waits_until_its_last_process_is_off_the_card_and_its_share_is_free() -> None:
    card = Card((100, {7: 900, 8: 1}), (100, {8: 1}), (1_000, {8: 1}))
    wait(card)
    assert card.looks == 3


def test_a_share_that_another_process_has_taken_is_an_error_with_the_numbers() -> None:
    with pytest.raises(FleetError, match=r"needs 1000 MiB, .* end of process 7, .* 400 MiB free on GPU 0"):
        wait(Card((400, {9: 600})), timeout_s=0.0)


def test_a_number_that_is_another_containers_process_is_not_waited_for_without_end() -> None:
    wait(Card((5_000, {7: 100})), timeout_s=0.0)


def test_without_a_gpu_there_is_nothing_to_wait_for() -> None:
    assert gpu_use(["nonexistent"]) == {}
    wait_until_free(["nonexistent"], 1_000, pid=7)


def test_a_process_that_has_the_number_of_a_worker_which_has_ended_is_left_alone() -> None:
    with subprocess.Popen(["sleep", "60"]) as other:
        started = start_of(other.pid)
        assert started is not None
        wait_until_gone(other.pid, started - 1, timeout_s=0.1)
        assert other.poll() is None
        wait_until_gone(other.pid, started, timeout_s=2.0)
        assert other.wait() == -signal.SIGKILL
    assert start_of(other.pid) is None
