"""Samplers that learn from results: Optuna's TPE and CMA-ES, asked and told in waves.

Optuna proposes and never decides: its pruners judge by arrival or by completed trials, and would prune wrongly at a
barrier.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from runner.search.optuna_space import coded, distribution, quiet, suggested
from runner.search.samplers import random_points
from runner.search.space import Point, Space, key_of

if TYPE_CHECKING:
    from optuna import Study
    from optuna import Trial as OptunaTrial

Learning = Literal["tpe", "cmaes"]
_PROPOSALS = 20  # proposals in a row that are known or not allowed, after which a setting is drawn at random


@dataclass(frozen=True, kw_only=True, slots=True)
class Told:
    """The result of a setting, for the sampler.

    Args:
        point: the setting.
        costs: mean of the metric by epoch, signed so that less is better; the last is the result.
        stopped: it was stopped before its end, so that only its last epoch says how good it is.
        failed: it has no result.
    """

    point: Point
    costs: Mapping[int, float]
    stopped: bool = False
    failed: bool = False


class StudySampler:
    """A sampler that learns from results: Optuna's TPE or CMA-ES, asked and told in waves.

    Args:
        kind: which.
        space: to draw from.
        seed: of the sampler.
        startup: settings that are drawn at random before it learns.
    """

    def __init__(self, kind: Learning, space: Space, seed: int, startup: int = 10) -> None:
        import optuna

        self._space, self._asked = space, dict[str, "OptunaTrial"]()
        self._told: set[str] = set()
        self._at_random = random_points(space, seed)
        with quiet():
            sampler: optuna.samplers.BaseSampler
            if kind == "tpe":
                sampler = optuna.samplers.TPESampler(
                    seed=seed, multivariate=True, group=True, constant_liar=True, n_startup_trials=startup
                )
            else:
                sampler = optuna.samplers.CmaEsSampler(
                    seed=seed, warn_independent_sampling=False, consider_pruned_trials=True
                )
            self._study: Study = optuna.create_study(sampler=sampler)

    def learn(self, results: Iterable[Told]) -> None:
        """Takes results of settings that it was not asked for, from earlier sweeps, before the first `ask`."""
        import optuna

        dimensions = self._space.dimensions
        with quiet():
            for told in results:
                self._study.add_trial(
                    optuna.trial.create_trial(
                        params={name: coded(dimensions[name], value) for name, value in told.point.items()},
                        distributions={name: distribution(dimensions[name]) for name in told.point},
                        value=told.costs[max(told.costs)],
                    )
                )

    def ask(self, count: int) -> list[Point]:
        """New settings; fewer if the space has no more."""
        with quiet():
            found = (self._proposed() or self._drawn() for _ in range(count))
            return [point for point in itertools.takewhile(lambda point: point is not None, found) if point is not None]

    def _proposed(self) -> Point | None:
        """A proposal of Optuna that is new and allowed."""
        from optuna.trial import TrialState

        for _ in range(_PROPOSALS):
            trial = self._study.ask()
            point = suggested(self._space, trial)
            if key_of(point) not in self._asked and self._space.allows(point):
                self._asked[key_of(point)] = trial
                return point
            self._study.tell(trial, state=TrialState.FAIL)
        return None

    def _drawn(self) -> Point | None:
        """A setting at random that is new; None if there is none."""
        for point in self._at_random:
            if key_of(point) not in self._asked:
                self._enqueue(point)
                return point
        return None

    def tell(self, results: Iterable[Told]) -> None:
        """Takes the results of settings it was asked for, each once."""
        from optuna.trial import TrialState

        with quiet():
            for told in results:
                key = key_of(told.point)
                if key in self._told:
                    continue
                self._told.add(key)
                trial, state = self._asked[key], TrialState.COMPLETE
                finite = {epoch: cost for epoch, cost in told.costs.items() if math.isfinite(cost)}
                if told.failed or not finite:
                    self._study.tell(trial, state=TrialState.FAIL)
                    continue
                for epoch, cost in finite.items():
                    trial.report(cost, epoch)
                if told.stopped:
                    self._study.tell(trial, state=TrialState.PRUNED)
                else:
                    self._study.tell(trial, finite[max(finite)], state=state)

    def adopt(self, asked: Iterable[Point], points: Iterable[Point]) -> list[Point]:
        """Takes other settings instead of those that it was asked for last; returns them."""
        from optuna.trial import TrialState

        with quiet():
            for point in asked:
                self._study.tell(self._asked.pop(key_of(point)), state=TrialState.FAIL)
            found = list(points)
            for point in found:
                self._enqueue(point)
        return found

    def _enqueue(self, point: Point) -> None:
        self._study.enqueue_trial({name: coded(self._space.dimensions[name], value) for name, value in point.items()})
        trial = self._study.ask()
        self._asked[key_of(suggested(self._space, trial))] = trial
