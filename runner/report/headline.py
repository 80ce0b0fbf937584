"""What a sweep says in a few lines: who won, by how much, what mattered, what it cost, what failed."""

from __future__ import annotations

import statistics
from collections import Counter
from dataclasses import dataclass

from runner.report.data import SweepData, label_of
from runner.report.study import importance
from runner.review.tables import readable

_LAST_LINES = 6  # of a traceback


@dataclass(frozen=True, kw_only=True, slots=True)
class Fact:
    """One fact: a label, the fact itself, and a line that explains it."""

    label: str
    value: str
    detail: str


@dataclass(frozen=True, kw_only=True, slots=True)
class FailureGroup:
    """Trials that have failed with one message.

    Args:
        trials: their ids.
        message: the first line of their reason.
        lines: the last lines of the first one's traceback.
    """

    trials: tuple[str, ...]
    message: str
    lines: str


def facts(data: SweepData) -> list[Fact]:
    """The facts at the top of the page."""
    return [_score(data), _winner(data), _lead(data), _importance(data), _cost(data)]


def failures(data: SweepData) -> list[FailureGroup]:
    """The trials that have failed, by message."""
    groups: dict[str, list[int]] = {}
    trials = data.review.trials
    for place, trial in enumerate(trials):
        if trial.status == "failed":
            groups.setdefault(trial.reason.partition("\n")[0], []).append(place)
    return [
        FailureGroup(
            trials=tuple(trials[place].id for place in places),
            message=message,
            lines="\n".join(trials[places[0]].traceback.strip().splitlines()[-_LAST_LINES:]),
        )
        for message, places in groups.items()
    ]


def _score(data: SweepData) -> Fact:
    best = data.best
    value = None if best is None else data.score(best)
    goal = "higher is better" if data.maximizes else "lower is better"
    epoch = f"of epoch {best.kept_epoch}, " if best is not None and best.kept_epoch else ""
    return Fact(label=f"best {data.metric}", value=readable(value), detail=epoch + goal)


def _winner(data: SweepData) -> Fact:
    if data.best is None or data.score(data.best) is None:
        return Fact(label="won by", value="–", detail="no trial has a score yet")
    settings = label_of(data.best, data.varied(data.best.member)) or "all trials have the same settings"
    details, setting = [settings], data.review.setting_of(data.best)
    if len(data.members) > 1:
        details.append(f"best of {data.best.member}; scores of members do not compare")
    elif len(setting.trials) > 1:
        details.append(f"the setting with the best mean, {readable(setting.mean)} of {setting.scores} repeats")
    return Fact(label="won by", value=f"trial {data.best.id}", detail="; ".join(details))


def _lead(data: SweepData) -> Fact:
    values = [] if data.best is None else data.values_of(data.best.member)
    if len(values) < 2:
        return Fact(label="ahead by", value="–", detail="it takes two trials with a score")
    ties = values.count(values[0])
    if ties > 1:
        detail = f"{ties} have the same best value; the one that was proposed first is named"
        return Fact(label="ahead by", value="a tie", detail=detail)
    lead, beyond = abs(values[0] - values[1]), abs(values[0] - statistics.median(values))
    spreads = [one.spread for _, one in data.review.by_setting if one.spread is not None]
    noise = f"; seeds of one setting spread by {readable(statistics.median(spreads), 2)}" if spreads else ""
    detail = f"of the second; {readable(beyond, 3)} ahead of the median{noise}"
    return Fact(label="ahead by", value=readable(lead, 3), detail=detail)


def _importance(data: SweepData) -> Fact:
    member = data.best.member if data.best is not None else data.members[0]
    found = importance(data, member)
    if found is None and len(varied := data.varied(member)) == 1:
        return Fact(label="mattered most", value=varied[0], detail="it alone varies")
    if found is None:
        return Fact(label="mattered most", value="–", detail="it takes four trials and two parameters that vary")
    (name, share), *others = found.shares.items()
    then = ", ".join(f"{other} {part:.0%}" for other, part in others[:2])
    after = f" after epoch {found.epoch}" if found.epoch is not None else ""
    return Fact(
        label="mattered most",
        value=name,
        detail=f"{share:.0%} of the differences{after}" + (f"; then {then}" if then else ""),
    )


def _cost(data: SweepData) -> Fact:
    sweep, trials = data.review.sweep, data.review.trials
    slots = len({row.slot for row in data.turns})
    ended_ms = sweep.ended_ms or max((1000 * row.turn.ended_s for row in data.turns), default=sweep.created_ms)
    seconds = sum(row.turn.compute_s for row in data.turns)  # what `times` calls training too
    counts = Counter(one.status for one in trials)
    told = ", ".join(f"{count} {status}" for status, count in counts.most_common())
    return Fact(
        label="cost",
        value=duration((ended_ms - sweep.created_ms) / 1000),
        detail=f"{len(trials)} trials ({told}), {sum(one.epochs for one in trials)} epochs, "
        f"{duration(seconds)} of training on {slots} slot{'s' if slots != 1 else ''}",
    )


def duration(seconds: float) -> str:
    """A duration as people say it.

    Example:
        >>> duration(93.4), duration(7320)
        ('1 min 33 s', '2 h 2 min')
    """
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
