"""A trial that goes on from the state of another one: what was decided, and the trial with its new values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Self

from runner.records.json_values import Plain, decode, encode
from runner.records.trial import Trial


@dataclass(frozen=True, kw_only=True, slots=True)
class Clone:
    """A trial's state becomes that of another one, before its next step.

    Args:
        parent: id of the trial whose state it is.
        round: turns that the parent had completed.
        step: optimizer steps that it had taken.
        epoch: epochs that it had completed.
        values: of searched parameters from now on, by their names in `build_model` and `load_data`.
        before: the trial's own values of them until then.
        inactive: as `Trial.inactive`, from now on.
        was_inactive: as `Trial.inactive`, until then.
    """

    parent: str
    round: int
    step: int
    epoch: int
    values: Mapping[str, object] = field(default_factory=dict)
    before: Mapping[str, object] = field(default_factory=dict)
    inactive: tuple[str, ...] = ()
    was_inactive: tuple[str, ...] = ()

    @property
    def arguments(self) -> dict[str, object]:
        """As the journal keeps it, in JSON's types."""
        return {
            "parent": self.parent,
            "round": self.round,
            "step": self.step,
            "epoch": self.epoch,
            "values": encode(dict(self.values)),
            "before": encode(dict(self.before)),
            "inactive": list(self.inactive),
            "was_inactive": list(self.was_inactive),
        }

    @classmethod
    def of(cls, plain: Plain) -> Self:
        """The clone whose `arguments`, read back from JSON, are these."""
        names = {name: tuple(plain[name]) for name in ("inactive", "was_inactive")}
        return cls(**{**plain, **names, "values": decode(plain["values"]), "before": decode(plain["before"])})


def cloned(trial: Trial, clone: Clone | None) -> Trial:
    """The trial as it is trained from this clone on."""
    if clone is None or not clone.values:
        return trial
    return replace(trial, params={**trial.params, **clone.values}, inactive=clone.inactive)


def uncloned(trial: Trial, clone: Clone) -> Trial:
    """The inverse of `cloned`."""
    if not clone.values:
        return trial
    return replace(trial, params={**trial.params, **clone.before}, inactive=clone.was_inactive)
