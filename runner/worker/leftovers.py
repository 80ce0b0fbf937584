"""Finds what an experiment's code has left in its process, so that no other sweep sees it.

A process that imports the same code is in the state in which this one was after the import. So it may serve another
sweep of that code if it is in that state again: what can be put back is put back, anything else is a reason to end it.

Not found is what the experiment changes inside an object of a library, such as an entry of one of its dicts, and what
it puts into a library that it imports only later, if that is not its own code.
"""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator, Sequence
from itertools import pairwise

from runner.host.processes import descendants
from runner.worker.experiment import Experiment
from runner.worker.memory import own_mib
from runner.worker.process_state import ProcessState

_MOST_GROWN_MIB = 700  # as much as a process with TensorFlow takes before it has a model


def clear_up(experiments: Sequence[Experiment], bare_mib: float) -> tuple[str, ...]:
    """Puts back what the experiments' code has changed in this process.

    Args:
        experiments: all that were imported here, in their order.
        bare_mib: memory of the process before it imported the first.

    Returns:
        Why no other sweep may use the process; empty if it may.
    """
    gc.collect()
    found = list(_left_by_code(experiments)) if experiments else []
    grown_mib = own_mib() - bare_mib
    if grown_mib > _MOST_GROWN_MIB:
        found.append(f"it has grown by {grown_mib:.0f} MiB")
    return tuple(found)


def _left_by_code(experiments: Sequence[Experiment]) -> Iterator[str]:
    now = ProcessState.current()
    for before, after in pairwise(experiments):
        yield from before.imported.process.changes(after.imported.before)
    yield from experiments[-1].imported.process.changes(now)
    for experiment in experiments:
        yield from experiment.changes()
        if outside := experiment.outside:
            yield f"it has imported {outside[0]}, which is not recorded and may change"
    if children := descendants(os.getpid()):
        yield f"its process {children[0].pid} still runs"
    experiments[-1].imported.process.put_back()
