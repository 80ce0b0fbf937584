"""Proves that workers compute through the MPS daemon, and records it where one does not."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from runner.host.mps import clients_of
from runner.loop.interfaces import Journal
from runner.loop.slots import Shares
from runner.records import Allocation, Decision, Export, Failure, Incident, Mps, Report, Trial, Verdict, Work

Warn = Callable[[str], None]


def proven(journal: Journal, mps: Mps | None, shares: Shares | None, warn: Warn) -> Journal:
    """The journal; around it a proof where a daemon of this machine serves the workers.

    Args:
        journal: of the sweep.
        mps: the state of MPS on this machine; None on a cluster.
        shares: of the slots; None if they have no workers of their own.
        warn: shows which slot does without.
    """
    if mps is None or not mps.pipes or shares is None:
        return journal
    return MpsProof(journal, mps.pipes, shares, warn)


class MpsProof:
    """A journal that also asks the MPS daemon, at a worker's first report, whether the worker is its client.

    A slot whose worker is not is recorded as one without MPS. An `interfaces.Journal`.

    Args:
        journal: which it wraps.
        pipes: of the daemon.
        shares: of the slots.
        warn: shows which slot does without.
    """

    def __init__(self, journal: Journal, pipes: str, shares: Shares, warn: Warn) -> None:
        self._journal, self._pipes, self._shares = journal, pipes, shares
        self._warn = warn
        self._judged: set[int] = set()
        self._slots: dict[str, int] = {}

    def assign(self, work: Mapping[int, tuple[Work, ...]]) -> None:
        """As `Journal.assign`."""
        self._slots = {item.trial.id: slot for slot, items in work.items() for item in items}
        self._journal.assign(work)

    def commit(
        self,
        reports: Mapping[str, Report | Failure],
        verdicts: Mapping[str, Verdict],
        exports: Mapping[str, Export | Failure],
        added: Sequence[Trial] = (),
        decisions: Sequence[Decision] = (),
    ) -> None:
        """As `Journal.commit`, after the proof, because a trial's share is recorded as long as it trains."""
        self._judge({self._slots[i]: one.turn.pid for i, one in reports.items() if isinstance(one, Report)})
        self._journal.commit(reports, verdicts, exports, added, decisions)

    def add(self, trials: Sequence[Trial], decisions: Sequence[Decision]) -> None:
        """As `Journal.add`."""
        self._journal.add(trials, decisions)

    def note(self, incident: Incident) -> None:
        """As `Journal.note`."""
        self._journal.note(incident)

    def resize(self, slot: int, allocation: Allocation) -> None:
        """As `Journal.resize`."""
        self._journal.resize(slot, allocation)

    def _judge(self, processes: Mapping[int, int]) -> None:
        new = {
            slot: pid
            for slot, pid in processes.items()
            if pid not in self._judged and self._shares.of(slot).mps in ("own", "foreign")
        }
        if not new or (clients := clients_of(self._pipes, os.environ)) is None:
            return
        self._judged |= set(new.values())
        for slot, pid in new.items():
            if pid not in clients:
                allocation = replace(self._shares.of(slot), mps="unavailable", mps_thread_percentage=None)
                self._shares.put({slot: allocation})
                self._journal.resize(slot, allocation)
                self._warn(
                    f"warning: slot {slot} computes without MPS, in turns with its neighbours: its process {pid} is no "
                    f"client of the daemon with its pipes in {self._pipes}"
                )
