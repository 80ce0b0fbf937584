"""The exceptions of this program. Each message says what, where, what was received, what is allowed, what to do."""

from __future__ import annotations

import difflib
import errno
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

DISK_ERRNOS = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS})
"""The `OSError.errno` of a write to a disk that is full, over quota or read-only."""


class Interrupted(KeyboardInterrupt):
    """A signal asked the program to stop. An experiment's own code may raise KeyboardInterrupt, but not this."""


class RunnerError(Exception):
    """Base class of all errors that this program raises itself; the command line exits with `exit_code`."""

    exit_code = 1


class ConfigError(RunnerError):
    """The config, the experiment file or its signature is invalid; the message lists all problems, one a line.

    Args:
        problems: complete sentences, each "where: key: what is wrong; what is allowed".

    Example:
        >>> try:
        ...     runner.sweep("experiments/digits_mlp.py", train={"epoch": 3})
        ... except runner.ConfigError as err:
        ...     print(err.problems[0])
        argument: train.epoch: unknown key; did you mean train.epochs?
    """

    exit_code = 2

    def __init__(self, problems: str | Sequence[str]) -> None:
        self.problems = (problems,) if isinstance(problems, str) else tuple(problems)
        super().__init__("\n".join(self.problems))


class ExperimentError(RunnerError):
    """The experiment's model or data cannot be trained as configured; found in a worker, before any MLflow run."""

    exit_code = 2

    def __init__(self, message: str, traceback: str = "") -> None:
        super().__init__(message)
        self.traceback = traceback


class PlacementError(RunnerError):
    """The requested slots do not fit the machine; the message has the sum and the nearest requests that fit.

    Args:
        message: the complete message.
        nearest: changes to `resources`; each of them makes the request fit.
    """

    exit_code = 2

    def __init__(self, message: str, nearest: Sequence[Mapping[str, Any]] = ()) -> None:
        super().__init__(message)
        self.nearest = tuple(nearest)


class SweepNotFoundError(RunnerError):
    """The sweeps folder has no sweep of that name."""

    exit_code = 2


class TrialEndedError(ConfigError):
    """A trial has ended, so that what is asked of it can never be done."""


class SweepBusyError(RunnerError):
    """Another process is writing to the sweep."""

    exit_code = 2


class FleetError(RunnerError):
    """The workers could not be started or reached; the sweep can be tried again."""

    exit_code = 75


class MpsError(FleetError):
    """NVIDIA's MPS cannot be had."""


class ShareTakenError(FleetError):
    """Other processes use the GPU memory that was planned for a worker."""


class JournalError(RunnerError):
    """The journal cannot be written or read; what it committed before is safe."""

    exit_code = 75


class StorageError(RunnerError):
    """A disk is full, over quota or read-only. No trial caused it, and the sweep can be resumed."""

    exit_code = 75


class TooManyFailuresError(RunnerError):
    """More trials failed than the config allows; the sweep was stopped and can be resumed."""

    exit_code = 3


class TrackingError(RunnerError):
    """The tracking store did not accept records of the journal; the journal keeps them."""

    exit_code = 75


def did_you_mean(name: str, names: Iterable[str]) -> str:
    """The hint `; did you mean x?` with the closest of the names; empty if none is close."""
    close = difflib.get_close_matches(name[:80], list(names), n=1, cutoff=0.6)
    return f"; did you mean {close[0]}?" if close else ""


def received(value: Any) -> str:
    """A value as an error message shows it, in at most 80 characters."""
    text = "null" if value is None else str(value).lower() if isinstance(value, bool) else repr(value)
    return text if len(text) <= 80 else text[:77] + "..."


class NothingToShowError(RunnerError):
    """A sweep lacks what a figure shows; the message says what that is."""

    exit_code = 2
