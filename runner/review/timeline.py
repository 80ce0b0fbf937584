"""Where a sweep's time went: the totals, and a timeline for a trace viewer."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from runner.journal import BarrierRow, JournalReader, TurnRow

_PHASES = ("seat_s", "swap_s", "compute_s", "evaluate_s")
_LEAST_S = 0.5
_EXACT_S = 9.5  # below it, with one decimal
_MEMORY = ("memory_mib", "gpu_memory_mib")


@dataclass(frozen=True, kw_only=True, slots=True)
class Overheads:
    """A sweep's totals.

    Args:
        startup_s: seconds from the sweep's creation to the first turn.
        training_s: seconds from the first turn's start to the last commit.
        seat_s: seconds of building and tracing, summed over the slots.
        swap_s: seconds of exchanging trials' variables, summed over the slots.
        wait_s: seconds of waiting for the barrier, summed over the slots.
        log_s: seconds of the journal's commits, while all slots wait.
        utilisation: share of the slots' training time that was spent in steps and validation.
        compute_s: seconds of training steps, summed over the slots.
        evaluate_s: seconds of validation, summed over the slots.
        slots: how many there were.
    """

    startup_s: float
    training_s: float
    seat_s: float
    swap_s: float
    wait_s: float
    log_s: float
    utilisation: float
    compute_s: float
    evaluate_s: float
    slots: int

    def in_words(self) -> str:
        """What the whole time was spent on, as an average over the slots, the largest part after training first.

        Each part of half a second or more is named.
        """
        parts = {
            "starting": self.startup_s,
            "validation": self.evaluate_s / self.slots,
            "building models": (self.seat_s + self.swap_s) / self.slots,
            "waiting for the slowest": self.wait_s / self.slots,
            "recording": self.log_s,
        }
        largest = sorted(parts.items(), key=lambda part: -part[1])
        rest = ", ".join(f"{name} {_short(seconds)}" for name, seconds in largest if seconds >= _LEAST_S)
        whole = f"Trained {_short(self.compute_s / self.slots)} of {_short(self.startup_s + self.training_s)}"
        return f"{whole}; {rest}" if rest else whole

    def __str__(self) -> str:
        return (
            f"start-up {self.startup_s:.1f} s · training {self.training_s:.1f} s, slots busy {self.utilisation:.0%} · "
            f"building and tracing {self.seat_s:.1f} s · swapping {self.swap_s:.1f} s · waiting {self.wait_s:.1f} s · "
            f"journal {self.log_s:.1f} s"
        )


def _short(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds < _EXACT_S else f"{seconds:.0f} s"


def summarize(created_s: float, turns: Sequence[TurnRow], barriers: Sequence[BarrierRow]) -> Overheads | None:
    """The totals; None for a sweep without a turn."""
    if not turns or not barriers:
        return None
    began = min(row.turn.started_s for row in turns)
    ended = max(barrier.ended_s for barrier in barriers)
    slots = len({row.slot for row in turns})
    busy = sum(row.turn.compute_s + row.turn.evaluate_s for row in turns)
    return Overheads(
        startup_s=began - created_s,
        training_s=ended - began,
        seat_s=sum(row.turn.seat_s for row in turns),
        swap_s=sum(row.turn.swap_s for row in turns),
        wait_s=sum(waits(turns, barriers)),
        log_s=sum(barrier.commit_s for barrier in barriers),
        compute_s=sum(row.turn.compute_s for row in turns),
        evaluate_s=sum(row.turn.evaluate_s for row in turns),
        slots=slots,
        utilisation=busy / (slots * (ended - began)) if ended > began else 0.0,
    )


def overheads_of(folder: Path) -> Overheads | None:
    """The totals of a sweep; None for one without a turn."""
    with JournalReader(folder) as reader:
        return summarize(reader.sweep().created_ms / 1000, reader.turns(), reader.barriers())


def write_timeline(folder: Path) -> Path:
    """Writes the sweep's timeline for chrome://tracing or Perfetto; returns the file."""
    with JournalReader(folder) as reader:
        trace = timeline(reader.turns(), reader.barriers())
    file = folder / "timeline.json"
    file.write_text(json.dumps(trace), encoding="utf-8")
    return file


def turn_table(folder: Path) -> tuple[list[str], list[list[object]]]:
    """Header and rows: every turn of a sweep, with its times in seconds from the sweep's creation."""
    with JournalReader(folder) as reader:
        created_s, turns, barriers = reader.sweep().created_ms / 1000, reader.turns(), reader.barriers()
    header = ["trial", "slot", "round", "step", "epoch", "start_s", "seconds", *_PHASES, "wait_s", "log_s", *_MEMORY]
    rows: list[list[object]] = []
    for row, number in _numbers(turns, barriers):
        turn, barrier = row.turn, barriers[number] if barriers else None
        began_s = turn.started_s - turn.seat_s
        waited = [0.0, 0.0] if barrier is None else [max(0.0, barrier.reported_s - turn.ended_s), barrier.commit_s]
        phases = [getattr(turn, name) for name in _PHASES]
        identity = [row.trial, row.slot, row.round, row.step, row.epoch]
        memory = [getattr(turn, name) for name in _MEMORY]
        rows.append([*identity, began_s - created_s, turn.ended_s - began_s, *phases, *waited, *memory])
    return header, rows


def waits(turns: Iterable[TurnRow], barriers: Sequence[BarrierRow]) -> list[float]:
    """For each slot and barrier, the seconds between the end of the slot's last turn and the last report.

    Workers and driver share a clock on one machine. On several machines a skew counts as waiting; no wait is negative.
    """
    last_ends: dict[tuple[int, int], float] = {}
    for row, number in _numbers(turns, barriers):
        key = (number, row.slot)
        last_ends[key] = max(last_ends.get(key, 0.0), row.turn.ended_s)
    return [max(0.0, barriers[number].reported_s - end) for (number, _), end in last_ends.items()]


def timeline(turns: Sequence[TurnRow], barriers: Sequence[BarrierRow]) -> dict[str, object]:
    """The sweep in the Trace Event Format, which chrome://tracing and Perfetto open.

    Source: https://docs.google.com/document/d/1CvAClvFfyA5R-PhYUmn5OOQtYMH4h6I0nSsKchNAySU
    """
    events: list[dict[str, object]] = [
        {"name": "thread_name", "ph": "M", "pid": 1, "tid": slot, "args": {"name": f"slot {slot}"}}
        for slot in sorted({row.slot for row in turns})
    ]
    events.append({"name": "thread_name", "ph": "M", "pid": 1, "tid": -1, "args": {"name": "driver"}})
    for row, number in _numbers(turns, barriers):
        events += _turn_events(row, barriers[number])
    for barrier in barriers:
        events.append(_event("round", -1, barrier.began_s, barrier.reported_s, {"number": barrier.number}))
        events.append(_event("commit", -1, barrier.reported_s, barrier.ended_s, {}))
    return {"traceEvents": events, "displayTimeUnit": "ms"}


def _turn_events(row: TurnRow, barrier: BarrierRow) -> list[dict[str, object]]:
    turn = row.turn
    label = {"trial": row.trial, "round": row.round, "step": row.step, "epoch": row.epoch}
    phases = {"seat": turn.seat_s, "swap": turn.swap_s, "compute": turn.compute_s, "evaluate": turn.evaluate_s}
    start = turn.started_s - turn.seat_s  # building the model comes before the turn's own clock starts
    waits_s = {"wait_s": max(0.0, barrier.reported_s - turn.ended_s), "log_s": barrier.commit_s}
    costs = {f"{phase}_s": seconds for phase, seconds in phases.items()} | waits_s
    events = [_event(f"trial {row.trial}", row.slot, start, turn.ended_s, label | costs)]
    for phase, seconds in phases.items():
        if seconds > 0:
            events.append(_event(phase, row.slot, start, start + seconds, label))
            start += seconds
    return events


def _event(name: str, tid: int, start_s: float, end_s: float, args: Mapping[str, object]) -> dict[str, object]:
    times = {"ts": start_s * 1e6, "dur": max(0.0, end_s - start_s) * 1e6}
    return {"name": name, "ph": "X", "pid": 1, "tid": tid, **times, "args": dict(args)}


def _numbers(turns: Iterable[TurnRow], barriers: Sequence[BarrierRow]) -> list[tuple[TurnRow, int]]:
    """Each turn with the index of the barrier that it ended at: the first one whose reports came after the turn."""
    found, number = [], 0
    for row in sorted(turns, key=lambda row: row.turn.ended_s):
        while number < len(barriers) - 1 and barriers[number].reported_s < row.turn.ended_s:
            number += 1
        found.append((row, number))
    return found
