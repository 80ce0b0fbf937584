"""Fleet of Ray actors, one for each slot with its allocation of CPUs and GPUs."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Self, TypeVar

from ray.exceptions import RayError

from runner.fleet.deadlines import Deadlines, answer_by_s
from runner.fleet.ray import patches
from runner.fleet.ray.actor import STOP
from runner.fleet.ray.calls import Call, Lost, gather
from runner.fleet.ray.loaded import LoadedData
from runner.fleet.ray.pool import Pool
from runner.fleet.ray.postmortem import Death, KernelKills, explain
from runner.fleet.ray.session import RaySession
from runner.fleet.ray.transfers import fetched, sent
from runner.fleet.ray.workers import Workers
from runner.host.processes import send
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

if TYPE_CHECKING:
    from runner.worker.startup import Device

A = TypeVar("A")
K = TypeVar("K")


class RayFleet:
    """Workers as Ray actors.

    Args:
        slots: the slots; each gets one actor.
        address: of a running Ray cluster; None starts one on this machine for this sweep alone.
        cpus: CPUs that a cluster started here may use. Its GPUs are those of the slots.
        deadlines: time limits of the workers' calls.
        nice: niceness of the workers of a cluster started here, relative to this process.
        environment: variables of the workers of a cluster started here, beside those of this process.
        codes: identities of the sources of all trials.
        pool: gives Ray and workers, and takes them back; None for one that keeps nothing.
        meanwhile: called at every poll while the fleet waits for Ray or workers; an exception of it ends the wait.
        warn: shows the user a warning.
    """

    def __init__(
        self,
        slots: Sequence[Slot],
        *,
        address: str | None,
        cpus: int,
        deadlines: Deadlines | None = None,
        nice: int = 0,
        environment: Mapping[str, str] = MappingProxyType({}),
        codes: Collection[str] = (),
        pool: Pool | None = None,
        meanwhile: Callable[[], None] = lambda: None,
        warn: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._address, self._meanwhile, self._warn = address, meanwhile, warn
        gpus = gpus_used(slots)
        resources = {"num_cpus": cpus, "num_gpus": len(gpus)} if address is None else {}
        self._session = RaySession(
            gpus, address=address or "local", nice=nice, environment=environment, meanwhile=meanwhile, **resources
        )
        self._codes, self._pool = codes, pool or Pool()
        self._workers = Workers(slots, self._pool, stopped=lambda: self._stop_time() is not None)
        self._loaded = LoadedData()
        self._deadlines = deadlines or Deadlines()
        self._stopped_s: float | None = None
        self._kernel = KernelKills()
        self._busy: set[int] = set()  # slots without an answer when a stop ended the wait

    def __enter__(self) -> Self:
        self._session = self._pool.open(self._session)
        try:
            if (problem := patches.warning()) is not None:
                self._warn(problem)
            self._pool.choose(list(self._workers.slots.values()), self._codes, self._warn)
            self._workers.start(list(self._workers.slots))
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *exc: object) -> None:
        self._loaded.clear()
        self._pool.take_back(self._workers, self._busy)

    def check(self, trials: Sequence[Trial]) -> Mapping[str, Checked | Failure]:
        """As `Fleet.check`; spreads the trials over the workers, and has idle workers check a trial too.

        A worker keeps what it traced in a check for the first trial of that architecture.
        """
        calls = self._spread("check", trials)
        slots = list(self._workers.actors)
        for index, slot in enumerate(slots[len(trials) :]):
            trial = trials[index % len(trials)]
            limit_s = self._deadlines.first_s
            self._call(slot, "check", trial, answer_by_s(limit_s), load=[trial], limit_s=limit_s)
        return self._checked(trials, calls)

    @property
    def is_loading(self) -> bool:
        """As `Fleet.is_loading`."""
        return self._loaded.is_pending

    def probe(self, trials: Sequence[Trial]) -> Mapping[str, Checked | Failure]:
        """As `Fleet.probe`; spreads the trials over the workers."""
        return self._checked(trials, self._spread("probe", trials))

    def retire(self, slot: int) -> None:
        """As `Fleet.retire`."""
        self._workers.end(slot)
        del self._workers.slots[slot]
        self._loaded.forget_unproven()

    def advance(self, work: Mapping[int, tuple[Work, ...]]) -> Mapping[str, Report | Failure]:
        """As `Fleet.advance`; kills workers that exceed their limit."""
        calls = {}
        for slot, items in work.items():
            trials = [item.trial for item in items]
            loading_s = self._deadlines.first_s * (not all(map(self._loaded.has, trials)))
            limit_s = self._deadlines.limit_s(trials) + loading_s
            calls[slot] = self._call(slot, "advance", self._reachable(slot, items), load=trials, limit_s=limit_s)
        reports: dict[str, Report | Failure] = {}
        for slot, answer in self._gather(calls).items():
            found = {i.trial.id: answer.of(i.trial) for i in work[slot]} if isinstance(answer, Lost) else answer
            reports |= found
            self._loaded.prove(i.trial for i in work[slot] if isinstance(found.get(i.trial.id), Report))
        self._deadlines.learn_all(reports.values())
        return reports

    def export(
        self, work: Mapping[int, tuple[tuple[Trial, bool], ...]], folder: Path | None = None
    ) -> Mapping[str, Export | Failure]:
        """As `Fleet.export`; fetches the files of workers on other machines."""
        calls, trials = {}, {}
        for slot, chosen in work.items():
            for place, (trial, best) in enumerate(chosen, start=1):
                trials[trial.id] = trial
                limit_s, target = self._deadlines.first_s * place, self._writable(slot, folder)
                calls[trial.id] = self._call(slot, "export", trial, best, target, limit_s=limit_s)
        found = {}
        for trial_id, answer in self._gather(calls).items():
            local = self._fetched(calls[trial_id].slot, answer, folder)
            if local is not None:
                found[trial_id] = _value(trials[trial_id], local)
        return found

    def snapshot(
        self, work: Mapping[int, tuple[Trial, ...]], folder: Path | None = None
    ) -> Mapping[str, Snapshot | Failure]:
        """As `Fleet.snapshot`; fetches the files of workers on other machines."""
        calls = {
            slot: self._call(slot, "snapshot", trials, self._writable(slot, folder), limit_s=self._deadlines.first_s)
            for slot, trials in work.items()
        }
        found: dict[str, Snapshot | Failure] = {}
        for slot, answer in self._gather({slot: c for slot, c in calls.items() if slot not in self._busy}).items():
            for trial in work[slot]:
                one = answer if isinstance(answer, Lost) else answer.get(trial.id)
                local = None if one is None else self._fetched(slot, one, folder)
                if local is not None:
                    found[trial.id] = _value(trial, local)
        return found

    def restore(self, work: Mapping[int, tuple[Replay, ...]]) -> Mapping[str, Report | Failure | None]:
        """As `Fleet.restore`."""
        calls, trials, lost = {}, {}, dict[str, Lost]()
        for slot, replays in work.items():
            limit_s = 0.0
            for replay in replays:
                trial, queued_s = replay.trial, limit_s
                trials[trial.id] = trial
                for segment in replay.segments:
                    limit_s += self._deadlines.first_s + len(segment.orders) * self._deadlines.limit_s([segment.trial])
                self._deadlines.forget(trial)
                is_remote = bool(self._workers.slots[slot].allocation.node)
                replay = replace(replay, orders=self._reachable(slot, replay.orders))
                found = sent(replay, partial(self._ask, slot, after_s=queued_s)) if is_remote else replay
                if isinstance(found, Replay):
                    parts = [segment.trial for segment in replay.segments]
                    calls[trial.id] = self._call(slot, "restore", found, load=parts, limit_s=limit_s)
                elif found is not None:
                    lost[trial.id] = found
        answers = {**lost, **self._gather(calls)}
        reports = {trial_id: _value(trials[trial_id], answer) for trial_id, answer in answers.items()}
        self._deadlines.learn_all(reports.values())
        return reports

    def stop(self) -> None:
        """As `Fleet.stop`; abandons the turns of a cluster's workers because it cannot send them signals."""
        self._stopped_s = time.monotonic()
        if self._address is None:
            for device in list(self._workers.devices.values()):
                send(device.pid, device.started, STOP)

    def replace(self, shares: Mapping[int, Allocation | None]) -> None:
        """As `Fleet.replace`."""
        self._loaded.forget_unproven()
        self._workers.replace(shares)

    @property
    def devices(self) -> Mapping[int, Device]:
        """Each worker's device, by slot."""
        return self._workers.devices

    def _call(self, slot: int, name: str, *arguments: object, limit_s: float, load: Sequence[Trial] = ()) -> Call:
        """Calls a method of the slot's worker with the arguments, followed by the data of the trials in `load`."""
        actor = self._workers.actors.get(slot)
        if actor is None:
            return Call(slot=slot, future=None, limit_s=limit_s)
        loaded = [self._loaded.of(trial, actor) for trial in load]
        return Call(slot=slot, future=getattr(actor, name).remote(*arguments, *loaded), limit_s=limit_s)

    def _writable(self, slot: int, folder: Path | None) -> Path | None:
        """The folder if the slot's worker can write to it; None if the worker is on another machine."""
        return None if self._workers.slots[slot].allocation.node else folder

    def _reachable(self, slot: int, items: tuple[Work, ...]) -> tuple[Work, ...]:
        """The turns without folders that the slot's worker cannot write to."""
        return tuple(replace(item, files=self._writable(slot, item.files)) for item in items)

    def _fetched(self, slot: int, answer: A, folder: Path | None) -> A | Lost | None:
        """The answer with its files on this machine; None if a stop ended their transfer."""
        if folder is not None and self._writable(slot, folder) is not None:
            return answer
        return fetched(answer, partial(self._ask, slot), folder)

    def _ask(self, slot: int, name: str, *arguments: object, after_s: float = 0.0) -> Any:
        """Calls a method of the slot's worker and waits for the answer; None if a stop ended the wait.

        `after_s` is the limit in seconds of the worker's pending calls, which it answers first.
        """
        call = self._call(slot, name, *arguments, limit_s=after_s + self._deadlines.first_s)
        return self._gather({slot: call}).get(slot)

    def _spread(self, name: str, trials: Sequence[Trial]) -> dict[str, Call]:
        """Calls the workers in turn, one trial a call; a worker's limits add up over its calls."""
        slots, calls = list(self._workers.actors), {}
        for index, trial in enumerate(trials):
            slot, place = slots[index % len(slots)], 1 + index // len(slots)
            limit_s = self._deadlines.first_s * place
            calls[trial.id] = self._call(slot, name, trial, answer_by_s(limit_s), load=[trial], limit_s=limit_s)
        return calls

    def _checked(self, trials: Sequence[Trial], calls: Mapping[str, Call]) -> dict[str, Checked | Failure]:
        """Waits for the trials' checks or probes, and replaces lost workers."""
        answers = self._gather(calls)
        found = {trial.id: _value(trial, answers[trial.id]) for trial in trials if trial.id in answers}
        lost = {trial_id for trial_id, value in found.items() if isinstance(value, Failure) and value.lost_worker}
        if lost:
            self.replace(dict.fromkeys(calls[trial_id].slot for trial_id in lost))
        return found

    def _gather(self, calls: Mapping[K, Call]) -> dict[K, Any]:
        answers = gather(calls, self._workers.end, self._stop_time, self._explain)
        self._kernel.mark()
        self._busy |= {call.slot for key, call in calls.items() if key not in answers}
        return answers

    def _stop_time(self) -> float | None:
        """When `stop` was called, on the monotonic clock in seconds; called at every poll while workers are awaited.

        Raises:
            FleetError: Ray's control process has ended.
            Exception: raised by `meanwhile`.
        """
        self._session.check()
        self._meanwhile()
        return self._stopped_s

    def _explain(self, slot: int, err: RayError) -> Death:
        """Finds why the slot's worker was lost; on a cluster from Ray's error alone."""
        limited = self._workers.slots[slot].allocation.memory_mib is not None
        if self._address is not None:
            return explain(err, None, None, limited)
        return explain(err, self._workers.last_process(slot), self._kernel, limited)


def _value(trial: Trial, answer: A | Lost) -> A | Failure:
    return answer.of(trial) if isinstance(answer, Lost) else answer
