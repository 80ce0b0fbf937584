"""Prepares a sweep: its trials, its slots, the measured memory of its models, and its fleet."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from runner.autotune.auto import CACHE, AutoSettings, Check
from runner.autotune.cache import MeasurementsFile, TimingsFile
from runner.autotune.memory import NEEDS_FILE, Need, Needs, is_complete, largest
from runner.config import Config
from runner.driver.context import Context, SweepWatcher
from runner.driver.machines import import_ray, machines_of, with_mps
from runner.driver.record import versions
from runner.driver.warm_start import Known, known_results
from runner.errors import ConfigError
from runner.host.inventory import driver_problem, this_machine
from runner.host.mps import variables_of
from runner.journal import TrialLogs
from runner.loop.interfaces import Fleet
from runner.loop.logged import LoggedFleet
from runner.placement import Machine, Request, explain, needs_a_probe, plan_on_nodes, without_mps
from runner.records import Checked, Failure, Mps, Slot, Source, Trial
from runner.search.members import Member, resolve_members
from runner.search.proposals import propose_trials
from runner.search.proposer import WaveProposer, exhaustion, make_proposer
from runner.views.numbers import count

if TYPE_CHECKING:
    from runner.fleet.ray.pool import Pool


@dataclass(frozen=True, kw_only=True, slots=True)
class Prepared:
    """Everything known before a worker exists.

    Args:
        machines: this one under the empty id, or the nodes of a cluster by Ray's node id.
        proposer: proposes later trials; None if all are known.
        needs: each distinct model, with its memory if it was measured before.
        to_probe: the slots depend on the memory of models that were not measured yet.
        known: results of earlier sweeps, from which samplers learn.
    """

    config: Config
    members: tuple[Member, ...]
    trials: tuple[Trial, ...]
    slots: tuple[Slot, ...]
    machines: Mapping[str, Machine]
    proposer: WaveProposer | None = None
    needs: tuple[Need, ...] = ()
    to_probe: bool = False
    known: Known = field(default_factory=dict)

    @property
    def most_trials(self) -> int:
        """How many trials there are at most, with those that are proposed later."""
        if self.proposer is None:
            return len(self.trials)
        return max(len(self.trials), sum(member.max_trials or 0 for member in self.members))

    @property
    def at_once(self) -> int:
        """How many trials live at once, as the slots and the stacks have it."""
        in_stacks = len(self.slots) * max(trial.train.stack for trial in self.trials)
        return max(in_stacks, sum(slot.allocation.places for slot in self.slots))

    @property
    def machine(self) -> Machine:
        """The machine; the first of a cluster."""
        return next(iter(self.machines.values()))

    @property
    def mps(self) -> Mps | None:
        """The state of MPS on this machine; None on a cluster."""
        machine = self.machines.get("")
        return None if machine is None else machine.mps


def prepare(
    config: Config,
    root: Path = Path("sweeps"),
    known: Known | None = None,
    sources: Mapping[str, Source] | None = None,
    own: Collection[int] = (),
    mps: Mps | None = None,
) -> Prepared:
    """Resolves members, trials and slots. Imports no TensorFlow, and Ray only to ask a cluster for its nodes.

    Args:
        config: of the sweep.
        root: the folder of all sweeps.
        known: results of earlier sweeps; None to read those of `search.warm_start`.
        sources: the code of members, by name, if it is more than what the disk has; as for `resolve_members`.
        own: processes that wait for this sweep, whose memory counts as free.
        mps: the state of MPS on this machine; None to look.

    Raises:
        ConfigError: experiment files, parameters or search do not fit together.
        PlacementError: the slots do not fit the machine.
        FleetError: the cluster of `fleet.address` cannot be used.
    """
    members = resolve_members(config, sources)
    trials, request = propose_trials(members, config), request_of(config)
    known = known_results(config, members, root) if known is None else known
    proposer = make_proposer(config.search, members, len(trials), prefix=bool(config.members), known=known)
    trials = trials if proposer is None else (*trials, *proposer.first())
    if not trials:
        raise ConfigError("no setting fulfils search.constraints and search.when; nothing is left to train")
    _check_stacks(config, trials)
    wanted = len(trials) if proposer is None else max(len(trials), sum(member.max_trials or 0 for member in members))
    machines, measurements = measured(machines_of(config, own, mps), request)
    needs, packs = measurements.of(trials), config.fleet.kind == "ray"  # a single process has nothing to pack
    open_ = packs and any(needs_a_probe(request, machine) for machine in machines.values())
    to_probe = open_ and not is_complete(needs)
    if to_probe and len(machines) > 1:  # it is not known yet how many fit
        request = replace(request, max_concurrent="auto")
    slots = plan_on_nodes(request, machines, wanted, largest(needs) if packs and not to_probe else None)
    return Prepared(
        config=config, members=members, trials=trials, slots=slots, machines=machines, proposer=proposer, needs=needs,
        to_probe=to_probe, known=known,
    )  # fmt: skip


def probe(prepared: Prepared, meanwhile: Callable[[], None] = lambda: None, pool: Pool | None = None) -> Prepared:
    """Measures all models, by building and training each for some steps, and plans the sweep again.

    With GPUs one worker uses a whole GPU; without, there are as many workers as slots.

    Args:
        prepared: the sweep.
        meanwhile: called while it waits for Ray.
        pool: whose Ray and workers measure; None for a Ray of its own.
    """
    request = request_of(prepared.config)
    _, known = measured(prepared.machines, request)
    machine = prepared.machines.get("")
    unknown = [need.trial for need in prepared.needs if need.memory_mib is None]
    if not unknown:
        return prepared
    slots = prepared.slots
    if any(slot.allocation.gpus for slot in slots):
        single = {node: _with_one_gpu(node, machine) for node, machine in prepared.machines.items()}
        slots = plan_on_nodes(Request(max_concurrent=1), single, 1)
    with open_fleet(prepared, slots, meanwhile, pool=pool) as fleet:
        for trial, found in _probed(unknown, fleet):
            known.keep(trial, found)
        if slots[0].allocation.gpus and machine is not None:
            known.keep_overhead(machine, with_mps(this_machine(), machine.mps), slots[0])
    sources = {member.name: member.source for member in prepared.members}
    own = () if pool is None else pool.processes
    again = prepare(prepared.config, known=prepared.known, sources=sources, own=own, mps=prepared.mps)
    return replace(again, to_probe=False)


def unmeasured(prepared: Prepared) -> Iterator[str]:
    """Warnings about models that the probe could not measure."""
    for need in prepared.needs:
        if need.memory_mib is None:
            yield (
                f"trial {need.trial.id}: its model could not be measured, so that models share no GPU unless "
                "resources.max_concurrent asks for it"
            )


def _with_one_gpu(node: str, machine: Machine) -> Machine:
    """The machine with its emptiest GPU alone; on a node of a cluster, with the GPU that Ray assigns first."""
    gpus = machine.gpus if node else sorted(machine.gpus, key=lambda gpu: -gpu.free_mib)
    return replace(machine, gpus=tuple(gpus[:1]))


def _probed(trials: Sequence[Trial], fleet: Fleet) -> Iterator[tuple[Trial, Checked | Failure]]:
    """Measures each trial; if a worker dies, measures its trial again alone, because another may have caused it."""
    found = fleet.probe(trials)
    for trial in trials:
        answer = found[trial.id]
        lost = isinstance(answer, Failure) and answer.lost_worker
        yield trial, fleet.probe([trial])[trial.id] if lost and len(trials) > 1 else answer


def _check_stacks(config: Config, trials: Sequence[Trial]) -> None:
    """Refuses stacks of trials that are to be compiled as graphs."""
    if isinstance(config.resources.stack, int) and any(trial.train.compile == "graph" for trial in trials):
        raise ConfigError(
            f"resources.stack={config.resources.stack}: stacks are compiled by XLA, and train.compile is graph; set "
            "train.compile=auto or resources.stack=off"
        )


def request_of(config: Config) -> Request:
    """The request of the config for each slot."""
    in_stacks = isinstance(config.resources.stack, int)
    return Request(**config.resources.model_dump(exclude={"stack", "mps"}), in_stacks=in_stacks)


def measured(machines: Mapping[str, Machine], request: Request) -> tuple[dict[str, Machine], Needs]:
    """The machines with their measured GPU overhead, and the measured memory of models on their device."""
    gpus = [gpu for machine in machines.values() for gpu in machine.gpus]
    device = ", ".join(sorted({gpu.name for gpu in gpus})) if gpus and request.num_gpus != 0 else "cpu"
    if any(machine.mps for machine in machines.values()):  # a process takes less GPU memory through MPS
        device += ", MPS"
    known = Needs(MeasurementsFile(NEEDS_FILE.expanduser()), device, versions())
    return {
        node: replace(machine, gpu_overhead_mib=known.overhead_mib or machine.gpu_overhead_mib)
        for node, machine in machines.items()
    }, known


def open_fleet(
    prepared: Prepared,
    slots: Sequence[Slot],
    meanwhile: Callable[[], None] = lambda: None,
    warn: Callable[[str], None] = lambda _: None,
    pool: Pool | None = None,
) -> Fleet:
    """The configured fleet for these slots, not yet started.

    Args:
        prepared: the sweep.
        slots: of the fleet.
        meanwhile: called while it waits for Ray.
        warn: shows a warning if Ray lacks a private part that is replaced in the tested versions.
        pool: has workers that stay warm between sweeps; None for a fleet that keeps none.
    """
    fleet = prepared.config.fleet
    if fleet.kind == "local":
        from runner.fleet.local import LocalFleet

        return LocalFleet(slots, fleet.first_turn_timeout_s)

    import_ray()
    from runner.fleet.deadlines import Deadlines
    from runner.fleet.ray.fleet import RayFleet

    deadlines = Deadlines(first_s=fleet.first_turn_timeout_s, later_s=fleet.turn_timeout_s)
    cpus = sum(machine.cpus for machine in prepared.machines.values())
    return RayFleet(
        slots,
        address=fleet.address,
        cpus=cpus,
        deadlines=deadlines,
        nice=fleet.nice,
        environment=variables_of(prepared.mps),
        codes={trial.source.identity for trial in prepared.trials},
        pool=pool,
        meanwhile=meanwhile,
        warn=warn,
    )


def with_slots(
    prepared: Prepared, watcher: SweepWatcher, meanwhile: Callable[[], None], pool: Pool | None = None
) -> Prepared:
    """Plans the slots; measures the models first, by the workers of a pool, if the slots depend on it."""
    if prepared.to_probe:
        watcher.say(f"measuring the memory of {count(len(prepared.needs), 'model')} …", dim=True)
        prepared = probe(prepared, meanwhile, pool)
        for text in unmeasured(prepared):
            watcher.warn(text)
    for text in (_headline(prepared), *_exhausted(prepared)):
        watcher.say(text)
    for text in advice(prepared):
        watcher.warn(text)
    return prepared


def _exhausted(prepared: Prepared) -> Iterator[str]:
    """A sentence for each member that has drawn all of its settings, although more were wanted."""
    for member in prepared.members:
        begun = sum(trial.member == member.name for trial in prepared.trials)
        if member.sampler in ("random", "qmc") and member.space.dimensions:
            wanted = (member.max_settings or 0) * len(member.seeds)
            if begun < wanted:
                yield exhaustion(member, begun)


def _headline(prepared: Prepared) -> str:
    slot = prepared.slots[0].allocation
    gpu = f", {slot.num_gpus:g} GPU ({slot.gpu_memory_mib} MiB)" if slot.num_gpus else ""
    trials, most = len(prepared.trials), prepared.most_trials
    number = f"{count(most, 'trial')}, proposed in waves" if most > trials else count(trials, "trial")
    if prepared.at_once == len(prepared.slots):
        where = f"{prepared.at_once} at a time on {slot.num_cpus:g} CPU{gpu} each"
    else:
        where = f"{prepared.at_once} in turns in {count(len(prepared.slots), 'worker')} of {slot.num_cpus:g} CPU{gpu}"
    return f"{prepared.config.name}: {number}, {where}; starting workers …"


def logged_fleet(
    prepared: Prepared, logs: TrialLogs, context: Context, meanwhile: Callable[[], None] = lambda: None
) -> LoggedFleet:
    """The configured fleet, not yet started; its trials' output goes to `logs`, and secrets leave its answers."""
    fleet = open_fleet(prepared, prepared.slots, meanwhile, context.watcher.warn, context.pool)
    return LoggedFleet(fleet, logs.write, context.watcher.warn, context.masked)


def auto_settings(prepared: Prepared, check: Check, timings: Path = CACHE) -> AutoSettings:
    """What decides the `auto` settings of a sweep, with the step times that this machine keeps in a file."""
    return AutoSettings(TimingsFile(timings.expanduser()), prepared.slots[0].allocation, versions(), check)


def sums(prepared: Prepared) -> tuple[str, ...]:
    """The sums of what is given away on each machine."""
    lines: list[str] = []
    for node, machine in prepared.machines.items():
        if here := [slot for slot in prepared.slots if slot.allocation.node == node]:
            lines += [f"node {node[:8]}: {line}" if node else line for line in explain(here, machine)]
    return tuple(lines)


def advice(prepared: Prepared) -> tuple[str, ...]:
    """Advice that would make these slots faster."""
    lines: list[str] = []
    if prepared.config.resources.num_gpus != 0 and "" in prepared.machines and (problem := driver_problem()):
        lines.append(f"the NVIDIA driver does not answer ({problem}), so that models train on the CPU")
    for node, machine in prepared.machines.items():
        here = [slot for slot in prepared.slots if slot.allocation.node == node]
        lines += [f"node {node[:8]}: {line}" if node else line for line in without_mps(here, machine)]
    return tuple(lines)
