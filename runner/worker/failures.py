"""Turns what an experiment's code raises into a `Failure`."""

from __future__ import annotations

import time
import traceback
from pathlib import Path

from runner.records import Failure, FailureKind, Trial
from runner.worker import oom
from runner.worker.data.feeds import DataError
from runner.worker.determinism import advice
from runner.worker.error_text import in_one_line, place_of
from runner.worker.storage import is_out_of_space


def failure_of(err: BaseException, kind: FailureKind, trial: Trial, root: Path, memory_mib: int | None) -> Failure:
    """The failure that this error is; called while it is handled.

    Args:
        err: what was raised.
        kind: of the failure, unless the error itself says more.
        trial: whose code ran.
        root: the folder of its code on this machine.
        memory_mib: host memory that the process may take; None for no limit.
    """
    text, noticed_s = in_one_line(err) + advice(err), 0.0
    if is_out_of_space(err):
        kind = "disk"
    elif isinstance(err, DataError):
        kind = "data"
    elif oom.is_out_of_memory(err):
        kind, noticed_s = "oom", time.time()
        text = f"{oom.describe(err, memory_mib)}; {text}"
    return Failure(
        trial_id=trial.id,
        kind=kind,
        message=text,
        traceback=traceback.format_exc(),
        noticed_s=noticed_s,
        place=place_of(err, trial.source, root),
    )
