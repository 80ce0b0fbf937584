"""The one exception tree. Every error says what, where, what was received, what is allowed, what to do."""

from __future__ import annotations

import difflib
import errno
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

DISK_ERRNOS = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS})
"""Of an `OSError` where a disk takes no more, whoever wrote."""


class Interrupted(KeyboardInterrupt):
    """A signal asks the program to stop. An experiment's own code may raise KeyboardInterrupt, but not this."""


class RunnerError(Exception):
    """Base of every error this program raises on purpose; `exit_code` is what the command line returns."""

    exit_code = 1


class ConfigError(RunnerError):
    """Config, experiment file or signature are wrong; all problems found are listed, one a line.

    Args:
        problems: complete sentences, each "where: key: what is wrong; what is allowed".
    """

    exit_code = 2

    def __init__(self, problems: str | Sequence[str]) -> None:
        self.problems = (problems,) if isinstance(problems, str) else tuple(problems)
        super().__init__("\n".join(self.problems))


class ExperimentError(RunnerError):
    """The experiment's model or data cannot be trained as configured (found in a worker, before any MLflow run)."""

    exit_code = 2

    def __init__(self, message: str, traceback: str = "") -> None:
        super().__init__(message)
        self.traceback = traceback


class PlacementError(RunnerError):
    """The requested slots do not fit the machine; the message has the sum and the nearest request that fits.

    Args:
        message: complete.
        nearest: changes of `resources`, each of which makes the request fit.
    """

    exit_code = 2

    def __init__(self, message: str, nearest: Sequence[Mapping[str, Any]] = ()) -> None:
        super().__init__(message)
        self.nearest = tuple(nearest)


class SweepNotFoundError(RunnerError):
    """No sweep of that name in the sweeps folder."""

    exit_code = 2


class SweepBusyError(RunnerError):
    """Another process writes to the sweep."""

    exit_code = 2


class FleetError(RunnerError):
    """The workers could not be started or reached; the sweep can be tried again."""

    exit_code = 75


class ShareTakenError(FleetError):
    """Others have taken the GPU memory that a worker was to have."""


class JournalError(RunnerError):
    """The journal cannot be written or read; what it has accepted before is safe."""

    exit_code = 75


class StorageError(RunnerError):
    """A disk takes no more, wherever it was written to; no trial is to blame, and the sweep can be resumed."""

    exit_code = 75


class TooManyFailuresError(RunnerError):
    """More trials have failed than the config allows; the sweep was stopped and can be resumed."""

    exit_code = 3


class TrackingError(RunnerError):
    """The tracking store did not take what the journal holds; the journal keeps it."""

    exit_code = 75


def did_you_mean(name: str, names: Iterable[str]) -> str:
    """The hint `; did you mean x?` for the closest of the names; empty where none is close."""
    close = difflib.get_close_matches(name[:80], list(names), n=1, cutoff=0.6)
    return f"; did you mean {close[0]}?" if close else ""


def received(value: Any) -> str:
    """A value for an error message, at most 80 characters."""
    text = "null" if value is None else str(value).lower() if isinstance(value, bool) else repr(value)
    return text if len(text) <= 80 else text[:77] + "..."
