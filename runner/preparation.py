"""A sweep before its first round: trials, slots, what they were measured to need, and the fleet for them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from runner.config import Config, Member, resolve_members
from runner.machine import this_machine
from runner.measurements import MeasurementsFile
from runner.placement import Machine, Request, needs_a_probe, plan_slots
from runner.probe import CACHE as NEEDS
from runner.probe import Need, Needs, is_complete, largest
from runner.recording import versions
from runner.records import Checked, Slot, Trial, Work
from runner.schedule import Schedule, live_within
from runner.seams import Fleet
from runner.search.propose import propose_trials
from runner.settle import CACHE, Settling
from runner.shares import Shares
from runner.timings import TimingsFile

_STATES_SHARE = 0.25  # of the host's memory, for the states of rotating trials


@dataclass(frozen=True, kw_only=True, slots=True)
class Prepared:
    """Everything that is known before a worker exists.

    Args:
        needs: each distinct model, with what it takes where that was measured before.
        to_probe: the slots follow from what the models take, and not all of them were measured.
    """

    config: Config
    members: tuple[Member, ...]
    trials: tuple[Trial, ...]
    slots: tuple[Slot, ...]
    machine: Machine
    needs: tuple[Need, ...] = ()
    to_probe: bool = False


def prepare(config: Config) -> Prepared:
    """Members, trials and slots; no TensorFlow, no Ray.

    Raises:
        ConfigError: experiment files, parameters or search do not fit together.
        PlacementError: the slots do not fit the machine.
    """
    members = resolve_members(config)
    trials, request = propose_trials(members, config), _request(config)
    machine, known = _measured_machine(request)
    needs = known.of(trials)
    to_probe = needs_a_probe(request, machine) and not is_complete(needs)
    slots = plan_slots(request, machine, len(trials), None if to_probe else largest(needs))
    return Prepared(
        config=config, members=members, trials=trials, slots=slots, machine=machine, needs=needs, to_probe=to_probe
    )


def probe(prepared: Prepared) -> Prepared:
    """The same sweep once all its models are measured: each is built and trained for some steps.

    On GPUs one worker has a whole one; without, as many workers as there are slots.
    """
    request = _request(prepared.config)
    _, known = _measured_machine(request)
    unknown = [need.trial for need in prepared.needs if need.memory_mib is None]
    if not unknown:
        return prepared
    slots = prepared.slots
    if any(slot.allocation.gpus for slot in slots):
        slots = plan_slots(Request(max_concurrent=1), prepared.machine, 1)
    with open_fleet(prepared, slots) as fleet:
        for trial, found in zip(unknown, fleet.probe(unknown).values(), strict=True):
            known.keep(trial, found)
        if slots[0].allocation.gpus:
            known.keep_overhead(prepared.machine, this_machine(), slots[0])
    return replace(prepare(prepared.config), to_probe=False)


def _request(config: Config) -> Request:
    return Request(**config.resources.model_dump())


def _measured_machine(request: Request) -> tuple[Machine, Needs]:
    """The machine with what is known of it, and what is known of models on it."""
    machine = this_machine()
    device = machine.gpus[0].name if machine.gpus and request.num_gpus != 0 else "cpu"
    known = Needs(MeasurementsFile(NEEDS.expanduser()), device, versions())
    return replace(machine, gpu_overhead_mib=known.overhead_mib or machine.gpu_overhead_mib), known


def within_memory(prepared: Prepared, checked: Mapping[str, Checked], fleet: Fleet) -> Prepared:
    """The sweep on no more workers than the host's memory holds, by what the check has just measured.

    Only where there is no GPU and `max_concurrent` is left open. Workers that are too many are ended.
    """
    request, slots = _request(prepared.config), prepared.slots
    if slots[0].allocation.gpus or request.max_concurrent != "auto":
        return prepared
    need = max(check.memory_mib for check in checked.values())
    holds = len(plan_slots(request, prepared.machine, len(prepared.trials), need or None))
    for slot in slots[holds:]:
        fleet.retire(slot.index)
    return replace(prepared, slots=slots[:holds])


def open_fleet(prepared: Prepared, slots: Sequence[Slot]) -> Fleet:
    """The configured fleet for these slots, not yet started."""
    fleet = prepared.config.fleet
    if fleet.kind == "local":
        from runner.fleet.local import LocalFleet

        return LocalFleet(slots)
    from runner.fleet.patience import Patience
    from runner.fleet.ray import RayFleet

    patience = Patience(first_s=fleet.first_turn_timeout_s, later_s=fleet.turn_timeout_s)
    return RayFleet(slots, address=fleet.address, cpus=prepared.machine.cpus, patience=patience)


def settled(prepared: Prepared, checked: Mapping[str, Checked], fleet: Fleet) -> tuple[Trial, ...]:
    """The trials with nothing left to `auto`."""
    file, allocation = TimingsFile(CACHE.expanduser()), prepared.slots[0].allocation
    settling = Settling(file, allocation, len(prepared.slots), versions(), fleet.check)
    return settling.settle(prepared.trials, checked)


def make_schedule(prepared: Prepared, parameters: int, begun: Mapping[str, Work] | None = None) -> Schedule:
    """Trials queue or rotate, as the config says.

    Args:
        prepared: the sweep.
        parameters: weights of its largest model.
        begun: the next turns of trials that an earlier driver has trained.
    """
    live = None
    if prepared.config.schedule == "rotate":
        live = live_within(prepared.machine.memory_mib * _STATES_SHARE, parameters, len(prepared.trials))
    return Schedule(prepared.trials, prepared.slots, live, begun)


def make_shares(prepared: Prepared) -> Shares | None:
    """The slots' shares, which can grow; None where all models are in this process, which has no limit for each."""
    return Shares(prepared.slots, prepared.machine) if prepared.config.fleet.kind == "ray" else None
