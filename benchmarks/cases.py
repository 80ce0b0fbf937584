"""Defines every run of the benchmark."""

from __future__ import annotations

import sys
from dataclasses import dataclass

from benchmarks.contestants import CONTESTANTS
from benchmarks.programs import EXPERIMENT, overrides

PARTS = ("control", "startup", "barrier", "logging", "rotation", "turns", "memory")


@dataclass(frozen=True, kw_only=True, slots=True)
class Case:
    """One process to time.

    Args:
        group: the cases of one group run alternately, repeat after repeat.
        name: the contestant, or the part that is measured.
        command: arguments of Python.
        models: number of models trained together.
        epochs: epochs of each model.
        repeats: None for the requested number; fewer if no target depends on the case.
        printed: the process prints its result; otherwise its wall time is the result.
    """

    group: str
    name: str
    command: tuple[str, ...]
    models: int = 1
    epochs: int = 0
    repeats: int | None = None
    printed: bool = True

    @property
    def argv(self) -> list[str]:
        """The full command line."""
        return [sys.executable, *self.command]


def _train(workload: str, name: str, models: int, epochs: int, repeats: int | None = None) -> Case:
    command = ("-m", "benchmarks.one", "train", workload, name, str(models), str(epochs))
    return Case(group=workload, name=name, command=command, models=models, epochs=epochs, repeats=repeats)


def _sequential(workload: str, epochs: int, xla_repeats: int | None = None) -> list[Case]:
    """Cases that train one model after another; one model is enough, because their rate does not depend on K."""
    return [
        _train(workload, "fit", 1, epochs),
        _train(workload, "tuned fit", 1, epochs),
        _train(workload, "tuned fit, XLA", 1, epochs, xla_repeats),
    ]


def _compute_bound(workload: str, epochs: int, models: int) -> list[Case]:
    """Cases with large steps; XLA and interleaving have one run, because they are far slower or no faster here."""
    return [
        _train(workload, "runner", models, epochs),
        *_sequential(workload, epochs, xla_repeats=1),
        _train(workload, "processes", models, epochs, 3),
        _train(workload, "interleaved", models, epochs, 1),
    ]


def _sweep(name: str, *command: str, repeats: int | None = None) -> Case:
    return Case(group="W7", name=name, command=command, models=16, repeats=repeats, printed=False)


def _part(name: str, quick: bool) -> Case:
    command = ("-m", "benchmarks.one", "part", name, *(["quick"] if quick else []))
    return Case(group=name, name=name, command=command, repeats=None if name == "startup" else 1)


def all_cases() -> list[Case]:
    """The whole benchmark."""
    return [
        *(_train("W1", "runner", models, 8, None if models == 8 else 1) for models in (1, 2, 4, 8, 16)),
        *_sequential("W1", 8),
        _train("W1", "interleaved", 2, 8, 1),
        _train("W1", "processes", 8, 8, 1),
        _train("W1", "processes, XLA", 8, 8, 1),
        _train("W1", "Ray Tune", 8, 8),
        *_compute_bound("W2", 12, 2),
        *(_train("W2", "runner", models, 12, 1) for models in (4, 8)),
        *_compute_bound("W3", 1, 2),
        *_compute_bound("W4", 1, 2),
        *_compute_bound("W8", 12, 3),
        _sweep("runner", "-m", "runner", "sweep", str(EXPERIMENT), *overrides()),
        _sweep("fit", "-m", "benchmarks.programs.fit"),
        _sweep("tuned fit", "-m", "benchmarks.programs.fit", "tuned"),
        _sweep("Ray Tune", "-m", "benchmarks.programs.tune"),
        _sweep("KerasTuner", "-m", "benchmarks.programs.keras_tuner", repeats=1),
        *(_part(name, quick=False) for name in PARTS),
    ]


def quick_cases() -> list[Case]:
    """The cases that check the ratios during development, in three to four minutes."""
    return [
        _train("W1", "runner", 8, 4),
        _train("W1", "fit", 1, 2),
        _train("W1", "tuned fit", 1, 4),
        _train("W2", "runner", 2, 2),
        _train("W2", "tuned fit", 1, 2),
        _train("W3", "runner", 2, 1),
        _train("W3", "tuned fit", 1, 1),
        _part("control", quick=True),
        _part("barrier", quick=True),
    ]


GROUPS = tuple(dict.fromkeys(case.group for case in all_cases()))
assert set(CONTESTANTS) >= {case.name for case in all_cases() if case.group in ("W1", "W2", "W3", "W4", "W8")}
