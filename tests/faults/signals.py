"""Ctrl-C once and twice, and SIGTERM: the program with Ray ends in time, leaves nothing, and `resume` goes on."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Callable
from typing import Any

from faults.lab import Lab, Trouble, Try, run_process
from faults.project import eventually, sweep_arguments

_BEGINS_S = 120.0
_ONCE_S, _TWICE_S = 10.0, 2.0  # the longest that the end may take
_BETWEEN_S = 0.3
_BARRIERS = 12


def signalled(number: signal.Signals, times: int) -> Callable[[Lab, int], Try]:
    """The signal comes at some moment of some round, to the whole process group as a terminal sends it."""

    def attempt(lab: Lab, seed: int) -> Try:
        began_s, chance, wanted = time.monotonic(), random.Random(seed), lab.reference()
        project, trouble = lab.project(), Trouble()
        signalled_s = 0.0

        def send(process: Any) -> None:
            nonlocal signalled_s
            barriers = chance.randint(1, _BARRIERS)
            eventually(lambda: project.barriers() >= barriers, _BEGINS_S)
            time.sleep(chance.uniform(0.0, 0.1))
            os.killpg(process.pid, number)
            signalled_s = time.monotonic()
            if times > 1:
                time.sleep(_BETWEEN_S)
                if process.poll() is None:
                    os.killpg(process.pid, number)
                signalled_s = time.monotonic()
            process.wait(60.0)
            took_s, limit_s = time.monotonic() - signalled_s, _TWICE_S if times > 1 else _ONCE_S
            trouble.expect(took_s < limit_s, f"it took {took_s:.1f} s to end, {limit_s:g} s are allowed")

        code = run_process(project, sweep_arguments(), trouble, meanwhile=send)
        struck = code == 128 + number
        trouble.expect(struck, f"the sweep ended with {code}")
        trouble.expect("Traceback" not in project.log, "there is a traceback")
        code = run_process(project, ["resume"], trouble)
        trouble.expect(code == 0, f"resume ended with {code}")
        return lab.judge(seed, project, trouble, began_s, wanted=wanted, struck=True)

    return attempt
