"""A sweep as an Optuna study: for Optuna's figures and its importance of parameters, and for Optuna itself."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from runner.config.space import Choice, Dimension, Range
from runner.journal import TrialRecord
from runner.records.decision import COMPARING
from runner.report.data import SweepData, short_texts, value_of
from runner.search.optuna_space import distribution, quiet

if TYPE_CHECKING:
    import optuna

LEAST_TRIALS = 4  # fewer say nothing of what matters
_LEAST_FOR_PED_ANOVA = 40
MOST_FOR_FANOVA = 300  # trials beyond which its forests take long, and PED-ANOVA's estimate is as good


@dataclass(frozen=True, kw_only=True, slots=True)
class Importance:
    """How much each parameter mattered.

    Args:
        shares: of the variance of the score, by parameter, largest first; they add up to 1.
        trials: how many it was learnt from.
        epoch: after which trials were compared, if rules stopped some of them; None for their scores.
        method: what found them.
    """

    shares: dict[str, float]
    trials: int
    epoch: int | None
    method: str


@lru_cache(maxsize=8)  # a page asks for it several times
def importance(data: SweepData, member: str) -> Importance | None:
    """How much of the differences between a member's trials each varied parameter explains.

    fANOVA for up to 300 trials, PED-ANOVA for more. Parameters that do not matter for every trial, because of a
    condition, are known to PED-ANOVA alone, which needs 40 trials to tell the best of them from the others.

    Returns:
        None if fewer than four trials have a score, or fewer than two parameters vary.

    Source: Hutter et al. 2014, "An Efficient Approach for Assessing Hyperparameter Importance"; Watanabe et al. 2023,
    "PED-ANOVA".
    """
    import optuna

    trials = [one for one in data.of_member(member) if data.fair_score(one) is not None]
    names = data.varied(member)
    always = [name for name in names if all(value_of(one, name) is not None for one in trials)]
    many = len(trials) > MOST_FOR_FANOVA or (always != names and len(trials) >= _LEAST_FOR_PED_ANOVA)
    names = names if many else always
    if len(trials) < LEAST_TRIALS or len(names) < 2 or len({data.fair_score(one) for one in trials}) < 2:
        return None
    study = fair_study(data, member, names)
    evaluator: optuna.importance.BaseImportanceEvaluator
    with quiet():
        if many:
            evaluator = optuna.importance.PedAnovaImportanceEvaluator()
        else:
            evaluator = optuna.importance.FanovaImportanceEvaluator(seed=0)
        shares = optuna.importance.get_param_importances(study, evaluator=evaluator, params=names)
    return Importance(
        shares={name: float(share) for name, share in shares.items()},
        trials=len(trials),
        epoch=data.common_epoch,
        method="PED-ANOVA" if many else "fANOVA",
    )


def fair_study(data: SweepData, member: str, names: Sequence[str]) -> optuna.Study:
    """A member's trials with what compares their settings as value; for figures."""
    import optuna

    with quiet():
        study = optuna.create_study(direction="maximize" if data.maximizes else "minimize")
        trials = [one for one in data.of_member(member) if data.fair_score(one) is not None]
        trials.sort(key=lambda one: one.position)
        distributions = {name: _fitting(data.dimensions[member].get(name), _values(trials, name)) for name in names}
        study.add_trials(
            [
                _with_short_texts(_frozen(trial, number, distributions, value=data.fair_score(trial)))
                for number, trial in enumerate(trials)
            ]
        )
    return study


def _with_short_texts(trial: optuna.trial.FrozenTrial) -> optuna.trial.FrozenTrial:
    """The trial with categories that an axis has room for."""
    from optuna.distributions import CategoricalDistribution

    for name, old in trial.distributions.items():
        if isinstance(old, CategoricalDistribution):
            short = short_texts(old.choices)
            trial.distributions[name] = CategoricalDistribution(list(short.values()))
            trial.params[name] = short[trial.params[name]]
    return trial


def without_quotes(value: Any) -> Any:
    """A text as an axis shows it: Optuna's `plot_slice` writes texts with quotes, as Python does."""
    is_quoted = isinstance(value, str) and value[:1] in ("'", '"') and value[-1:] == value[:1]
    return ast.literal_eval(value) if is_quoted and len(value) > 1 else value


def add_to_study(data: SweepData, member: str, study: optuna.Study) -> int:
    """Adds a member's trials to a study, as Optuna would have recorded them; returns how many.

    A trial that was stopped because others were better is pruned; one without a score has failed. Values by epoch are
    intermediate values; seed, epochs, status and reason are user attributes.
    """
    trials = sorted((one for one in data.review.trials if one.member == member), key=lambda one: one.position)
    names = [name for name in data.review.searched if any(name in one.trial.searched for one in trials)]
    distributions = {name: _fitting(data.dimensions[member].get(name), _values(trials, name)) for name in names}
    with quiet():
        study.add_trials([_recorded(data, trial, number, distributions) for number, trial in enumerate(trials)])
    return len(trials)


def _recorded(
    data: SweepData, trial: TrialRecord, number: int, distributions: dict[str, Any]
) -> optuna.trial.FrozenTrial:
    from optuna.trial import TrialState

    score = data.score(trial)
    state = TrialState.FAIL if score is None else TrialState.COMPLETE
    if score is not None and trial.ended_by in COMPARING:
        state = TrialState.PRUNED
    if trial.status in ("queued", "running", "killed"):
        state = TrialState.FAIL
    frozen = _frozen(trial, number, distributions, value=score if state != TrialState.FAIL else None, state=state)
    frozen.intermediate_values = dict(data.curves[trial.id])
    told = {"trial": trial.id, "status": trial.status, "seed": trial.trial.seed, "epochs": trial.epochs}
    frozen.user_attrs = {**told, "reason": trial.reason, "sweep": data.review.sweep.id}
    return frozen


def _frozen(
    trial: TrialRecord, number: int, distributions: dict[str, Any], *, value: float | None, state: Any = None
) -> optuna.trial.FrozenTrial:
    import optuna

    params = {name: plain(value_of(trial, name)) for name in distributions if value_of(trial, name) is not None}
    return optuna.trial.FrozenTrial(
        number=number,
        trial_id=number,
        state=optuna.trial.TrialState.COMPLETE if state is None else state,
        value=value,
        datetime_start=_time(trial.started_ms),
        datetime_complete=_time(trial.ended_ms or trial.started_ms),
        params=params,
        distributions={name: distributions[name] for name in params},
        user_attrs={"trial": trial.id},
        system_attrs={},
        intermediate_values={},
    )


def plain(value: object) -> Any:
    """A value as Optuna can record it: a number, a text or a truth value."""
    return value if value is None or isinstance(value, bool | int | float | str) else str(value)


def _values(trials: Iterable[TrialRecord], name: str) -> list[object]:
    return [plain(value_of(one, name)) for one in trials if value_of(one, name) is not None]


def _fitting(dimension: Dimension | None, values: Sequence[object]) -> Any:
    """The distribution of a parameter: the written one, unless a trial of a user's own lies outside."""
    from optuna.distributions import CategoricalDistribution

    if isinstance(dimension, Range) and all(dimension.has(value) for value in values):
        return distribution(dimension)
    known = [plain(value) for value in dimension.values] if isinstance(dimension, Choice) else []
    return CategoricalDistribution(list(dict.fromkeys([*known, *values])))


def _time(ms: int | None) -> datetime:
    return datetime.fromtimestamp((ms or 0) / 1000)
