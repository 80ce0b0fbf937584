"""A sweep before its first round: trials, slots, what they were measured to need, and the fleet for them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from runner.autotune.auto import CACHE, Check, Settling
from runner.autotune.cache import MeasurementsFile
from runner.autotune.memory import CACHE as NEEDS
from runner.autotune.memory import Need, Needs, is_complete, largest
from runner.autotune.timings import TimingsFile
from runner.config import Config
from runner.driver.machines import import_ray, machines_of
from runner.driver.record import versions
from runner.host.inventory import driver_problem, this_machine
from runner.loop.interfaces import Fleet
from runner.loop.schedule import Schedule, live_within
from runner.loop.slots import Shares
from runner.placement import Machine, Request, explain, needs_a_probe, plan_on_nodes, taking_turns
from runner.records import Checked, Failure, Slot, Trial, Work
from runner.search.members import Member, resolve_members
from runner.search.proposals import propose_trials

_STATES_SHARE = 0.25  # of the host's memory, for the states of rotating trials


@dataclass(frozen=True, kw_only=True, slots=True)
class Prepared:
    """Everything that is known before a worker exists.

    Args:
        machines: this one under the empty name, or a cluster's nodes by what Ray calls them.
        needs: each distinct model, with what it takes where that was measured before.
        to_probe: the slots follow from what the models take, and not all of them were measured.
    """

    config: Config
    members: tuple[Member, ...]
    trials: tuple[Trial, ...]
    slots: tuple[Slot, ...]
    machines: Mapping[str, Machine]
    needs: tuple[Need, ...] = ()
    to_probe: bool = False

    @property
    def machine(self) -> Machine:
        """The machine; of a cluster the first."""
        return next(iter(self.machines.values()))


def prepare(config: Config) -> Prepared:
    """Members, trials and slots; no TensorFlow, and Ray only to ask a cluster for its nodes.

    Raises:
        ConfigError: experiment files, parameters or search do not fit together.
        PlacementError: the slots do not fit the machine.
        FleetError: the cluster of `fleet.address` cannot be used.
    """
    members = resolve_members(config)
    trials, request = propose_trials(members, config), _request(config)
    machines, known = measured(machines_of(config), request)
    needs, packs = known.of(trials), config.fleet.kind == "ray"  # one process for all models has nothing to pack
    open_ = packs and any(needs_a_probe(request, machine) for machine in machines.values())
    to_probe = open_ and not is_complete(needs)
    if to_probe and len(machines) > 1:  # how many fit on them is not known yet
        request = replace(request, max_concurrent="auto")
    slots = plan_on_nodes(request, machines, len(trials), largest(needs) if packs and not to_probe else None)
    return Prepared(
        config=config, members=members, trials=trials, slots=slots, machines=machines, needs=needs, to_probe=to_probe
    )


def probe(prepared: Prepared, meanwhile: Callable[[], None] = lambda: None) -> Prepared:
    """The same sweep once all its models are measured: each is built and trained for some steps.

    On GPUs one worker has a whole one; without, as many workers as there are slots.
    """
    request = _request(prepared.config)
    _, known = measured(prepared.machines, request)
    unknown = [need.trial for need in prepared.needs if need.memory_mib is None]
    if not unknown:
        return prepared
    slots = prepared.slots
    if any(slot.allocation.gpus for slot in slots):
        single = {node: _with_one_gpu(node, machine) for node, machine in prepared.machines.items()}
        slots = plan_on_nodes(Request(max_concurrent=1), single, 1)
    with open_fleet(prepared, slots, meanwhile) as fleet:
        for trial, found in _probed(unknown, fleet):
            known.keep(trial, found)
        if slots[0].allocation.gpus and "" in prepared.machines:
            known.keep_overhead(prepared.machines[""], this_machine(), slots[0])
    return replace(prepare(prepared.config), to_probe=False)


def unmeasured(prepared: Prepared) -> Iterator[str]:
    """What a person should know of models that the probe could not measure."""
    for need in prepared.needs:
        if need.memory_mib is None:
            yield (
                f"trial {need.trial.id}: its model could not be measured, so that models share no GPU unless "
                "resources.max_concurrent asks for it"
            )


def _with_one_gpu(node: str, machine: Machine) -> Machine:
    """The emptiest GPU; on a node of a cluster, whose Ray counts all of them, the one that it gives first."""
    gpus = machine.gpus if node else sorted(machine.gpus, key=lambda gpu: -gpu.free_mib)
    return replace(machine, gpus=tuple(gpus[:1]))


def _probed(trials: Sequence[Trial], fleet: Fleet) -> Iterator[tuple[Trial, Checked | Failure]]:
    """What each trial takes; those that have lost their worker are tried again alone: another may be to blame."""
    found = fleet.probe(trials)
    for trial in trials:
        answer = found[trial.id]
        lost = isinstance(answer, Failure) and answer.lost_worker
        yield trial, fleet.probe([trial])[trial.id] if lost and len(trials) > 1 else answer


def _request(config: Config) -> Request:
    return Request(**config.resources.model_dump())


def measured(machines: Mapping[str, Machine], request: Request) -> tuple[dict[str, Machine], Needs]:
    """The machines with what is known of their kind, and what is known of models on it."""
    gpus = [gpu for machine in machines.values() for gpu in machine.gpus]
    device = ", ".join(sorted({gpu.name for gpu in gpus})) if gpus and request.num_gpus != 0 else "cpu"
    if any(machine.mps for machine in machines.values()):  # a process takes less of a GPU through it
        device += ", MPS"
    known = Needs(MeasurementsFile(NEEDS.expanduser()), device, versions())
    return {
        node: replace(machine, gpu_overhead_mib=known.overhead_mib or machine.gpu_overhead_mib)
        for node, machine in machines.items()
    }, known


def within_memory(prepared: Prepared, checked: Mapping[str, Checked], fleet: Fleet) -> Prepared:
    """The sweep on no more workers than the host's memory holds, by what the check has just measured.

    Only where there is no GPU and `max_concurrent` is left open. Workers that are too many are ended.
    """
    request, slots = _request(prepared.config), prepared.slots
    if slots[0].allocation.gpus or request.max_concurrent != "auto":
        return prepared
    need = max(check.memory_mib for check in checked.values())
    room = Counter(
        slot.allocation.node for slot in plan_on_nodes(request, prepared.machines, len(prepared.trials), need or None)
    )
    kept = []
    for slot in slots:
        if room[slot.allocation.node]:
            room[slot.allocation.node] -= 1
            kept.append(slot)
        else:
            fleet.retire(slot.index)
    return replace(prepared, slots=tuple(kept))


def open_fleet(
    prepared: Prepared,
    slots: Sequence[Slot],
    meanwhile: Callable[[], None] = lambda: None,
    warn: Callable[[str], None] = lambda _: None,
) -> Fleet:
    """The configured fleet for these slots, not yet started.

    Args:
        prepared: the sweep.
        slots: of the fleet.
        meanwhile: called while it waits for Ray.
        warn: shows a warning, if Ray is not a version that the tests run with.
    """
    fleet = prepared.config.fleet
    if fleet.kind == "local":
        from runner.fleet.local import LocalFleet

        return LocalFleet(slots, fleet.first_turn_timeout_s)
    from runner.fleet.deadlines import Patience

    import_ray()
    from runner.fleet.ray import patches
    from runner.fleet.ray.fleet import RayFleet

    if (problem := patches.warning()) is not None:
        warn(problem)
    patience = Patience(first_s=fleet.first_turn_timeout_s, later_s=fleet.turn_timeout_s)
    cpus = sum(machine.cpus for machine in prepared.machines.values())
    return RayFleet(slots, address=fleet.address, cpus=cpus, patience=patience, nice=fleet.nice, meanwhile=meanwhile)


def make_settling(prepared: Prepared, check: Check, timings: Path = CACHE) -> Settling:
    """Decides what the config leaves to `auto`, from what this machine has measured and keeps in a file."""
    return Settling(TimingsFile(timings.expanduser()), prepared.slots[0].allocation, versions(), check)


def has_passed_before(prepared: Prepared) -> bool:
    """As `Settling.has_checked`, of all of the sweep's trials."""
    return make_settling(prepared, lambda _: {}).has_checked(prepared.trials)


def make_schedule(prepared: Prepared, parameters: int | None, begun: Mapping[str, Work] | None = None) -> Schedule:
    """Trials queue or rotate, as the config says.

    Args:
        prepared: the sweep.
        parameters: weights of its largest model; None where none is known: then as many live as there are slots.
        begun: the next turns of trials that an earlier driver has trained.
    """
    live = None
    if prepared.config.schedule == "rotate" and parameters is not None:
        memory_mib = sum(machine.memory_mib for machine in prepared.machines.values())
        live = live_within(memory_mib * _STATES_SHARE, parameters, len(prepared.trials))
    return Schedule(prepared.trials, prepared.slots, live, begun)


def make_shares(prepared: Prepared) -> Shares | None:
    """The slots' shares, which can grow; None where all models are in this process, which has no limit for each."""
    return Shares(prepared.slots, prepared.machines) if prepared.config.fleet.kind == "ray" else None


def sums(prepared: Prepared) -> tuple[str, ...]:
    """What is given away on each machine, written out."""
    lines: list[str] = []
    for node, machine in prepared.machines.items():
        if here := [slot for slot in prepared.slots if slot.allocation.node == node]:
            lines += [f"node {node[:8]}: {line}" if node else line for line in explain(here, machine)]
    return tuple(lines)


def advice(prepared: Prepared) -> tuple[str, ...]:
    """What would make these slots faster."""
    lines: list[str] = []
    if prepared.config.resources.num_gpus != 0 and "" in prepared.machines and (problem := driver_problem()):
        lines.append(f"the NVIDIA driver does not answer ({problem}), so that models train on the CPU")
    for node, machine in prepared.machines.items():
        here = [slot for slot in prepared.slots if slot.allocation.node == node]
        lines += [f"node {node[:8]}: {line}" if node else line for line in taking_turns(here, machine)]
    return tuple(lines)
