"""When a store that takes nothing is tried again, and when that is given up; by a clock of the test's own."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain, repeat

from runner.tracking.delivery import Deadline, Delivery
from runner.tracking.errors import StoreRefusedError, StoreUnavailableError

DOWN, REFUSED = StoreUnavailableError("down"), StoreRefusedError("no")


class Store:
    """Answers each attempt in turn, a second each; None takes everything, a text takes something and then fails."""

    def __init__(self, answers: Iterator[Exception | str | None]) -> None:
        self.answers, self.now_s, self.taken_s = answers, 0.0, 0.0
        self.attempts: list[float] = []
        self.failures: list[bool] = []

    def send(self) -> None:
        self.attempts.append(self.now_s)
        self.now_s += 1.0
        answer = next(self.answers)
        if isinstance(answer, Exception):
            raise answer
        self.taken_s = self.now_s
        if answer is not None:
            raise StoreUnavailableError(answer)

    def wait(self, seconds: float) -> None:
        self.now_s += seconds

    @property
    def delivery(self) -> Delivery:
        return Delivery(self.send, lambda _, is_first: self.failures.append(is_first), self.wait)

    def deadline(self, timeout_s: float) -> Deadline:
        deadline = Deadline(timeout_s, lambda: self.taken_s, clock=lambda: self.now_s)
        deadline.begin()
        return deadline


def test_pauses_double_up_to_half_a_minute_and_start_over_when_everything_was_taken() -> None:
    store = Store(chain([DOWN] * 10, [None, DOWN]))
    delivery, pauses = store.delivery, []
    for _ in range(12):
        taken = delivery.attempt()
        pauses.append(None if taken else delivery.pause_s)
    assert pauses == [0.25, 0.5, 1, 2, 4, 8, 16, 30, 30, 30, None, 0.25]
    assert [number for number, is_first in enumerate(store.failures) if is_first] == [0, 10]


def test_the_end_sends_until_the_store_has_everything() -> None:
    store = Store(iter([DOWN, "half", None]))
    assert store.delivery.finish(store.deadline(60)) is None
    assert store.failures == [True, False], "one outage"


def test_the_end_gives_up_when_nothing_was_taken_for_too_long_and_waits_a_second_at_most() -> None:
    store = Store(repeat(DOWN))
    assert store.delivery.finish(store.deadline(10)) is DOWN
    pauses = [later - earlier - 1.0 for earlier, later in zip(store.attempts, store.attempts[1:], strict=False)]
    assert pauses[:4] == [0.25, 0.5, 1.0, 1.0]
    assert 10.0 < store.now_s < 13.0


def test_what_a_store_takes_gives_it_more_time() -> None:
    store = Store(chain(["a little"] * 20, repeat(DOWN)))
    assert store.delivery.finish(store.deadline(5)) is DOWN
    assert store.now_s > 20 + 5


def test_a_refusal_is_not_tried_again() -> None:
    store = Store(iter([DOWN, REFUSED]))
    assert store.delivery.finish(store.deadline(60)) is REFUSED


def test_a_shortened_deadline_ends_even_if_the_store_still_takes_things() -> None:
    store = Store(repeat("a little"))
    deadline = store.deadline(60)
    assert str(deadline) == "nothing more was taken within 60 s"
    deadline.shorten(5)
    assert store.delivery.finish(deadline) is not None
    assert store.now_s < 8
    assert str(deadline) == "not done within 5 s"


def test_a_deadline_is_endless_until_the_end_begins() -> None:
    deadline = Deadline(5, lambda: 0.0, clock=lambda: 100.0)
    assert deadline.seconds_left == float("inf")
    deadline.begin()
    assert deadline.seconds_left == 5
