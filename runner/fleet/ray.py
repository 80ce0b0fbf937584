"""One Ray actor for each slot, with the slot's share of CPUs and GPU."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Self, TypeVar

# Read by Ray when it is imported. Undocumented, so tests watch them: a local cluster listens on loopback alone, and
# SIGTERM is left to Python (Ray would print a stack trace and abort).
os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")
os.environ.setdefault("RAY_DISABLE_FAILURE_SIGNAL_HANDLER", "1")

import ray
from ray.exceptions import GetTimeoutError, RayActorError, RayError, RayTaskError

from runner.errors import FleetError
from runner.fleet.session import RaySession
from runner.placement import gpus_used, in_waves, match
from runner.records import Allocation, Checked, Export, Failure, FailureKind, Report, Slot, Trial, Work

T = TypeVar("T")
_START_TIMEOUT_S = 180.0
_END_TIMEOUT_S = 10.0


class RayWorker:
    """A `Worker` behind Ray's calls; data sets arrive as zero-copy arrays from the object store."""

    def gpus(self) -> tuple[str, ...]:
        """The GPUs that Ray has given to this process."""
        return tuple(ray.get_runtime_context().get_accelerator_ids().get("GPU", ()))

    def start(self, allocation: Allocation) -> Any:
        """Makes the process a worker within its limits; returns what it then found, a `Device`."""
        from runner.worker import process

        device = process.configure(allocation)
        from runner.worker.worker import Worker

        self._worker = Worker()
        return device

    def load(self, trial: Trial) -> Any:
        """As `Worker.load`."""
        return self._worker.load(trial)

    def check(self, trial: Trial, loaded: Any) -> Checked | Failure:
        """As `Worker.check`."""
        return self._worker.check(trial, loaded)

    def probe(self, trial: Trial, loaded: Any) -> Checked | Failure:
        """As `Worker.probe`."""
        return self._worker.probe(trial, loaded)

    def advance(self, work: tuple[Work, ...], *loaded: Any) -> dict[str, Report | Failure]:
        """As `Worker.advance`."""
        return self._worker.advance(work, loaded)

    def export(self, trial: Trial, best: bool) -> Export | Failure:
        """As `Worker.export`."""
        return self._worker.export(trial, best)


class RayFleet:
    """Workers as Ray actors.

    Args:
        slots: one actor each.
        address: of a running Ray cluster; None starts one on this machine, for this sweep alone.
        cpus: CPUs that a cluster started here may use. Its GPUs are those of the slots.
    """

    def __init__(self, slots: Sequence[Slot], *, address: str | None, cpus: int) -> None:
        self._slots = {slot.index: slot for slot in slots}
        self._address = address
        self._session = RaySession(gpus_used(slots), **_options(address, cpus, len(gpus_used(slots))))
        self._actors: dict[int, Any] = {}
        self._devices: dict[int, Any] = {}
        self._loaded: dict[str, Any] = {}

    def __enter__(self) -> Self:
        self._session.__enter__()
        try:
            pending: dict[int, Any] = {}
            for wave in in_waves(list(self._slots.values())):
                pending |= self._create(wave)
            self._devices = {slot: self._ready(slot, future) for slot, future in sorted(pending.items())}
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
        slots, futures = list(self._actors), {}
        places = {trial.id: slots[index % len(slots)] for index, trial in enumerate(trials)}
        for trial in trials:
            actor = self._actors[places[trial.id]]
            futures[trial.id] = actor.check.remote(trial, self._load(actor, trial))
        for index, slot in enumerate(slots[len(trials) :]):
            trial = trials[index % len(trials)]
            self._actors[slot].check.remote(trial, self._load(self._actors[slot], trial))
        found = {trial_id: _value(trial_id, "worker", future) for trial_id, future in futures.items()}
        for slot in {places[f.trial_id] for f in found.values() if isinstance(f, Failure) and f.kind == "worker"}:
            self.replace(slot)
        return found

    def probe(self, trials: Sequence[Trial]) -> Mapping[str, Checked | Failure]:
        """As `Fleet.probe`; trials are spread over the workers."""
        slots, futures = list(self._actors), {}
        places = {trial.id: slots[index % len(slots)] for index, trial in enumerate(trials)}
        for trial in trials:
            actor = self._actors[places[trial.id]]
            futures[trial.id] = actor.probe.remote(trial, self._load(actor, trial))
        found = {trial_id: _value(trial_id, "worker", future) for trial_id, future in futures.items()}
        for slot in {places[f.trial_id] for f in found.values() if isinstance(f, Failure) and f.kind == "worker"}:
            self.replace(slot)
        return found

    def retire(self, slot: int) -> None:
        """As `Fleet.retire`. Data that this worker has loaded is loaded anew."""
        self._end(slot)
        del self._slots[slot]
        self._loaded.clear()

    def advance(self, work: Mapping[int, tuple[Work, ...]]) -> Mapping[str, Report | Failure]:
        """As `Fleet.advance`: all futures first, then all results."""
        futures = {}
        for slot, items in work.items():
            actor = self._actors[slot]
            futures[slot] = actor.advance.remote(items, *(self._load(actor, item.trial) for item in items))
        reports: dict[str, Report | Failure] = {}
        for slot, future in futures.items():
            reports |= _values([item.trial for item in work[slot]], future)
        return reports

    def export(self, work: Mapping[int, tuple[tuple[Trial, bool], ...]]) -> Mapping[str, Export | Failure]:
        """As `Fleet.export`."""
        futures = {
            trial.id: self._actors[slot].export.remote(trial, best)
            for slot, trials in work.items()
            for trial, best in trials
        }
        return {trial_id: _value(trial_id, "worker", future) for trial_id, future in futures.items()}

    def replace(self, slot: int) -> None:
        """As `Fleet.replace`. Data that the dead worker was to load is loaded anew."""
        self._end(slot)
        self._loaded.clear()
        self._devices[slot] = self._ready(slot, self._create([self._slots[slot]])[slot])

    @property
    def devices(self) -> Mapping[int, Any]:
        """What each slot's worker found when it started."""
        return self._devices

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
            places = _places(wave, found)
        self._actors |= {slot: workers[place] for slot, place in places.items()}
        return {slot.index: self._actors[slot.index].start.remote(slot.allocation) for slot in wave}

    def _ready(self, slot: int, future: Any) -> Any:
        try:
            return ray.get(future, timeout=_START_TIMEOUT_S)
        except GetTimeoutError as err:
            allocation = self._slots[slot].allocation
            raise FleetError(
                f"slot {slot}: no worker after {_START_TIMEOUT_S:.0f} s for {allocation.num_cpus:g} CPUs and "
                f"{allocation.num_gpus:g} GPUs; Ray has {ray.available_resources()} free"
            ) from err
        except RayTaskError as err:
            raise FleetError(f"slot {slot}: {err.cause if isinstance(err.cause, FleetError) else err}") from err
        except RayError as err:
            raise FleetError(f"slot {slot}: the worker did not start: {err}") from err

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
            _wait_until_gone(device.pid)


def _actor(allocation: Allocation) -> Any:
    options = {"num_cpus": allocation.num_cpus, "num_gpus": allocation.num_gpus, "max_restarts": 0}
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
            f"them on {'; '.join(map(','.join, found))}, where their memory limits may not fit; end what else uses "
            "this Ray cluster's GPUs, or start the sweep without fleet.address"
        )
    return {slot.index: place for slot, place in zip(wave, chosen, strict=True)}


def _options(address: str | None, cpus: int, gpus: int) -> dict[str, Any]:
    quiet = {"log_to_driver": False, "logging_level": "ERROR"}
    if address is not None:
        return {**quiet, "address": address}
    return {**quiet, "address": "local", "include_dashboard": False, "num_cpus": cpus, "num_gpus": gpus}


def _values(trials: Sequence[Trial], future: Any) -> dict[str, Report | Failure]:
    try:
        reports: dict[str, Report | Failure] = ray.get(future)
    except RayError as err:
        return {trial.id: _worker_failure(trial.id, "worker", err) for trial in trials}
    return reports


def _value(trial_id: str, kind: FailureKind, future: Any) -> Any:
    try:
        return ray.get(future)
    except RayError as err:
        return _worker_failure(trial_id, kind, err)


def _worker_failure(trial_id: str, kind: FailureKind, err: RayError) -> Failure:
    first_line = str(err).strip().splitlines()[0] if str(err).strip() else ""
    return Failure(trial_id=trial_id, kind=kind, message=f"{type(err).__name__}: {first_line}", traceback=str(err))


def _wait_until_gone(pid: int, timeout_s: float = _END_TIMEOUT_S, sleep: Callable[[float], None] = time.sleep) -> None:
    """Waits for a process of this machine to end, and after a tenth of the time kills it.

    Raises:
        FleetError: it is still there.
    """
    began = time.monotonic()
    while _is_running(pid):
        waited = time.monotonic() - began
        if waited > timeout_s:
            raise FleetError(f"worker process {pid} did not end within {timeout_s:.0f} s after it was killed")
        if waited > timeout_s / 10:  # Ray cannot do it any more, where a signal has ended its own processes too
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        sleep(0.01)


def _is_running(pid: int) -> bool:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8")
    except (FileNotFoundError, ProcessLookupError):
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"  # a zombie holds nothing; its parent may be gone
