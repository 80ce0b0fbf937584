"""The boundary to the experiments' code: what that raises, prints and warns becomes part of a worker's answer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from runner.errors import Interrupted
from runner.records import Aside, Checked, Export, Failure, FailureKind, Report, Snapshot, Trial
from runner.worker import missing
from runner.worker.failures import failure_of
from runner.worker.limits import Limits
from runner.worker.mlflow_calls import MlflowCalls
from runner.worker.printed import Output

T = TypeVar("T")


class Boundary:
    """Calls the experiments' code.

    Args:
        output: captures what it prints.
        memory_mib: host memory that the process may take beyond that of a bare worker, MiB; None for no limit.
        root_of: the folder of a trial's code, whose frames a failure names.
    """

    def __init__(self, output: Output, memory_mib: int | None, root_of: Callable[[Trial], Path]) -> None:
        self._output, self._memory_mib, self._root_of = output, memory_mib, root_of
        self._warnings: dict[str, None] = {}  # each once, in order
        self._limits, self._mlflow_calls = Limits(self.warn), MlflowCalls(self.warn)

    def __call__(self, kind: FailureKind, trial: Trial, call: Callable[[], T]) -> T | Failure:
        """What the call returns; a failure of this kind if the experiment's code raises anything.

        That includes its SystemExit and KeyboardInterrupt, which would end the process of all its trials. The answer
        has what was printed since the one before, so that a snapshot has the output of an interrupted turn.
        """
        with self._output.of(trial.id), self._limits.kept(), self._mlflow_calls.ignored(trial.source.identity):
            answer = self._tried(kind, trial, call)
        if isinstance(answer, Checked | Report | Export | Snapshot | Failure):
            warnings = (*self._warnings, *missing.warnings())
            answer = replace(answer, aside=Aside(output=self._output.take(trial.id), warnings=warnings))
            self._warnings.clear()
        return answer

    def warn(self, text: str) -> None:
        """Adds a warning to the next answer."""
        self._warnings[text] = None

    def _tried(self, kind: FailureKind, trial: Trial, call: Callable[[], T]) -> T | Failure:
        try:
            return call()
        except Interrupted:
            raise
        except BaseException as err:
            return failure_of(err, kind, trial, self._root_of(trial), self._memory_mib)
