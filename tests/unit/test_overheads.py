"""The arithmetic of where time goes."""

from __future__ import annotations

import json

import pytest

from runner.journal import BarrierRow, TurnRow
from runner.records import Turn
from runner.review.timeline import summarize, timeline


def turn(trial: str, slot: int, start: float, end: float, **phases: float) -> TurnRow:
    spent = Turn(**{"pid": 1, "started_s": start, "ended_s": end, "compute_s": 0.0, **phases})
    return TurnRow(trial=trial, slot=slot, round=0, step=1, epoch=0, turn=spent)


TURNS = [
    turn("a", 0, 10.0, 12.0, seat_s=1.0, compute_s=2.0),
    turn("b", 1, 10.0, 11.0, compute_s=1.0),
    turn("a", 0, 12.5, 13.5, compute_s=0.5, evaluate_s=0.5),
    turn("b", 1, 12.5, 13.0, swap_s=0.1, compute_s=0.4),
]
BARRIERS = [
    BarrierRow(number=1, began_s=9.0, reported_s=12.0, committed_s=12.4),
    BarrierRow(number=2, began_s=12.4, reported_s=13.6, committed_s=13.7),
]


def test_the_totals_add_up() -> None:
    found = summarize(4.0, TURNS, BARRIERS)
    assert found is not None
    assert found.startup_s == pytest.approx(6.0)
    assert found.training_s == pytest.approx(3.7)
    assert (found.seat_s, found.swap_s) == (1.0, 0.1)
    assert found.wait_s == pytest.approx(0.0 + 1.0 + 0.1 + 0.6)
    assert found.log_s == pytest.approx(0.5)
    assert found.utilisation == pytest.approx((2 + 1 + 1 + 0.4) / (2 * 3.7))


def test_a_sweep_without_turns_has_no_totals() -> None:
    assert summarize(0.0, [], []) is None


def test_the_timeline_is_a_trace_of_complete_events() -> None:
    trace = json.loads(json.dumps(timeline(TURNS, BARRIERS)))
    spans = [event for event in trace["traceEvents"] if event["ph"] == "X"]
    assert {"ts", "dur", "pid", "tid", "name"} <= set(spans[0])
    assert [e["name"] for e in spans if e["tid"] == 0] == [
        "trial a",
        "seat",
        "compute",
        "trial a",
        "compute",
        "evaluate",
    ]
    assert sum(event["name"] == "commit" for event in spans) == 2


def test_every_turn_in_the_timeline_tells_what_it_cost() -> None:
    trace = timeline(TURNS, BARRIERS)
    (first, second) = [event["args"] for event in trace["traceEvents"] if event["name"] == "trial b"]
    costs = ("compute_s", "swap_s", "wait_s", "log_s")
    assert [first[name] for name in costs] == pytest.approx([1.0, 0.0, 1.0, 0.4])
    assert [second[name] for name in costs] == pytest.approx([0.4, 0.1, 0.6, 0.1])
