"""When a process is worn: how much it has collected of earlier models, and what it costs to find out."""

from __future__ import annotations

from typing import Any

import pytest

pytestmark = pytest.mark.usefixtures("tensorflow")


class Process:
    """A process whose memory and mappings are what a test says."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        from runner.worker import wear

        self.own_mib, self.mappings, self.counted = 1000.0, 2000, 0
        monkeypatch.setattr(wear, "own_mib", lambda: self.own_mib)
        monkeypatch.setattr(wear, "mappings", self._count)
        monkeypatch.setattr(wear, "free_memory_mib", lambda: 8000)
        self.most = int(wear._MOST.read_text())

    def _count(self) -> int:
        self.counted += 1
        return self.mappings


@pytest.fixture
def process(monkeypatch: pytest.MonkeyPatch) -> Process:
    return Process(monkeypatch)


def wear(memory_mib: int | None = None, trials: int = 0) -> Any:
    from runner.worker.wear import Wear

    found = Wear(memory_mib)
    found.begun = trials
    return found


def test_mappings_are_counted_only_when_memory_has_grown(process: Process) -> None:
    found = wear()
    process.mappings = process.most
    assert not found.is_worn
    process.own_mib += 100
    assert not found.is_worn
    assert process.counted == 0
    process.own_mib += 100
    assert found.is_worn
    assert found.is_worn
    assert process.counted == 1


def test_a_model_that_has_left_hides_no_growth(process: Process) -> None:
    found = wear()
    process.own_mib = 3000
    assert not found.is_worn
    process.own_mib = 1200
    assert not found.is_worn
    process.own_mib, process.mappings = 1400, process.most
    assert found.is_worn


def test_a_process_that_has_freed_its_memory_is_worn_no_more(process: Process) -> None:
    found = wear(trials=20)
    process.own_mib = 3000
    assert found.is_worn
    process.own_mib = 1100
    assert not found.is_worn


@pytest.mark.parametrize(("memory_mib", "room_mib"), [(None, 8000), (1600, 1600)])
def test_memory_counts_once_enough_trials_have_begun_to_pay_for_a_new_process(
    process: Process, memory_mib: int | None, room_mib: int
) -> None:
    found, few = wear(memory_mib, trials=20), wear(memory_mib, trials=19)
    process.own_mib += room_mib / 8
    assert not found.is_worn
    process.own_mib += 130
    assert found.is_worn
    assert not few.is_worn
