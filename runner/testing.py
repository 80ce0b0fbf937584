"""Fakes for the loop's seams. They check what they are given, so that a test with them can fail."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Self

from runner.records import Checked, Export, Facts, Failure, Metrics, Report, Trial, Turn, Verdict, Work

Curve = Callable[[Trial, int], Metrics | Failure]
"""The metrics of a trial after an epoch (from 1), or why it fails there."""


def falling_loss(trial: Trial, epoch: int) -> Metrics:
    """A loss of 1/epoch."""
    return {"loss": 1.0 / epoch}


@dataclass
class FakeFleet:
    """A fleet without processes; every epoch has `steps_per_epoch` steps.

    Args:
        slots: numbers of the slots there are.
        curve: what each trial reports.
    """

    slots: Sequence[int]
    curve: Curve = falling_loss
    steps_per_epoch: int = 4
    steps: dict[str, int] = field(default_factory=dict)
    rounds: list[dict[int, tuple[str, ...]]] = field(default_factory=list)
    received: list[Work] = field(default_factory=list)
    replaced: list[int] = field(default_factory=list)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.steps.clear()

    def check(self, trials: Sequence[Trial]) -> Mapping[str, Checked | Failure]:
        """As `Fleet.check`."""
        return {
            trial.id: Checked(trial_id=trial.id, facts=self._facts(), metrics=("loss",), step_s=1e-3, trace_s=1.0)
            for trial in trials
        }

    def probe(self, trials: Sequence[Trial]) -> Mapping[str, Checked | Failure]:
        """As `Fleet.probe`."""
        return self.check(trials)

    def retire(self, slot: int) -> None:
        """As `Fleet.retire`."""
        assert slot in self.slots
        self.slots = [other for other in self.slots if other != slot]

    def advance(self, work: Mapping[int, tuple[Work, ...]]) -> Mapping[str, Report | Failure]:
        """As `Fleet.advance`.

        Raises:
            AssertionError: a slot that does not exist, a trial in two slots, or a round out of order.
        """
        assert set(work) <= set(self.slots), f"slots {sorted(work)} of {list(self.slots)}"
        items = [item for items in work.values() for item in items]
        ids = [item.trial.id for item in items]
        assert len(ids) == len(set(ids)), f"a trial has two turns in one round: {ids}"
        self.rounds.append({slot: tuple(item.trial.id for item in items) for slot, items in work.items()})
        self.received += items
        return {item.trial.id: self._turn(item) for item in items}

    def export(self, work: Mapping[int, tuple[tuple[Trial, bool], ...]]) -> Mapping[str, Export | Failure]:
        """As `Fleet.export`; a model's bytes say whether the best was asked for."""
        exports = {}
        for trials in work.values():
            for trial, best in trials:
                assert trial.id in self.steps, f"trial {trial.id} is exported but was never seated"
                exports[trial.id] = Export(trial_id=trial.id, model=b"best" if best else b"last", weights=b"w")
        return exports

    def replace(self, slot: int) -> None:
        """As `Fleet.replace`."""
        assert slot in self.slots
        self.replaced.append(slot)

    def _turn(self, work: Work) -> Report | Failure:
        trial, step = work.trial, self.steps.get(work.trial.id, 0)
        turns_before = sum(item.trial.id == trial.id for item in self.received[:-1] if item is not work)
        assert work.round == turns_before, f"trial {trial.id} has round {work.round} after {turns_before} turns"
        step += trial.train.steps_in_turn(self.steps_per_epoch, step)
        self.steps[trial.id] = step
        metrics = self.curve(trial, -(-step // self.steps_per_epoch))
        if isinstance(metrics, Failure):
            return metrics
        return Report(
            trial_id=trial.id,
            round=work.round,
            step=step,
            epoch=step // self.steps_per_epoch,
            running={"loss": metrics["loss"]},
            epoch_metrics=metrics if step % self.steps_per_epoch == 0 else None,
            turn=Turn(pid=1, started_s=float(work.round), ended_s=work.round + 0.5, compute_s=0.5),
            facts=self._facts() if work.round == 0 else None,
        )

    def _facts(self) -> Facts:
        return Facts(
            steps_per_epoch=self.steps_per_epoch,
            rows=None,
            validation_rows=None,
            parameters=1,
            program="round",
            program_reason="",
            inexact="",
            summary="",
            loadable=True,
        )


@dataclass
class MemoryJournal:
    """A journal in memory that checks its input."""

    assigned: list[str] = field(default_factory=list)
    commits: list[tuple[Mapping[str, Report | Failure], Mapping[str, Verdict], Mapping[str, Export | Failure]]] = field(
        default_factory=list
    )

    def assign(self, work: Mapping[int, tuple[Work, ...]]) -> None:
        """As `Journal.assign`."""
        self.assigned += [item.trial.id for items in work.values() for item in items if item.round == 0]

    def commit(
        self,
        reports: Mapping[str, Report | Failure],
        verdicts: Mapping[str, Verdict],
        exports: Mapping[str, Export | Failure],
    ) -> None:
        """As `Journal.commit`.

        Raises:
            AssertionError: a report without a verdict, or of a trial that was never assigned.
        """
        assert set(reports) == set(verdicts), "every report has its verdict"
        assert set(reports) <= set(self.assigned), "a trial reports that was never assigned"
        self.commits.append((reports, verdicts, exports))


class NullWatcher:
    """Shows nothing."""

    def show(self, reports: Mapping[str, Report | Failure], verdicts: Mapping[str, Verdict]) -> None:
        """As `Watcher.show`."""
