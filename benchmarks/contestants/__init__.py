"""Ways to train K models: the runner, and what a user would otherwise do, each in its own best form."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from benchmarks.workloads import Workload


@dataclass(frozen=True, kw_only=True, slots=True)
class Task:
    """What a contestant is to train: `models` models that differ in their seed, from 0."""

    workload: Workload
    models: int
    epochs: int

    @property
    def steps(self) -> int:
        """Optimizer steps of all models together."""
        return self.models * self.epochs * self.workload.steps_per_epoch


@dataclass(frozen=True, kw_only=True, slots=True)
class Result:
    """What a contestant did.

    Args:
        seconds: from the moment that data and processes are ready until all models are trained: building, tracing and
            compiling are in it, importing and loading are not.
        losses: of each model, the training loss of every epoch that it tells.
        total_s: with the start of Ray and of the processes that train, which Ray Tune cannot separate; None where
            there is no such start.
        notes: what else it tells, such as where its time went.
    """

    seconds: float
    losses: list[list[float]]
    total_s: float | None = None
    notes: dict[str, Any] = field(default_factory=dict)


CONTESTANTS = {
    "runner": "lockstep:train",
    "auto": "lockstep:train_auto",
    "two processes": "lockstep:train_processes",
    "turns in one": "lockstep:train_turns",
    "fit": "fit:default",
    "tuned fit": "fit:tuned",
    "tuned fit, XLA": "fit:tuned_xla",
    "interleaved": "interleaved:train",
    "processes": "processes:train",
    "processes, XLA": "processes:train_xla",
    "Ray Tune": "tune:train",
}


def contestant(name: str) -> Callable[[Task], Result]:
    """The function that runs one."""
    module, function = CONTESTANTS[name].split(":")
    found: Callable[[Task], Result] = getattr(importlib.import_module(f"benchmarks.contestants.{module}"), function)
    return found
