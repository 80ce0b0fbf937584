"""Where a sweep's time went: each turn's waiting, the sweep's totals, and a timeline for a trace viewer. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

_PHASES = ("seat_s", "swap_s", "compute_s", "evaluate_s")


@dataclass(frozen=True, kw_only=True, slots=True)
class Overheads:
    """A sweep's totals, in seconds.

    Args:
        startup_s: from the sweep's creation to the first turn.
        training_s: from the first turn's start to the last commit.
        seat_s: building and tracing, over all slots.
        swap_s: putting one trial's variables in another's place, over all slots.
        wait_s: slots that had reported and waited for the barrier, over all slots.
        log_s: the journal's commits, while all slots wait.
        utilisation: share of the slots' time, while training, that was spent in steps and validation.
    """

    startup_s: float
    training_s: float
    seat_s: float
    swap_s: float
    wait_s: float
    log_s: float
    utilisation: float


def summarize(
    created_s: float, turns: Sequence[Mapping[str, Any]], barriers: Sequence[Mapping[str, Any]]
) -> Overheads | None:
    """The totals; None for a sweep without a turn."""
    if not turns or not barriers:
        return None
    began = min(turn["started_s"] for turn in turns)
    ended = max(barrier["committed_s"] or barrier["reported_s"] for barrier in barriers)
    slots = len({turn["slot"] for turn in turns})
    busy = sum(turn["compute_s"] + turn["evaluate_s"] for turn in turns)
    return Overheads(
        startup_s=began - created_s,
        training_s=ended - began,
        seat_s=sum(turn["seat_s"] for turn in turns),
        swap_s=sum(turn["swap_s"] for turn in turns),
        wait_s=sum(waits(turns, barriers)),
        log_s=sum(map(_commit_s, barriers)),
        utilisation=busy / (slots * (ended - began)) if ended > began else 0.0,
    )


def describe(found: Overheads) -> str:
    """The totals in a line for a person."""
    return (
        f"start-up {found.startup_s:.1f} s · training {found.training_s:.1f} s, slots busy {found.utilisation:.0%} · "
        f"building and tracing {found.seat_s:.1f} s · swapping {found.swap_s:.1f} s · waiting {found.wait_s:.1f} s · "
        f"journal {found.log_s:.1f} s"
    )


def waits(turns: Iterable[Mapping[str, Any]], barriers: Sequence[Mapping[str, Any]]) -> list[float]:
    """For each slot and barrier, the seconds between its last turn's end and the last report of all.

    Clocks of workers and driver are the same on one machine; on several, a skew shows as waiting, never below zero.
    """
    last_ends: dict[tuple[int, int], float] = {}
    numbers = _numbers(turns, barriers)
    for turn, number in numbers:
        key = (number, turn["slot"])
        last_ends[key] = max(last_ends.get(key, 0.0), turn["ended_s"])
    reported = {number: barrier["reported_s"] for number, barrier in enumerate(barriers)}
    return [max(0.0, reported[number] - end) for (number, _), end in last_ends.items()]


def timeline(turns: Sequence[Mapping[str, Any]], barriers: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The sweep in the Trace Event Format, which chrome://tracing and Perfetto open.

    Source: https://docs.google.com/document/d/1CvAClvFfyA5R-PhYUmn5OOQtYMH4h6I0nSsKchNAySU
    """
    events: list[dict[str, Any]] = [
        {"name": "thread_name", "ph": "M", "pid": 1, "tid": slot, "args": {"name": f"slot {slot}"}}
        for slot in sorted({turn["slot"] for turn in turns})
    ]
    events.append({"name": "thread_name", "ph": "M", "pid": 1, "tid": -1, "args": {"name": "driver"}})
    for turn, number in _numbers(turns, barriers):
        events += _turn_events(turn, barriers[number])
    for barrier in barriers:
        committed = barrier["committed_s"] or barrier["reported_s"]
        events.append(_event("round", -1, barrier["began_s"], barrier["reported_s"], {"number": barrier["number"]}))
        events.append(_event("commit", -1, barrier["reported_s"], committed, {}))
    return {"traceEvents": events, "displayTimeUnit": "ms"}


def _turn_events(turn: Mapping[str, Any], barrier: Mapping[str, Any]) -> list[dict[str, Any]]:
    label = {"trial": turn["trial"], "round": turn["round"], "step": turn["step"], "epoch": turn["epoch"]}
    start = turn["started_s"] - turn["seat_s"]  # seating comes before the turn's own clock starts
    waited, logged = max(0.0, barrier["reported_s"] - turn["ended_s"]), _commit_s(barrier)
    costs = {phase: turn[phase] for phase in _PHASES} | {"wait_s": waited, "log_s": logged}
    events = [_event(f"trial {turn['trial']}", turn["slot"], start, turn["ended_s"], label | costs)]
    for phase in _PHASES:
        if turn[phase] > 0:
            events.append(_event(phase.removesuffix("_s"), turn["slot"], start, start + turn[phase], label))
            start += turn[phase]
    return events


def _commit_s(barrier: Mapping[str, Any]) -> float:
    return float((barrier["committed_s"] or barrier["reported_s"]) - barrier["reported_s"])


def _event(name: str, tid: int, start_s: float, end_s: float, args: Mapping[str, Any]) -> dict[str, Any]:
    times = {"ts": start_s * 1e6, "dur": max(0.0, end_s - start_s) * 1e6}
    return {"name": name, "ph": "X", "pid": 1, "tid": tid, **times, "args": dict(args)}


def _numbers(
    turns: Iterable[Mapping[str, Any]], barriers: Sequence[Mapping[str, Any]]
) -> list[tuple[Mapping[str, Any], int]]:
    """Each turn with the barrier it ended at: the first whose reports came after it."""
    found, number = [], 0
    for turn in sorted(turns, key=lambda turn: turn["ended_s"]):
        while number < len(barriers) - 1 and barriers[number]["reported_s"] < turn["ended_s"]:
            number += 1
        found.append((turn, number))
    return found
