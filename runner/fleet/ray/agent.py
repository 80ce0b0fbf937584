"""Runs one of Ray's agents so that it ends with its raylet and loads no modules of the dashboard.

A separate program: `python agent.py SCRIPT ARGUMENTS...` replaces `python SCRIPT ARGUMENTS...`.
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
"""A private part of Ray, which the agent replaces."""


def main(command: list[str]) -> None:
    """Runs the agent until it ends."""
    _end_with_parent()
    script = Path(command[0])
    sys.argv = command
    if not sys.flags.safe_path:  # as Python does for the script; it is this file's folder
        sys.path[0] = str(script.parent)
    if script.parent.name == "dashboard":
        _leave_out_modules()
    runpy.run_path(str(script), run_name="__main__")


def _end_with_parent() -> None:
    """Has Linux kill this process when its raylet ends.

    Otherwise it first reports the raylet's death to Ray's control process, which takes a minute if that has ended too.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.environ.get("RAY_RAYLET_PID", str(os.getppid())) != str(os.getppid()):
            os._exit(1)  # the raylet has ended already


def _leave_out_modules() -> None:
    """Hides the dashboard's modules from its agent, which imports all and runs those whose packages are installed."""
    module, _, name = DASHBOARD_MODULES.partition(":")
    utils = importlib.import_module(module)
    if hasattr(utils, name):
        setattr(utils, name, lambda _: [])


if __name__ == "__main__":
    main(sys.argv[1:])
