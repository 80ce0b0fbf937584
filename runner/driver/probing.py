"""Plans a sweep's slots; if they depend on what its models take on a GPU, measures that first."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from runner.driver.context import SweepWatcher
from runner.driver.fleets import open_fleet
from runner.driver.machines import with_mps
from runner.driver.prepare import Prepared, measured, prepare, request_of
from runner.driver.slots_text import advice, exhausted, headline
from runner.host.inventory import this_machine
from runner.loop.interfaces import Fleet
from runner.placement import Machine, Request, plan_on_nodes
from runner.records import Checked, Failure, Trial
from runner.views.numbers import count

if TYPE_CHECKING:
    from runner.fleet.ray.pool import Pool


def with_slots(
    prepared: Prepared, watcher: SweepWatcher, meanwhile: Callable[[], None], pool: Pool | None = None
) -> Prepared:
    """Plans the slots; measures the models first, by the workers of a pool, if the slots depend on it."""
    if prepared.to_probe:
        watcher.say(f"measuring the memory of {count(len(prepared.needs), 'model')} …", dim=True)
        prepared = probe(prepared, meanwhile, pool)
        for text in _unmeasured(prepared):
            watcher.warn(text)
    for text in (headline(prepared), *exhausted(prepared)):
        watcher.say(text)
    for text in advice(prepared):
        watcher.warn(text)
    return prepared


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


def _unmeasured(prepared: Prepared) -> Iterator[str]:
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
