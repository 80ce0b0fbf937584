"""One Ray actor for each slot, with the slot's share of CPUs and GPU."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Mapping, Sequence
from typing import Any, Self

import ray
from ray.exceptions import RayActorError, RayError, RayTaskError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from runner.errors import FleetError
from runner.fleet.actor import STOP, RayWorker
from runner.fleet.calls import Call, Lost, gather
from runner.fleet.deaths import KernelKills, want_of_memory
from runner.fleet.nodes import wait_on
from runner.fleet.patience import Patience
from runner.fleet.processes import send, wait_until_free, wait_until_gone
from runner.fleet.session import RaySession
from runner.placement import gpus_used, in_waves, match
from runner.processes import start_of
from runner.records import Allocation, Checked, Export, Failure, Replay, Report, Slot, Snapshot, Trial, Work

_START_TIMEOUT_S = 180.0
_POLL_S = 0.25  # a signal's handler runs between two polls


class RayFleet:
    """Workers as Ray actors.

    Args:
        slots: one actor each.
        address: of a running Ray cluster; None starts one on this machine, for this sweep alone.
        cpus: CPUs that a cluster started here may use. Its GPUs are those of the slots.
        patience: how long a worker may take.
    """

    def __init__(
        self, slots: Sequence[Slot], *, address: str | None, cpus: int, patience: Patience | None = None
    ) -> None:
        self._slots = {slot.index: slot for slot in slots}
        self._address = address
        self._session = RaySession(gpus_used(slots), **_options(address, cpus, len(gpus_used(slots))))
        self._actors: dict[int, Any] = {}
        self._devices: dict[int, Any] = {}
        self._ended: dict[int, int] = {}  # the last process of each slot that has ended
        self._loaded: dict[str, Any] = {}
        self._proven: set[str] = set()  # data that a trial has trained on: it is in the object store
        self._patience = patience or Patience()
        self._stopped_s: float | None = None
        self._kernel = KernelKills()
        self._busy: set[int] = set()  # slots that had not answered when a stop ended the waiting

    def __enter__(self) -> Self:
        self._session.__enter__()
        try:
            self._start(list(self._slots.values()))
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
        calls = self._spread("check", trials)
        slots = list(self._actors)
        for index, slot in enumerate(slots[len(trials) :]):
            trial = trials[index % len(trials)]
            self._call(slot, "check", trial, load=[trial], limit_s=self._patience.first_s)
        return self._tried(trials, calls)

    def probe(self, trials: Sequence[Trial]) -> Mapping[str, Checked | Failure]:
        """As `Fleet.probe`; trials are spread over the workers."""
        return self._tried(trials, self._spread("probe", trials))

    def retire(self, slot: int) -> None:
        """As `Fleet.retire`."""
        self._end(slot)
        del self._slots[slot]
        self._forget_unproven()

    def advance(self, work: Mapping[int, tuple[Work, ...]]) -> Mapping[str, Report | Failure]:
        """As `Fleet.advance`; a worker that takes too long is killed."""
        calls = {}
        for slot, items in work.items():
            trials = [item.trial for item in items]
            loading_s = self._patience.first_s * any(trial.data_key not in self._loaded for trial in trials)
            limit_s = self._patience.limit_s(trials) + loading_s
            calls[slot] = self._call(slot, "advance", items, load=trials, limit_s=limit_s)
        reports: dict[str, Report | Failure] = {}
        for slot, answer in self._gather(calls).items():
            found = {i.trial.id: answer.of(i.trial) for i in work[slot]} if isinstance(answer, Lost) else answer
            reports |= found
            self._proven |= {i.trial.data_key for i in work[slot] if isinstance(found.get(i.trial.id), Report)}
        self._patience.learn_all(reports.values())
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
        self._patience.learn_all(reports.values())
        return reports

    def stop(self) -> None:
        """As `Fleet.stop`. Workers on other machines cannot be told; their turns are given up instead."""
        self._stopped_s = time.monotonic()
        if self._address is None:
            for device in list(self._devices.values()):
                if start_of(device.pid) == device.started:
                    send(device.pid, STOP)

    def replace(self, shares: Mapping[int, Allocation | None]) -> None:
        """As `Fleet.replace`. Together, as Ray may put workers that are alike in each other's places."""
        for slot, allocation in shares.items():
            pid = self._end(slot)
            share = allocation or self._slots[slot].allocation
            if share.gpus and pid is not None:
                share_mib = (share.gpu_memory_mib or 0) + share.gpu_overhead_mib
                wait_on(share.node, wait_until_free, share.gpus, share_mib, pid)
        given = {slot: allocation for slot, allocation in shares.items() if allocation is not None}
        self._slots |= {slot: Slot(index=slot, allocation=allocation) for slot, allocation in given.items()}
        self._forget_unproven()
        self._start([self._slots[slot] for slot in shares])

    @property
    def devices(self) -> Mapping[int, Any]:
        """What each slot's worker found when it started."""
        return self._devices

    def _start(self, slots: Sequence[Slot]) -> None:
        """Starts these slots' workers, all that Ray can place at once together."""
        pending: dict[int, Any] = {}
        for wave in in_waves(slots):
            pending |= self._create(wave)
        found = {slot: self._ready(slot, future) for slot, future in sorted(pending.items())}
        self._devices |= {slot: device for slot, device in found.items() if device is not None}

    def _create(self, wave: Sequence[Slot]) -> dict[int, Any]:
        """Starts workers for slots that are alike to Ray; which is whose is decided once Ray has put them on GPUs.

        Returns:
            The future device of each slot.
        """
        workers = [_actor(slot.allocation) for slot in wave]
        places = {slot.index: index for index, slot in enumerate(wave)}
        self._actors |= {slot: workers[place] for slot, place in places.items()}  # to be ended, whatever happens
        if any(slot.allocation.gpus for slot in wave):
            pending = [(slot.index, worker.gpus.remote()) for slot, worker in zip(wave, workers, strict=True)]
            found = [self._ready(slot, future) for slot, future in pending]
            places = places if None in found else _places(wave, found)
        self._actors |= {slot: workers[place] for slot, place in places.items()}
        return {slot.index: self._actors[slot.index].start.remote(slot.allocation) for slot in wave}

    def _ready(self, slot: int, future: Any) -> Any:
        """The answer of a worker that starts; None where a stop ends the waiting."""
        began_s = time.monotonic()
        while not ray.wait([future], timeout=_POLL_S)[0]:
            if self._stopped_s is not None:
                return None
            if time.monotonic() - began_s > _START_TIMEOUT_S:
                allocation = self._slots[slot].allocation
                raise FleetError(
                    f"slot {slot}: no worker after {_START_TIMEOUT_S:.0f} s for {allocation.num_cpus:g} CPUs and "
                    f"{allocation.num_gpus:g} GPUs; Ray has {ray.available_resources()} free"
                )
        try:
            return ray.get(future)
        except RayTaskError as err:
            raise FleetError(f"slot {slot}: {err.cause if isinstance(err.cause, FleetError) else err}") from err
        except RayError as err:
            raise FleetError(f"slot {slot}: the worker did not start: {err}") from err

    def _call(self, slot: int, name: str, *arguments: Any, limit_s: float, load: Sequence[Trial] = ()) -> Call:
        """Calls the slot's worker; the data of `load` follows the arguments."""
        actor = self._actors.get(slot)
        if actor is None:
            return Call(slot=slot, future=None, limit_s=limit_s)
        loaded = [self._load(actor, trial) for trial in load]
        return Call(slot=slot, future=getattr(actor, name).remote(*arguments, *loaded), limit_s=limit_s)

    def _spread(self, name: str, trials: Sequence[Trial]) -> dict[str, Call]:
        """Calls the workers in turn, a trial each; one that has several is given the time for all of them."""
        slots, calls = list(self._actors), {}
        for index, trial in enumerate(trials):
            slot, place = slots[index % len(slots)], 1 + index // len(slots)
            calls[trial.id] = self._call(slot, name, trial, load=[trial], limit_s=self._patience.first_s * place)
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
        answers = gather(calls, self._end, lambda: self._stopped_s, self._want_of_memory)
        self._kernel.mark()
        self._busy |= {call.slot for key, call in calls.items() if key not in answers}
        return answers

    def _want_of_memory(self, slot: int, err: RayError) -> str | None:
        """What says that the slot's worker was lost for want of memory. On other machines only Ray can tell."""
        device = self._devices.get(slot)
        limited = self._slots[slot].allocation.memory_mib is not None
        if self._address is not None:
            return want_of_memory(err, None, None, limited)
        pid = self._ended.get(slot) if device is None else device.pid  # ended over an earlier one of its calls
        return want_of_memory(err, pid, self._kernel, limited)

    def _forget_unproven(self) -> None:
        """Data that a worker which has ended may not have loaded to the end is loaded anew."""
        self._loaded = {key: future for key, future in self._loaded.items() if key in self._proven}

    def _load(self, actor: Any, trial: Trial) -> Any:
        """The trial's data as a future, loaded by this worker where no other has begun to."""
        if trial.data_key not in self._loaded:
            self._loaded[trial.data_key] = actor.load.remote(trial)
        return self._loaded[trial.data_key]

    def _end(self, slot: int) -> int | None:
        """Kills the worker and waits until its process is gone, and with it what it held on the device.

        Returns:
            The process that was ended here or earlier in this slot; None where there was none.
        """
        actor, device = self._actors.pop(slot, None), self._devices.pop(slot, None)
        if actor is None:
            return self._ended.get(slot)
        with contextlib.suppress(RayActorError):
            ray.kill(actor, no_restart=True)
        if device is not None:
            self._ended[slot] = device.pid
            allocation = self._slots[slot].allocation
            wait_on(allocation.node, wait_until_gone, device.pid, device.started)
            if allocation.gpus:
                wait_on(allocation.node, wait_until_free, allocation.gpus, 0, device.pid)
        return self._ended.get(slot)


def _actor(allocation: Allocation) -> Any:
    options = {"num_cpus": allocation.num_cpus, "num_gpus": allocation.num_gpus, "max_restarts": 0}
    if allocation.node:
        options["scheduling_strategy"] = NodeAffinitySchedulingStrategy(allocation.node, soft=False)
    return ray.remote(RayWorker).options(**options).remote()


def _places(wave: Sequence[Slot], found: Sequence[tuple[str, ...]]) -> dict[int, int]:
    """Which of the workers is each slot's, by the GPUs that they got.

    Raises:
        FleetError: Ray has placed them otherwise than planned, so that a GPU could be over-committed.
    """
    chosen = match(wave, found)
    if chosen is None:
        planned = "; ".join(",".join(slot.allocation.gpus) for slot in wave)
        raise FleetError(
            f"{len(wave)} workers of {wave[0].allocation.num_gpus:g} GPU were planned for GPUs {planned}; Ray has put "
            f"them on {'; '.join(map(','.join, found))}, where their memory limits may not fit; a cluster's Ray "
            "fills all GPUs of a node in their order: end what else uses them, or start the sweep without fleet.address"
        )
    return {slot.index: place for slot, place in zip(wave, chosen, strict=True)}


def _options(address: str | None, cpus: int, gpus: int) -> dict[str, Any]:
    quiet = {"log_to_driver": False, "logging_level": "ERROR"}
    if address is not None:
        return {**quiet, "address": address}
    return {**quiet, "address": "local", "include_dashboard": False, "num_cpus": cpus, "num_gpus": gpus}


def _value(trial: Trial, answer: Any) -> Any:
    return answer.of(trial) if isinstance(answer, Lost) else answer
