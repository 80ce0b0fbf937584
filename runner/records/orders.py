"""What a user has asked of a running sweep, as the loop carries it out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from runner.records.decision import Decision
from runner.records.trial import Trial
from runner.records.work import Verdict


@dataclass(frozen=True, kw_only=True, slots=True)
class Orders:
    """Everything that is to be obeyed at one barrier.

    Args:
        ends: verdicts about trials that end.
        pauses: trials that leave their places until they are continued.
        continues: paused trials that go on.
        added: trials that join the sweep.
        decisions: how the journal records it, with the numbers of the requests.
    """

    ends: Mapping[str, Verdict] = field(default_factory=dict)
    pauses: tuple[str, ...] = ()
    continues: tuple[str, ...] = ()
    added: tuple[Trial, ...] = ()
    decisions: tuple[Decision, ...] = ()
