"""Becomes the command that it is given, and is killed when the process that started it ends: Linux only.

A program of its own: `python -IS end_with_parent.py COMMAND...`.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1  # prctl(2); kept by execve(2)


def main(command: list[str]) -> None:
    """Does not return."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.environ.get("RAY_RAYLET_PID", str(os.getppid())) != str(os.getppid()):
            os._exit(1)  # it has ended already
    os.execv(command[0], command)


if __name__ == "__main__":
    main(sys.argv[1:])
