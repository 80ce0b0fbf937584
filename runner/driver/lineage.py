"""How the state of a trial came about: its turns, and those of the trials from whose states it went on."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from runner.errors import ConfigError, JournalError
from runner.journal import JournalReader
from runner.loop.history import read_history
from runner.records import Clone, Report, Segment, Trial


def lineage(folder: Path, clone: Clone) -> tuple[Segment, ...]:
    """Everything that leads to the state from which a trial goes on, as `loop.interfaces.Lineage`."""
    with JournalReader(folder) as reader:
        return path_to(reader, clone.parent, clone.round, clone.step)


def path_to(reader: JournalReader, trial_id: str, turns: int, step: int) -> tuple[Segment, ...]:
    """Everything that leads to a trial's state after a number of its turns, the last of which ends with this step.

    The first segment starts at the beginning of its trial, each other one from the state in which the one before ends.
    Trials that it passes through appear with the turns that count only.
    """
    found: list[Segment] = []
    while turns > 0:
        reports, trial = reader.reports(trial_id)[:turns], reader.trial(trial_id).trial
        if len(reports) < turns:
            raise JournalError(
                f"trial {trial_id}: the journal no longer has the {turns} turns that led to a state from which another "
                "trial goes on; they are trained again first: resume once more"
            )
        segment = read_history(trial, reports, reader.decisions(trial_id)).segments[-1]
        last = replace(segment.orders[-1], until=step)
        found.insert(0, replace(segment, orders=(*segment.orders[:-1], last)))
        clone = segment.orders[0].clone
        if clone is None:
            break
        trial_id, turns, step = clone.parent, clone.round, clone.step
    return tuple(found)


def state_of(folder: Path, trial_id: str, epoch: object, newest: Report | None) -> tuple[Trial, Clone]:
    """The trial that an epoch ended with, and how another one goes on from there.

    Args:
        folder: the sweep's.
        trial_id: the trial.
        epoch: completed epochs; None for its newest state.
        newest: its last report, if the journal does not have it yet.

    Raises:
        ConfigError: it has not trained that long.
    """
    with JournalReader(folder) as reader:
        record, decisions = reader.trial(trial_id), reader.decisions(trial_id)
        reports = [*reader.reports(trial_id), *([] if newest is None else [newest])]
    if not reports or (isinstance(epoch, int) and epoch > reports[-1].epoch):
        done = reports[-1].epoch if reports else 0
        raise ConfigError(f"trial {trial_id} has trained {done} epochs; there is no such state to go on from")
    last, step = reports[-1], reports[-1].step
    if isinstance(epoch, int):
        last = next(report for report in reports if report.epoch >= epoch)
        length = record.facts.steps_per_epoch if record.facts is not None else last.step // last.epoch
        step = epoch * length
    turns = last.round + 1
    order = read_history(record.trial, reports[:turns], decisions).orders[-1]
    reached = epoch if isinstance(epoch, int) else last.epoch
    if order.clone is not None and reached <= order.clone.epoch:  # before that, its state was the other one's
        return state_of(folder, order.clone.parent, reached, None)
    if reached >= record.trial.train.epochs:
        raise ConfigError(
            f"trial {trial_id} has trained all of its {record.trial.train.epochs} epochs: nothing is left for a clone; "
            "go on from an earlier state with --at-epoch, or give all trials more with `resume --more-epochs`"
        )
    return order.trial, Clone(parent=trial_id, round=turns, step=step, epoch=reached)
