"""Slots as text for a person: how many trials train on what, with the sums and what would make them faster."""

from __future__ import annotations

from collections.abc import Iterator

from runner.driver.prepare import Prepared
from runner.host.inventory import driver_problem
from runner.placement import explain, without_mps
from runner.search.proposer import exhaustion
from runner.views.numbers import count


def headline(prepared: Prepared) -> str:
    """How many trials there are, and how many train at once on what."""
    slot = prepared.slots[0].allocation
    gpu = f", {slot.num_gpus:g} GPU ({slot.gpu_memory_mib} MiB)" if slot.num_gpus else ""
    trials, most = len(prepared.trials), prepared.most_trials
    number = f"{count(most, 'trial')}, proposed in waves" if most > trials else count(trials, "trial")
    if prepared.at_once == len(prepared.slots):
        where = f"{prepared.at_once} at a time on {slot.num_cpus:g} CPU{gpu} each"
    else:
        where = f"{prepared.at_once} in turns in {count(len(prepared.slots), 'worker')} of {slot.num_cpus:g} CPU{gpu}"
    return f"{prepared.config.name}: {number}, {where}; starting workers …"


def exhausted(prepared: Prepared) -> Iterator[str]:
    """A sentence for each member that has drawn all of its settings, although more were wanted."""
    for member in prepared.members:
        begun = sum(trial.member == member.name for trial in prepared.trials)
        if member.sampler in ("random", "qmc") and member.space.dimensions:
            wanted = (member.max_settings or 0) * len(member.seeds)
            if begun < wanted:
                yield exhaustion(member, begun)


def slot_lines(prepared: Prepared) -> Iterator[str]:
    """What each slot gets, with the sums."""
    slot, slots = prepared.slots[0].allocation, len(prepared.slots)
    limits = sorted({slot.allocation.gpu_memory_mib or 0 for slot in prepared.slots})
    limit = f"{limits[0]} to {limits[-1]}" if len(limits) > 1 else str(limits[0])
    gpu = f"{slot.num_gpus:g} GPU under a limit of {limit} MiB" if slot.num_gpus else "no GPU"
    turns = f" for {prepared.at_once} trials in turns" if prepared.at_once > slots else ""
    yield (
        f"{count(slots, 'slot')} on the {prepared.config.fleet.kind} fleet{turns}, each {slot.num_cpus:g} CPU, "
        f"{slot.threads} TensorFlow thread{'s' * (slot.threads > 1)}, {gpu}"
    )
    for line in (*sums(prepared), *_needs(prepared), *advice(prepared)):
        yield f"  {line}"


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


def _needs(prepared: Prepared) -> Iterator[str]:
    """The memory that each distinct model takes; one line if nothing was measured."""
    where = "GPU memory" if prepared.slots[0].allocation.gpus else "host memory"
    if all(need.memory_mib is None for need in prepared.needs):
        yield f"{where} per model: not measured (plan --probe measures it)"
        return
    for need in prepared.needs:
        found = "not measured" if need.memory_mib is None else f"{need.memory_mib:.0f} MiB"
        searched = [name for name in need.trial.searched if not isinstance(need.trial.settings.get(name), float)]
        settings = " ".join(f"{name}={need.trial.settings.get(name)}" for name in searched if name != "seed")
        trials = count(need.trials, "trial")
        yield f"{where} of {' '.join(filter(None, (need.trial.member, settings)))} ({trials}): {found}"
