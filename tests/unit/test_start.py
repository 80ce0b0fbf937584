"""A request to stop ends a start at once, and leaves training to the loop."""

from __future__ import annotations

import pytest

from runner.driver.start import Start
from runner.host.signals import StopRequest


def test_a_stop_ends_the_start_and_not_the_training() -> None:
    stop = StopRequest()
    start = Start(stop)
    start.check()
    stop.make()
    with pytest.raises(KeyboardInterrupt):
        start.check()
    start.is_over = True
    start.check()


def test_other_reasons_end_it_at_any_time() -> None:
    def fails() -> None:
        raise ValueError("a mistake")

    start = Start(StopRequest(), fails)
    start.is_over = True
    with pytest.raises(ValueError, match="a mistake"):
        start.check()


def test_the_check_says_whether_it_waits_for_data_and_stacks() -> None:
    start, shown, loading = Start(StopRequest()), list[str](), [True]
    with start.shown_by(shown.append):
        start.awaits_check(lambda: loading[0])
        start.check()
        loading[0] = False
        start.check()
        start.awaits_stacks()
        start.check()
    start.check()
    assert [text.split()[0] for text in shown] == ["loading", "loading", "checking", "compiling"]
