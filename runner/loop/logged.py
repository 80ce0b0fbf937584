"""A fleet around another that keeps what trials print and masks secrets, so that the loop need not know of either."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Self, TypeVar

from runner.loop.interfaces import Fleet
from runner.records import Allocation, Aside, Checked, Export, Failure, Replay, Report, Snapshot, Trial, Work
from runner.texts.excerpt import last_lines
from runner.texts.redaction import CUT

A = TypeVar("A")
_LINES = 20  # of a trial's output in the traceback of its failure
_LONGEST = 120  # characters of its last one in the message


class LoggedFleet:
    """Wraps a fleet: takes the output and warnings of experiments out of its answers, and secrets out of its failures.

    Args:
        fleet: the wrapped fleet.
        write: stores a trial's output and returns the name of its file; empty if there is none yet.
        warn: shows a warning to the user.
        masked: removes secrets from a text. Failures and warnings enter the driver here, and only here are they masked.
    """

    def __init__(
        self,
        fleet: Fleet,
        write: Callable[[str, str], str],
        warn: Callable[[str], None],
        masked: Callable[[str], str] = str,
    ) -> None:
        self._fleet, self._write, self._warn, self._masked = fleet, write, warn, masked
        self._warned: set[str] = set()

    def __enter__(self) -> Self:
        self._fleet.__enter__()
        return self

    def __exit__(self, *exc: object) -> None:
        self._fleet.__exit__(*exc)

    def check(self, trials: Sequence[Trial]) -> Mapping[str, Checked | Failure]:
        """As `Fleet.check`."""
        return self._without_asides(self._fleet.check(trials))

    @property
    def is_loading(self) -> bool:
        """As `Fleet.is_loading`."""
        return self._fleet.is_loading

    def probe(self, trials: Sequence[Trial]) -> Mapping[str, Checked | Failure]:
        """As `Fleet.probe`."""
        return self._without_asides(self._fleet.probe(trials))

    def retire(self, slot: int) -> None:
        """As `Fleet.retire`."""
        self._fleet.retire(slot)

    def advance(self, work: Mapping[int, tuple[Work, ...]]) -> Mapping[str, Report | Failure]:
        """As `Fleet.advance`."""
        return self._without_asides(self._fleet.advance(work))

    def export(
        self, work: Mapping[int, tuple[tuple[Trial, bool], ...]], folder: Path | None = None
    ) -> Mapping[str, Export | Failure]:
        """As `Fleet.export`."""
        return self._without_asides(self._fleet.export(work, folder))

    def snapshot(
        self, work: Mapping[int, tuple[Trial, ...]], folder: Path | None = None
    ) -> Mapping[str, Snapshot | Failure]:
        """As `Fleet.snapshot`."""
        return self._without_asides(self._fleet.snapshot(work, folder))

    def restore(self, work: Mapping[int, tuple[Replay, ...]]) -> Mapping[str, Report | Failure | None]:
        """As `Fleet.restore`."""
        return self._without_asides(self._fleet.restore(work))

    def replace(self, shares: Mapping[int, Allocation | None]) -> None:
        """As `Fleet.replace`."""
        self._fleet.replace(shares)

    def stop(self) -> None:
        """As `Fleet.stop`."""
        self._fleet.stop()

    def _without_asides(self, answers: Mapping[str, A]) -> dict[str, A]:
        return {trial_id: self._without_aside(answer) for trial_id, answer in answers.items()}

    def _without_aside(self, answer: Any) -> Any:
        if not isinstance(answer, Checked | Report | Export | Snapshot | Failure):
            return answer
        aside = answer.aside
        for text in aside.warnings:
            if text not in self._warned:
                self._warned.add(text)
                self._warn(self._masked(text))
        file = self._write(answer.trial_id, aside.output) if aside.output else ""
        if isinstance(answer, Failure):
            answer = with_last_lines(answer, file)
            masked = {"message": self._masked(answer.message), "traceback": self._masked(answer.traceback)}
            answer = replace(answer, **masked)
        return answer if aside == Aside() else replace(answer, aside=Aside())


def with_last_lines(failure: Failure, file: str) -> Failure:
    """Adds the last lines of the output to a failure; `file` names the file with all of it, if there is one."""
    lines = last_lines(failure.aside.output, _LINES)
    if not lines:
        return failure
    last, where = lines[-1], f"; {file}" if file else ""
    last = last if len(last) <= _LONGEST else last[:_LONGEST] + CUT
    return replace(
        failure,
        message=f"{failure.message} (its output ends with {last!r}{where})",
        traceback="\n".join([failure.traceback.rstrip("\n"), "", f"the end of its output{where}:", *lines, ""]),
    )
