"""A daemon of NVIDIA's MPS that belongs to this process and ends with it."""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
from collections.abc import Sequence

from runner.errors import MpsError
from runner.placement import Gpu

_CODE = "import sys; sys.path[:] = {!r}; from runner.host.mps_guard import main; main({})"
_START_S, _END_S = 30.0, 20.0


class MpsDaemon:
    """Starts a daemon when it is first needed, and keeps it until `end`."""

    def __init__(self) -> None:
        self._guard: subprocess.Popen[bytes] | None = None
        self._pipes = ""
        self._gpus: tuple[str, ...] = ()

    def start(self, gpus: Sequence[Gpu]) -> str:
        """Starts the daemon unless it serves these GPUs already; returns the folder of its pipes.

        Raises:
            MpsError: it does not start.
        """
        wanted = tuple(gpu.uuid for gpu in gpus) if "CUDA_VISIBLE_DEVICES" in os.environ else ()
        if self._guard is not None and self._guard.poll() is None and wanted == self._gpus:
            return self._pipes
        self.end()
        environment = {**os.environ, "CUDA_DEVICE_ORDER": "PCI_BUS_ID"}
        if wanted:
            environment["CUDA_VISIBLE_DEVICES"] = ",".join(wanted)
        self._guard = subprocess.Popen(
            [sys.executable, "-P", "-c", _CODE.format(sys.path, os.getpid())], env=environment, stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip
        assert self._guard.stdout is not None
        line = self._guard.stdout.readline() if select.select([self._guard.stdout], [], [], _START_S)[0] else b""
        answer = json.loads(line) if line else {"problem": "the process that starts its daemon does not answer"}
        if answer["problem"] is not None:
            self.end()
            raise MpsError(answer["problem"])
        self._pipes, self._gpus = answer["pipes"], wanted
        return self._pipes

    def end(self) -> None:
        """Ends the daemon, and waits until its processes are gone."""
        guard, self._guard = self._guard, None
        if guard is None:
            return
        try:
            guard.communicate(timeout=_END_S)  # closes its standard input
        except subprocess.TimeoutExpired:
            guard.kill()
            guard.communicate()
