"""Train many Keras models together on one device: Ray actors stepped in lockstep, logged to MLflow."""

import sys

# `python -m runner` puts the current folder before Python's own library, so that a json.py there would break every
# import. From here on it is last. While Python looks for the module to run, the first argument is "-m".
if getattr(sys, "argv", [])[:1] == ["-m"] and not sys.flags.safe_path:
    sys.path.append(sys.path.pop(0))

from typing import TYPE_CHECKING, Any

from runner.data import Data

if TYPE_CHECKING:
    from runner.api.catalog import load, sweeps
    from runner.api.check import ExperimentCheck, check
    from runner.api.comparing import Comparison, best_of, compare
    from runner.api.machine import doctor
    from runner.api.new import new
    from runner.api.plan import Plan
    from runner.api.result import Result
    from runner.api.running import RunningSweep, SweepProgress
    from runner.api.session import Session
    from runner.api.spaces import integers, interval, log_integers, loguniform
    from runner.api.sweeps import plan, resume, sweep
    from runner.errors import (
        ConfigError,
        ExperimentError,
        FleetError,
        JournalError,
        NothingToShowError,
        PlacementError,
        RunnerError,
        StorageError,
        SweepBusyError,
        SweepNotFoundError,
        TooManyFailuresError,
        TrackingError,
        TrialEndedError,
    )
    from runner.recording import log_artifact, log_figure, log_metric, trial_folder

__all__ = [
    "Comparison",
    "ConfigError",
    "Data",
    "ExperimentCheck",
    "ExperimentError",
    "FleetError",
    "JournalError",
    "NothingToShowError",
    "PlacementError",
    "Plan",
    "Result",
    "RunnerError",
    "RunningSweep",
    "Session",
    "StorageError",
    "SweepBusyError",
    "SweepNotFoundError",
    "SweepProgress",
    "TooManyFailuresError",
    "TrackingError",
    "TrialEndedError",
    "best_of",
    "check",
    "compare",
    "doctor",
    "integers",
    "interval",
    "load",
    "log_artifact",
    "log_figure",
    "log_integers",
    "log_metric",
    "loguniform",
    "new",
    "plan",
    "resume",
    "sweep",
    "sweeps",
    "trial_folder",
]
__version__ = "0.2.0"
_HOMES = {
    **{name: "runner.errors" for name in __all__ if name.endswith("Error")},
    **dict.fromkeys(("plan", "resume", "sweep"), "runner.api.sweeps"),
    **dict.fromkeys(("load", "sweeps"), "runner.api.catalog"),
    **dict.fromkeys(("integers", "interval", "log_integers", "loguniform"), "runner.api.spaces"),
    **dict.fromkeys(("log_artifact", "log_figure", "log_metric", "trial_folder"), "runner.recording"),
    **dict.fromkeys(("ExperimentCheck", "check"), "runner.api.check"),
    **dict.fromkeys(("Comparison", "best_of", "compare"), "runner.api.comparing"),
    "Plan": "runner.api.plan",
    **dict.fromkeys(("RunningSweep", "SweepProgress"), "runner.api.running"),
    "doctor": "runner.api.machine",
    "new": "runner.api.new",
    "Session": "runner.api.session",
    "Result": "runner.api.result",
}


def __getattr__(name: str) -> Any:
    """Imports a part of the library when it is first used: workers, which need `Data` alone, import nothing else."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), name)
