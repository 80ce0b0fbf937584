"""Replays a search over a table: this program's own loop and rules with a fleet that reads the table, and Optuna's."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from benchmarks.search.table import EPOCHS, METRIC, Table, arguments
from runner.config import Config, load_config
from runner.loop import lockstep
from runner.loop.recovery import Recovery
from runner.loop.schedule import Schedule
from runner.records import Allocation, Failure, Metrics, Report, Slot, Trial, Verdict
from runner.search.cohorts import Scoring
from runner.search.members import resolve_members
from runner.search.proposals import propose_trials
from runner.search.proposer import layouts_of, make_proposer
from runner.search.stopping import make_policy
from runner.testing import FakeFleet, MemoryJournal, NullWatcher

SLOTS = 2
Curve = list[tuple[int, float]]
"""After each report: epochs trained so far by all settings, and the lowest loss so far."""
Search = Callable[[Table, int], Curve]


class _Incumbent(NullWatcher):
    """Keeps the best loss so far, by the epochs that were spent on it."""

    def __init__(self) -> None:
        self.curve: Curve = []
        self._epochs, self._best = 0, float("inf")

    def show(self, reports: Mapping[str, Report | Failure], verdicts: Mapping[str, Verdict]) -> None:
        """As `Watcher.show`."""
        for report in reports.values():
            self._epochs += len(report.epochs)
            self._best = min([self._best, *(epoch.metrics[METRIC] for epoch in report.epochs)])
        self.curve.append((self._epochs, self._best))


def ours(*settings: str) -> Search:
    """A search of this program with these settings."""

    def search(table: Table, seed: int) -> Curve:
        written = [f"search.seed={seed}", "search.max_trials=64", *settings]
        config = _config(table, written)
        members = resolve_members(config)
        scoring, trials = Scoring(METRIC, "minimize"), propose_trials(members, config)
        proposer = make_proposer(config.search, members, len(trials), prefix=False)
        if proposer is not None:
            trials = (*trials, *proposer.first())
            proposer.settle(trials, scoring, SLOTS)

        def curve(trial: Trial, epoch: int) -> Metrics:
            loss = table.loss(dict(trial.params), epoch)
            return {"loss": loss, METRIC: loss}

        policy = make_policy(config.search, layouts_of(config.search, members), trials, scoring)
        slots = [Slot(index=index, allocation=Allocation(num_cpus=1)) for index in range(SLOTS)]
        live = None if config.search.stop is None else len(trials) + 64
        watcher, journal = _Incumbent(), MemoryJournal()
        recovery = Recovery(FakeFleet(range(SLOTS), curve, steps_per_epoch=1), journal)
        schedule = Schedule(trials, slots, live, policy=policy)
        lockstep.Loop(schedule, recovery, journal, watcher, policy=policy, proposer=proposer).run()
        return watcher.curve

    return search


def _config(table: Table, settings: list[str]) -> Config:
    file, *others = arguments(table.task)
    return load_config(file, [*others, *settings], config_dir=None)


def optuna_with(sampler: str, pruner: str | None) -> Search:
    """Optuna's usual loop: one trial after another, pruned as it reports."""

    def search(table: Table, seed: int) -> Curve:
        import optuna

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        samplers: dict[str, Any] = {"tpe": optuna.samplers.TPESampler, "random": optuna.samplers.RandomSampler}
        pruners: dict[str | None, Any] = {
            None: optuna.pruners.NopPruner,
            "median": optuna.pruners.MedianPruner,
            "halving": lambda: optuna.pruners.SuccessiveHalvingPruner(reduction_factor=3),
            "hyperband": lambda: optuna.pruners.HyperbandPruner(max_resource=EPOCHS, reduction_factor=3),
        }
        curve: Curve = []
        study = optuna.create_study(sampler=samplers[sampler](seed=seed), pruner=pruners[pruner]())

        def objective(trial: Any) -> float:
            params = {name: values[trial.suggest_int(name, 0, len(values) - 1)] for name, values in table.space.items()}
            loss = float("inf")
            for epoch in range(1, EPOCHS + 1):
                loss = table.loss(params, epoch)
                spent, best = curve[-1] if curve else (0, float("inf"))
                curve.append((spent + 1, min(best, loss)))
                trial.report(loss, epoch)
                if trial.should_prune():
                    raise optuna.TrialPruned
            return loss

        while not curve or curve[-1][0] < 64 * EPOCHS:
            study.optimize(objective, n_trials=1)
        return curve

    return search
