"""One Ray actor for each slot, with the slot's share of CPUs and GPU."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Self, TypeVar

from ray.exceptions import RayError

from runner.fleet.deadlines import Deadlines, answer_by_s
from runner.fleet.ray.actor import STOP
from runner.fleet.ray.calls import Call, Lost, gather
from runner.fleet.ray.postmortem import Death, KernelKills, explain
from runner.fleet.ray.session import RaySession
from runner.fleet.ray.transfers import fetched, sent
from runner.fleet.ray.workers import Workers
from runner.host.endings import send
from runner.host.processes import start_of
from runner.placement import gpus_used
from runner.records import (
    Allocation,
    Checked,
    Export,
    Failure,
    Replay,
    Report,
    Slot,
    Snapshot,
    Trial,
    Work,
)

A = TypeVar("A")


class RayFleet:
    """Workers as Ray actors.

    Args:
        slots: one actor each.
        address: of a running Ray cluster; None starts one on this machine, for this sweep alone.
        cpus: CPUs that a cluster started here may use. Its GPUs are those of the slots.
        deadlines: how long a worker may take.
        nice: added to this process' niceness for that of the workers of a cluster started here.
        meanwhile: called at every poll while Ray or workers are awaited; what it raises ends the waiting.
    """

    def __init__(
        self,
        slots: Sequence[Slot],
        *,
        address: str | None,
        cpus: int,
        deadlines: Deadlines | None = None,
        nice: int = 0,
        meanwhile: Callable[[], None] = lambda: None,
    ) -> None:
        self._address, self._meanwhile = address, meanwhile
        options = _options(address, cpus, len(gpus_used(slots)))
        self._session = RaySession(gpus_used(slots), nice=nice, meanwhile=meanwhile, **options)
        self._workers = Workers(slots, stopped=lambda: self._asked_to_stop() is not None)
        self._loaded: dict[str, Any] = {}
        self._proven: set[str] = set()  # data that a trial has trained on: it is in the object store
        self._deadlines = deadlines or Deadlines()
        self._stopped_s: float | None = None
        self._kernel = KernelKills()
        self._busy: set[int] = set()  # slots that had not answered when a stop ended the waiting

    def __enter__(self) -> Self:
        self._session.__enter__()
        try:
            self._workers.start(list(self._workers.slots))
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *exc: object) -> None:
        self._loaded.clear()
        with contextlib.ExitStack() as endings:  # one that fails keeps none of the others from ending
            endings.callback(self._session.__exit__)
            for slot in list(self._workers.actors):
                endings.callback(self._workers.end, slot)

    def check(self, trials: Sequence[Trial]) -> Mapping[str, Checked | Failure]:
        """As `Fleet.check`; trials are spread over the workers, and those left over try one too.

        What a worker has traced in a check it need not trace for the first trial of that architecture.
        """
        calls = self._spread("check", trials)
        slots = list(self._workers.actors)
        for index, slot in enumerate(slots[len(trials) :]):
            trial = trials[index % len(trials)]
            limit_s = self._deadlines.first_s
            self._call(slot, "check", trial, answer_by_s(limit_s), load=[trial], limit_s=limit_s)
        return self._tried(trials, calls)

    def probe(self, trials: Sequence[Trial]) -> Mapping[str, Checked | Failure]:
        """As `Fleet.probe`; trials are spread over the workers."""
        return self._tried(trials, self._spread("probe", trials))

    def retire(self, slot: int) -> None:
        """As `Fleet.retire`."""
        self._workers.end(slot)
        del self._workers.slots[slot]
        self._forget_unproven()

    def advance(self, work: Mapping[int, tuple[Work, ...]]) -> Mapping[str, Report | Failure]:
        """As `Fleet.advance`; a worker that takes too long is killed."""
        calls = {}
        for slot, items in work.items():
            trials = [item.trial for item in items]
            loading_s = self._deadlines.first_s * any(trial.data_key not in self._loaded for trial in trials)
            limit_s = self._deadlines.limit_s(trials) + loading_s
            calls[slot] = self._call(slot, "advance", items, load=trials, limit_s=limit_s)
        reports: dict[str, Report | Failure] = {}
        for slot, answer in self._gather(calls).items():
            found = {i.trial.id: answer.of(i.trial) for i in work[slot]} if isinstance(answer, Lost) else answer
            reports |= found
            self._proven |= {i.trial.data_key for i in work[slot] if isinstance(found.get(i.trial.id), Report)}
        self._deadlines.learn_all(reports.values())
        return reports

    def export(
        self, work: Mapping[int, tuple[tuple[Trial, bool], ...]], folder: Path | None = None
    ) -> Mapping[str, Export | Failure]:
        """As `Fleet.export`; what a worker on another machine has written is fetched from there."""
        calls, trials = {}, {}
        for slot, chosen in work.items():
            for place, (trial, best) in enumerate(chosen, start=1):
                trials[trial.id] = trial
                limit_s, there = self._deadlines.first_s * place, self._seen_from(slot, folder)
                calls[trial.id] = self._call(slot, "export", trial, best, there, limit_s=limit_s)
        found = {}
        for trial_id, answer in self._gather(calls).items():
            here = self._brought(calls[trial_id].slot, answer, folder)
            if here is not None:
                found[trial_id] = _value(trials[trial_id], here)
        return found

    def snapshot(
        self, work: Mapping[int, tuple[Trial, ...]], folder: Path | None = None
    ) -> Mapping[str, Snapshot | Failure]:
        """As `Fleet.snapshot`; what a worker on another machine has written is fetched from there."""
        calls = {
            slot: self._call(slot, "snapshot", trials, self._seen_from(slot, folder), limit_s=self._deadlines.first_s)
            for slot, trials in work.items()
        }
        found: dict[str, Snapshot | Failure] = {}
        for slot, answer in self._gather({slot: c for slot, c in calls.items() if slot not in self._busy}).items():
            for trial in work[slot]:
                one = answer if isinstance(answer, Lost) else answer.get(trial.id)
                here = None if one is None else self._brought(slot, one, folder)
                if here is not None:
                    found[trial.id] = _value(trial, here)
        return found

    def restore(self, work: Mapping[int, tuple[Replay, ...]]) -> Mapping[str, Report | Failure | None]:
        """As `Fleet.restore`."""
        calls, trials, lost = {}, {}, dict[str, Lost]()
        for slot, replays in work.items():
            limit_s = 0.0
            for replay in replays:
                trial, queued_s = replay.trial, limit_s
                trials[trial.id] = trial
                limit_s += self._deadlines.first_s + len(replay.orders) * self._deadlines.limit_s([trial])
                self._deadlines.forget(trial)
                elsewhere = bool(self._workers.slots[slot].allocation.node)
                there = sent(replay, partial(self._ask, slot, after_s=queued_s)) if elsewhere else replay
                if isinstance(there, Replay):
                    calls[trial.id] = self._call(slot, "restore", there, load=[trial], limit_s=limit_s)
                elif there is not None:
                    lost[trial.id] = there
        answers = {**lost, **self._gather(calls)}
        reports = {trial_id: _value(trials[trial_id], answer) for trial_id, answer in answers.items()}
        self._deadlines.learn_all(reports.values())
        return reports

    def stop(self) -> None:
        """As `Fleet.stop`. Workers on other machines cannot be told; their turns are given up instead."""
        self._stopped_s = time.monotonic()
        if self._address is None:
            for device in list(self._workers.devices.values()):
                if start_of(device.pid) == device.started:
                    send(device.pid, STOP)

    def replace(self, shares: Mapping[int, Allocation | None]) -> None:
        """As `Fleet.replace`."""
        self._forget_unproven()
        self._workers.replace(shares)

    @property
    def devices(self) -> Mapping[int, Any]:
        """What each slot's worker found when it started."""
        return self._workers.devices

    def _call(self, slot: int, name: str, *arguments: Any, limit_s: float, load: Sequence[Trial] = ()) -> Call:
        """Calls the slot's worker; the data of `load` follows the arguments."""
        actor = self._workers.actors.get(slot)
        if actor is None:
            return Call(slot=slot, future=None, limit_s=limit_s)
        loaded = [self._load(actor, trial) for trial in load]
        return Call(slot=slot, future=getattr(actor, name).remote(*arguments, *loaded), limit_s=limit_s)

    def _seen_from(self, slot: int, folder: Path | None) -> Path | None:
        """The folder where the slot's worker can write into it; None on another machine."""
        return None if self._workers.slots[slot].allocation.node else folder

    def _brought(self, slot: int, answer: A, folder: Path | None) -> A | Lost | None:
        """The answer with its files on this machine; None where a stop has prevented that."""
        if folder is not None and self._seen_from(slot, folder) is not None:
            return answer
        return fetched(answer, partial(self._ask, slot), folder)

    def _ask(self, slot: int, name: str, *arguments: Any, after_s: float = 0.0) -> Any:
        """What the slot's worker answers; None where a stop has ended the waiting.

        `after_s` is the time for the calls that it has not answered yet, which come first.
        """
        call = self._call(slot, name, *arguments, limit_s=after_s + self._deadlines.first_s)
        return self._gather({slot: call}).get(slot)

    def _spread(self, name: str, trials: Sequence[Trial]) -> dict[str, Call]:
        """Calls the workers in turn, a trial each; one that has several is given the time for all of them."""
        slots, calls = list(self._workers.actors), {}
        for index, trial in enumerate(trials):
            slot, place = slots[index % len(slots)], 1 + index // len(slots)
            limit_s = self._deadlines.first_s * place
            calls[trial.id] = self._call(slot, name, trial, answer_by_s(limit_s), load=[trial], limit_s=limit_s)
        return calls

    def _tried(self, trials: Sequence[Trial], calls: Mapping[str, Call]) -> dict[str, Checked | Failure]:
        """What the trials' checks found; workers that were lost are replaced."""
        answers = self._gather(calls)
        found = {trial.id: _value(trial, answers[trial.id]) for trial in trials if trial.id in answers}
        lost = {trial_id for trial_id, value in found.items() if isinstance(value, Failure) and value.lost_worker}
        if lost:
            self.replace(dict.fromkeys(calls[trial_id].slot for trial_id in lost))
        return found

    def _gather(self, calls: Mapping[Any, Call]) -> dict[Any, Any]:
        answers = gather(calls, self._workers.end, self._asked_to_stop, self._explain)
        self._kernel.mark()
        self._busy |= {call.slot for key, call in calls.items() if key not in answers}
        return answers

    def _asked_to_stop(self) -> float | None:
        """When `stop` was called. Asked at every poll of whoever waits for workers.

        Raises:
            FleetError: Ray's control process has ended.
            Exception: what `meanwhile` raises.
        """
        self._session.check()
        self._meanwhile()
        return self._stopped_s

    def _explain(self, slot: int, err: RayError) -> Death:
        """Why the slot's worker was lost. On other machines only Ray can tell."""
        limited = self._workers.slots[slot].allocation.memory_mib is not None
        if self._address is not None:
            return explain(err, None, None, limited)
        return explain(err, self._workers.last_process(slot), self._kernel, limited)

    def _forget_unproven(self) -> None:
        """Data that a worker which has ended may not have loaded to the end is loaded again."""
        self._loaded = {key: future for key, future in self._loaded.items() if key in self._proven}

    def _load(self, actor: Any, trial: Trial) -> Any:
        """The trial's data as a future, loaded by this worker where no other has begun to."""
        if trial.data_key not in self._loaded:
            self._loaded[trial.data_key] = actor.load.remote(trial)
        return self._loaded[trial.data_key]


def _options(address: str | None, cpus: int, gpus: int) -> dict[str, Any]:
    quiet = {"log_to_driver": False, "logging_level": "ERROR"}
    if address is not None:
        return {**quiet, "address": address}
    return {**quiet, "address": "local", "include_dashboard": False, "num_cpus": cpus, "num_gpus": gpus}


def _value(trial: Trial, answer: Any) -> Any:
    return answer.of(trial) if isinstance(answer, Lost) else answer
