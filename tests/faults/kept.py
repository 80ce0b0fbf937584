"""Many sweeps on one Ray, for faults of workers: `python -m faults.kept` reads a request a line and answers it.

Workers live on from one sweep to the next; everything else of each sweep is as always.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self
from unittest import mock

import ray
from ray.exceptions import RayActorError

from faults.driver import drive, environment, print_to
from faults.injection import Injection
from runner.driver import fleets
from runner.fleet.ray.fleet import RayFleet


class KeptFleet(RayFleet):
    """Opened once; each sweep's own opening and closing are passed over."""

    opened = False
    home = Path.cwd()

    def __enter__(self) -> Self:
        if not self.opened:
            with contextlib.chdir(self.home):  # the workers', too: the sweep's own folder will be removed
                super().__enter__()
            self.opened = True
        self._loaded.clear()
        for slot, actor in list(self._workers.actors.items()):
            try:  # the trials of the sweep before have the names of the next one's
                ray.get(actor.advance.remote(()))
            except RayActorError:  # killed when its slot had no more work
                self.replace({slot: None})
        return self

    def __exit__(self, *exc: object) -> None:
        """As it was."""

    def close(self) -> None:
        super().__exit__(None, None, None)


class Kept:
    """The process that keeps Ray, as seen from the suite.

    Args:
        home: a folder that stays.
    """

    def __init__(self, home: Path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "faults.kept"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment(), cwd=home,
            start_new_session=True,
        )  # fmt: skip

    def drive(self, folder: Path, log: Path, arguments: Sequence[str], injection: Injection | None) -> int:
        """Runs a verb; returns the exit code."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        request = {
            "folder": str(folder),
            "log": str(log),
            "arguments": list(arguments),
            "injection": injection and injection.to_json(),
        }
        print(json.dumps(request), file=self.process.stdin, flush=True)
        answer = self.process.stdout.readline()
        if not answer:
            raise RuntimeError(f"the process that keeps Ray has ended; see {log}")
        return int(answer)

    def close(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait(60)


def main() -> None:
    fleet: list[KeptFleet] = []
    really_open = fleets.open_fleet

    def open_fleet(prepared: Any, slots: Any, *_: Any) -> KeptFleet:
        if not fleet:
            with mock.patch("runner.fleet.ray.fleet.RayFleet", KeptFleet):
                fleet.append(really_open(prepared, slots))
        return fleet[0]

    answers = os.fdopen(os.dup(1), "w", buffering=1)
    with mock.patch("runner.driver.fleets.open_fleet", open_fleet):
        for line in sys.stdin:
            request = json.loads(line)
            os.chdir(request["folder"])
            print_to(Path(request["log"]))
            injection = request["injection"]
            print(drive(request["arguments"], Injection(**json.loads(injection)) if injection else None), file=answers)
    for kept in fleet:
        kept.close()


if __name__ == "__main__":
    main()
