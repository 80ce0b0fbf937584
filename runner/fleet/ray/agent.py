"""One of Ray's agents, as a sweep needs it: it ends with its raylet, and has no part of a dashboard.

A program of its own: `python agent.py SCRIPT ARGUMENTS...`, in place of `python SCRIPT ARGUMENTS...`.
"""

from __future__ import annotations

import ctypes
import importlib
import os
import runpy
import signal
import sys
from pathlib import Path

_PR_SET_PDEATHSIG = 1  # prctl(2)
DASHBOARD_MODULES = "ray.dashboard.utils:get_all_modules"
"""A private part of Ray, which the agent runs without."""


def main(command: list[str]) -> None:
    """Runs the agent to its end."""
    _end_with_parent()
    script = Path(command[0])
    sys.argv = command
    if not sys.flags.safe_path:  # it is this file's folder, whose ray.py is not Ray
        sys.path[0] = str(script.parent)
    if script.parent.name == "dashboard":
        _leave_out_modules()
    runpy.run_path(str(script), run_name="__main__")


def _end_with_parent() -> None:
    """By itself it first tells Ray's server of its raylet's death, which takes a minute where that has ended too."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.environ.get("RAY_RAYLET_PID", str(os.getppid())) != str(os.getppid()):
            os._exit(1)  # it has ended already


def _leave_out_modules() -> None:
    """The dashboard agent imports all modules of the dashboard and then runs those whose packages are installed."""
    module, _, name = DASHBOARD_MODULES.partition(":")
    utils = importlib.import_module(module)
    if hasattr(utils, name):
        setattr(utils, name, lambda _: [])


if __name__ == "__main__":
    main(sys.argv[1:])
