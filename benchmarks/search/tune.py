"""Ray Tune's schedulers over a table: their own decisions without processes, an epoch of each running trial in turn.

`ray.tune` asks a scheduler which trial runs, and tells it each result; what happens in between is imitated here.
"""

from __future__ import annotations

import itertools
import random
from typing import Any

from benchmarks.search.replay import SLOTS, Curve, Search
from benchmarks.search.table import EPOCHS, METRIC, Table

_LARGE = 1e9  # for a loss that is not finite


class _Trial:
    """What schedulers look at of a trial."""

    def __init__(self, number: int, params: dict[str, Any]) -> None:
        self.trial_id, self.params = f"{number:03}", params
        self.status, self.is_saving, self.epoch = "PENDING", False, 0


class _Controller:
    """What schedulers ask of `TuneController`."""

    def __init__(self, scheduler: Any, trials: list[_Trial]) -> None:
        self._scheduler, self._trials = scheduler, trials

    def get_trials(self) -> list[_Trial]:
        """All trials."""
        return self._trials

    get_live_trials = get_trials

    def stop_trial(self, trial: _Trial) -> None:
        """Ends a trial that does not run."""
        if trial.status not in ("TERMINATED", "ERROR"):
            self._scheduler.on_trial_remove(self, trial)
            trial.status = "TERMINATED"


def tune_with(kind: str) -> Search:
    """Random search with Ray Tune's `asha` or `hyperband`."""

    def search(table: Table, seed: int) -> Curve:
        settings = [dict(zip(table.space, values, strict=True)) for values in itertools.product(*table.space.values())]
        random.Random(seed).shuffle(settings)
        trials = [_Trial(number, params) for number, params in enumerate(settings)]
        scheduler = _scheduler(kind)
        controller = _Controller(scheduler, trials)
        for trial in trials:
            scheduler.on_trial_add(controller, trial)
        curve: Curve = []
        running: list[_Trial] = []
        while True:
            while len(running) < SLOTS and (chosen := scheduler.choose_trial_to_run(controller)) is not None:
                chosen.status = "RUNNING"
                running.append(chosen)
            if not running:
                return curve
            for trial in tuple(running):
                _epoch(table, scheduler, controller, trial, curve)
            running = [trial for trial in running if trial.status == "RUNNING"]

    return search


def _scheduler(kind: str) -> Any:
    from ray.tune.schedulers import ASHAScheduler, HyperBandScheduler

    common = {"metric": METRIC, "mode": "min", "max_t": EPOCHS, "reduction_factor": 3}
    return ASHAScheduler(**common, grace_period=1) if kind == "asha" else HyperBandScheduler(**common)


def _epoch(table: Table, scheduler: Any, controller: _Controller, trial: _Trial, curve: Curve) -> None:
    """Trains a trial for an epoch, and does what the scheduler says."""
    trial.epoch += 1
    loss = table.loss(trial.params, trial.epoch)
    spent, best = curve[-1] if curve else (0, float("inf"))
    curve.append((spent + 1, min(best, loss)))
    result = {"training_iteration": trial.epoch, METRIC: min(loss, _LARGE)}
    decision = scheduler.on_trial_result(controller, trial, result)
    if decision == "PAUSE":
        trial.status = "PAUSED"
    elif decision == "STOP" or trial.epoch >= EPOCHS:
        trial.status = "TERMINATED"
