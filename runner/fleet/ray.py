"""One Ray actor for each slot, with the slot's share of CPUs and GPU."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Mapping, Sequence
from typing import Any, Self

# Read by Ray when it is imported. Undocumented, so tests watch them: a local cluster listens on loopback alone, and
# SIGTERM is left to Python (Ray would print a stack trace and abort).
os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")
os.environ.setdefault("RAY_DISABLE_FAILURE_SIGNAL_HANDLER", "1")

import ray
from ray.exceptions import GetTimeoutError, RayActorError, RayError

from runner.errors import FleetError
from runner.fleet.calls import Call, Lost, gather
from runner.fleet.patience import Patience
from runner.fleet.processes import send, wait_until_gone
from runner.fleet.session import RaySession
from runner.records import Allocation, Checked, Export, Failure, Replay, Report, Slot, Snapshot, Trial, Work

_START_TIMEOUT_S = 180.0
_STOP = signal.SIGUSR1  # tells a worker to interrupt its turn: a call would wait until the turn is over


class RayWorker:
    """A `Worker` behind Ray's calls; data sets arrive as zero-copy arrays from the object store."""

    def __init__(self, allocation: Allocation) -> None:
        from runner.worker import process

        self._device = process.configure(allocation)
        from runner.worker.worker import Worker

        self._worker = Worker()
        signal.signal(_STOP, lambda *_: self._worker.stop())

    def device(self) -> Any:
        """What this process found after it had applied its allocation."""
        return self._device

    def load(self, trial: Trial) -> Any:
        """As `Worker.load`."""
        return self._worker.load(trial)

    def check(self, trial: Trial, loaded: Any) -> Checked | Failure:
        """As `Worker.check`."""
        return self._worker.check(trial, loaded)

    def advance(self, work: tuple[Work, ...], *loaded: Any) -> dict[str, Report | Failure]:
        """As `Worker.advance`."""
        return self._worker.advance(work, loaded)

    def export(self, trial: Trial, best: bool) -> Export | Failure:
        """As `Worker.export`."""
        return self._worker.export(trial, best)

    def snapshot(self, trials: tuple[Trial, ...]) -> dict[str, Snapshot | Failure]:
        """As `Worker.snapshot`."""
        return self._worker.snapshot(trials)

    def restore(self, replay: Replay, loaded: Any) -> Report | Failure | None:
        """As `Worker.restore`."""
        return self._worker.restore(replay, loaded)


class RayFleet:
    """Workers as Ray actors.

    Args:
        slots: one actor each.
        address: of a running Ray cluster; None starts one on this machine, for this sweep alone.
        cpus: CPUs that a cluster started here may use.
        gpus: GPUs that a cluster started here may use.
        patience: how long a worker may take.
    """

    def __init__(
        self,
        slots: Sequence[Slot],
        *,
        address: str | None,
        cpus: int,
        gpus: int,
        patience: Patience | None = None,
    ) -> None:
        self._slots = {slot.index: slot for slot in slots}
        self._address = address
        self._session = RaySession(**_options(address, cpus, gpus))
        self._actors: dict[int, Any] = {}
        self._devices: dict[int, Any] = {}
        self._loaded: dict[str, Any] = {}
        self._patience = patience or Patience()
        self._stopped_s: float | None = None
        self._busy: set[int] = set()  # slots that had not answered when a stop ended the waiting

    def __enter__(self) -> Self:
        self._session.__enter__()
        try:
            for slot in self._slots:
                self._actors[slot] = self._create(slot)
            pending = {slot: actor.device.remote() for slot, actor in self._actors.items()}
            self._devices = {slot: self._ready(slot, future) for slot, future in pending.items()}
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *exc: object) -> None:
        self._loaded.clear()
        with contextlib.ExitStack() as endings:  # one that fails keeps none of the others from ending
            endings.callback(self._session.__exit__)
            for slot in list(self._actors):
                endings.callback(self._end, slot)

    def check(self, trials: Sequence[Trial]) -> Mapping[str, Checked | Failure]:
        """As `Fleet.check`; trials are spread over the workers, and those left over try one too.

        What a worker has traced in a check it need not trace for the first trial of that architecture.
        """
        slots, calls = list(self._actors), {}
        for index, trial in enumerate(trials):
            slot, place = slots[index % len(slots)], 1 + index // len(slots)
            calls[trial.id] = self._call(slot, "check", trial, load=[trial], limit_s=self._patience.first_s * place)
        for index, slot in enumerate(slots[len(trials) :]):
            trial = trials[index % len(trials)]
            self._call(slot, "check", trial, load=[trial], limit_s=self._patience.first_s)
        answers = self._gather(calls)
        for slot in {calls[trial_id].slot for trial_id, answer in answers.items() if isinstance(answer, Lost)}:
            self.replace(slot)
        return {trial.id: _value(trial, answers[trial.id]) for trial in trials if trial.id in answers}

    def advance(self, work: Mapping[int, tuple[Work, ...]]) -> Mapping[str, Report | Failure]:
        """As `Fleet.advance`; a worker that takes too long is killed."""
        calls = {}
        for slot, items in work.items():
            trials = [item.trial for item in items]
            limit_s = self._patience.limit_s(trials)
            calls[slot] = self._call(slot, "advance", items, load=trials, limit_s=limit_s)
        reports: dict[str, Report | Failure] = {}
        for slot, answer in self._gather(calls).items():
            found = {i.trial.id: answer.of(i.trial) for i in work[slot]} if isinstance(answer, Lost) else answer
            reports |= found
        self._learn(reports)
        return reports

    def export(self, work: Mapping[int, tuple[tuple[Trial, bool], ...]]) -> Mapping[str, Export | Failure]:
        """As `Fleet.export`."""
        calls, trials = {}, {}
        for slot, chosen in work.items():
            for place, (trial, best) in enumerate(chosen, start=1):
                trials[trial.id] = trial
                limit_s = self._patience.first_s * place
                calls[trial.id] = self._call(slot, "export", trial, best, limit_s=limit_s)
        return {trial_id: _value(trials[trial_id], answer) for trial_id, answer in self._gather(calls).items()}

    def snapshot(self, work: Mapping[int, tuple[Trial, ...]]) -> Mapping[str, Snapshot | Failure]:
        """As `Fleet.snapshot`."""
        first_s = self._patience.first_s
        calls = {slot: self._call(slot, "snapshot", trials, limit_s=first_s) for slot, trials in work.items()}
        found: dict[str, Snapshot | Failure] = {}
        for slot, answer in self._gather({slot: c for slot, c in calls.items() if slot not in self._busy}).items():
            found |= {trial.id: answer.of(trial) for trial in work[slot]} if isinstance(answer, Lost) else answer
        return found

    def restore(self, work: Mapping[int, tuple[Replay, ...]]) -> Mapping[str, Report | Failure | None]:
        """As `Fleet.restore`."""
        calls, trials = {}, {}
        for slot, replays in work.items():
            limit_s = 0.0
            for replay in replays:
                trial = trials[replay.trial.id] = replay.trial
                limit_s += self._patience.first_s + len(replay.orders) * self._patience.limit_s([trial])
                self._patience.forget(trial)
                calls[trial.id] = self._call(slot, "restore", replay, load=[trial], limit_s=limit_s)
        answers = self._gather(calls)
        reports = {trial_id: _value(trials[trial_id], answer) for trial_id, answer in answers.items()}
        self._learn(reports)
        return reports

    def stop(self) -> None:
        """As `Fleet.stop`. Workers on other machines cannot be told; their turns are given up instead."""
        self._stopped_s = time.monotonic()
        if self._address is None:
            for device in list(self._devices.values()):
                send(device.pid, _STOP)

    def replace(self, slot: int) -> None:
        """As `Fleet.replace`. Data that the dead worker was to load is loaded anew."""
        self._end(slot)
        self._loaded.clear()
        self._actors[slot] = self._create(slot)
        self._devices[slot] = self._ready(slot, self._actors[slot].device.remote())

    @property
    def devices(self) -> Mapping[int, Any]:
        """What each slot's worker found when it started."""
        return self._devices

    def _create(self, slot: int) -> Any:
        allocation = self._slots[slot].allocation
        options = {"num_cpus": allocation.num_cpus, "num_gpus": allocation.num_gpus, "max_restarts": 0}
        return ray.remote(RayWorker).options(**options).remote(allocation)

    def _ready(self, slot: int, future: Any) -> Any:
        try:
            return ray.get(future, timeout=_START_TIMEOUT_S)
        except GetTimeoutError as err:
            allocation = self._slots[slot].allocation
            raise FleetError(
                f"slot {slot}: no worker after {_START_TIMEOUT_S:.0f} s for {allocation.num_cpus:g} CPUs and "
                f"{allocation.num_gpus:g} GPUs; Ray has {ray.available_resources()} free"
            ) from err
        except RayError as err:
            raise FleetError(f"slot {slot}: the worker did not start: {err}") from err

    def _call(self, slot: int, name: str, *arguments: Any, limit_s: float, load: Sequence[Trial] = ()) -> Call:
        """Calls the slot's worker; the data of `load` follows the arguments."""
        actor = self._actors.get(slot)
        if actor is None:
            return Call(slot=slot, future=None, limit_s=limit_s)
        loaded = [self._load(actor, trial) for trial in load]
        return Call(slot=slot, future=getattr(actor, name).remote(*arguments, *loaded), limit_s=limit_s)

    def _gather(self, calls: Mapping[Any, Call]) -> dict[Any, Any]:
        answers = gather(calls, self._end, lambda: self._stopped_s)
        self._busy |= {call.slot for key, call in calls.items() if key not in answers}
        return answers

    def _learn(self, reports: Mapping[str, Report | Failure | None]) -> None:
        for report in reports.values():
            if isinstance(report, Report):
                self._patience.learn(report)

    def _load(self, actor: Any, trial: Trial) -> Any:
        """The trial's data as a future, loaded by this worker where no other has begun to."""
        if trial.data_key not in self._loaded:
            self._loaded[trial.data_key] = actor.load.remote(trial)
        return self._loaded[trial.data_key]

    def _end(self, slot: int) -> None:
        """Kills the worker and waits until its process is gone, and with it what it held on the device."""
        actor, device = self._actors.pop(slot, None), self._devices.pop(slot, None)
        if actor is None:
            return
        with contextlib.suppress(RayActorError):
            ray.kill(actor, no_restart=True)
        if device is not None and self._address is None:
            wait_until_gone(device.pid)


def _options(address: str | None, cpus: int, gpus: int) -> dict[str, Any]:
    quiet = {"log_to_driver": False, "logging_level": "ERROR"}
    if address is not None:
        return {**quiet, "address": address}
    return {**quiet, "address": "local", "include_dashboard": False, "num_cpus": cpus, "num_gpus": gpus}


def _value(trial: Trial, answer: Any) -> Any:
    return answer.of(trial) if isinstance(answer, Lost) else answer
