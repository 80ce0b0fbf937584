"""Prepares a sweep: its trials, and the slots that they train in."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from runner.autotune.auto import CACHE, AutoSettings, Check
from runner.autotune.cache import MeasurementsFile, TimingsFile
from runner.autotune.memory import NEEDS_FILE, Need, Needs, is_complete, largest
from runner.config import Config
from runner.driver.machines import machines_of
from runner.driver.record import versions
from runner.driver.warm_start import Known, known_results
from runner.errors import ConfigError
from runner.placement import Machine, Request, needs_a_probe, plan_on_nodes
from runner.records import Mps, Slot, Source, Trial
from runner.search.members import Member, resolve_members
from runner.search.proposals import propose_trials
from runner.search.proposer import WaveProposer, make_proposer


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


def auto_settings(prepared: Prepared, check: Check, timings: Path = CACHE) -> AutoSettings:
    """What decides the `auto` settings of a sweep, with the step times that this machine keeps in a file."""
    return AutoSettings(TimingsFile(timings.expanduser()), prepared.slots[0].allocation, versions(), check)
