"""The program with a fault in it: `python -m faults.driver INJECTION VERB ...`; an empty INJECTION is none.

Two ways to afford many tries: processes that are forked with everything imported, and one Ray for many sweeps.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from faults.injection import Injection, injected


def environment() -> dict[str, str]:
    """Of processes that are started: they find this package, wherever they work."""
    kept = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}
    return {**kept, "PYTHONPATH": str(Path(__file__).parents[1]), "PYTHONUNBUFFERED": "1", "COLUMNS": "200"}


def drive(arguments: Sequence[str], injection: Injection | None) -> int:
    """Runs a verb of the command line in this process; returns the exit code."""
    from runner.cli import cli

    sys.argv = ["runner", *arguments]
    with injected(injection):
        try:
            cli(list(arguments))
        except SystemExit as end:
            return int(end.code or 0)
    return 0


class Forks:
    """Drivers that begin with TensorFlow and MLflow imported, of which nothing has been used yet."""

    def __init__(self) -> None:
        os.environ |= {"MLFLOW_DISABLE_TELEMETRY": "true", "COLUMNS": "200"}
        from runner.records import Allocation
        from runner.worker import startup

        startup.configure(Allocation(num_cpus=1))

        import runner.driver.resume
        import runner.driver.run
        import runner.fleet.local
        import runner.tracking.follower
        import runner.views.results
        import runner.worker.worker  # noqa: F401

        self._context = multiprocessing.get_context("fork")

    def start(self, folder: Path, log: Path, arguments: Sequence[str], injection: Injection | None) -> Any:
        """A process of its own that drives, with `folder` as its working directory; what it prints goes to `log`."""
        process = self._context.Process(target=_child, args=(folder, log, arguments, injection))
        process.start()
        return process


def print_to(log: Path) -> None:
    """Standard output and standard error of this process go there from now on."""
    file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(file, 1)
    os.dup2(file, 2)
    os.close(file)


def _child(folder: Path, log: Path, arguments: Sequence[str], injection: Injection | None) -> None:
    os.setsid()
    os.chdir(folder)
    print_to(log)
    sys.exit(drive(arguments, injection))


def main() -> None:
    injection, *arguments = sys.argv[1:]
    sys.exit(drive(arguments, Injection(**json.loads(injection)) if injection else None))


if __name__ == "__main__":
    main()
