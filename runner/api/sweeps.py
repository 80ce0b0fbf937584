"""Sweeps from a script or a notebook, with the same files, records and errors as from the command line."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, overload

from runner.api.contexts import Progress, context_for, only_one
from runner.api.result import Result
from runner.api.running import RunningSweep, in_background
from runner.api.runs import Wanted, configured, plan_sweep, run_configured, run_resume, run_sweep, wanted_of
from runner.review.catalog import SWEEPS, find_sweep

if TYPE_CHECKING:
    from runner.api.functions import Function
    from runner.api.plan import Plan
    from runner.driver.context import Context
    from runner.driver.train import Outcome
    from runner.fleet.ray.pool import Pool


@overload
def sweep(*arguments: Any, block: Literal[False], **settings: Any) -> RunningSweep: ...


@overload
def sweep(*arguments: Any, block: Literal[True] = True, **settings: Any) -> Result: ...


def sweep(
    experiment: str | os.PathLike[str] | None = None,
    *overrides: str,
    load_data: Function | None = None,
    build_model: Function | None = None,
    callbacks: Function | None = None,
    params: Mapping[str, object] | None = None,
    space: Mapping[str, object] | None = None,
    config_dir: str | os.PathLike[str] | None = None,
    config_name: str = "config",
    root: str | os.PathLike[str] = SWEEPS,
    progress: Progress = "auto",
    block: bool = True,
    **sections: object,
) -> Result | RunningSweep:
    """Trains every trial of a sweep and records it; returns when MLflow has everything too.

    Args:
        experiment: the experiment file; None for what the config folder names.
        overrides: `key=value` arguments as on the command line, which have the last word.
        load_data: a function instead of the file's; together with `build_model`. Their code is recorded with what it
            names, as a file's is.
        build_model: a function instead of the file's.
        callbacks: a function instead of the file's.
        params: fixed values of parameters of `load_data` and `build_model`.
        space: what is searched: a list of values, or one of `loguniform`, `interval`, `integers`, `log_integers`.
        config_dir: the config folder; None for `conf` in the current folder if there is one.
        config_name: a YAML file of that folder.
        root: the folder of all sweeps.
        progress: "terminal" shows a live table or lines; "notebook" redraws a table below the cell; "none" leaves
            warnings and news to the logger `runner`; "auto" is what fits where it runs.
        block: False to return at once, while Ray's workers train in the background.
        sections: the other keys of the config by name: `search={"max_trials": 20}`, `train={"epochs": 5}`, `seed=1`.

    Returns:
        The sweep; a `RunningSweep` if `block` is false. If Ctrl-C has stopped it, it has what was trained until then,
        and `resume` goes on.

    Raises:
        ConfigError: something is wrong with the config, the experiment's signatures or what functions name; nothing
            was trained.
        RunnerError: the experiment cannot be trained, or the infrastructure failed.

    Example:
        >>> result = runner.sweep("experiments/digits_mlp.py", space={"units": [32, 64]}, train={"epochs": 2})
        >>> len(result.trials)
        2
    """
    functions = {"load_data": load_data, "build_model": build_model, "callbacks": callbacks}
    wanted = wanted_of(experiment, overrides, functions, params, space, sections, config_dir, config_name, root)
    return sweep_wanted(wanted, progress, block=block)


def sweep_wanted(wanted: Wanted, progress: Progress, *, block: bool, pool: Pool | None = None) -> Result | RunningSweep:
    """As `sweep`, with workers of this pool."""

    def train(context: Context) -> None:
        context, is_warm = replace(context, pool=pool), pool is not None and pool.is_warm
        _warn_of(run_sweep(wanted, lambda _: context, command=_COMMAND, looks_ahead=not is_warm), context)

    if not block:
        config, sources = configured(wanted)  # as it is now; a mistake in it is the caller's to see at once
        run = partial(run_configured, config, sources, root=wanted.root, command=_COMMAND)

        def train_behind(context: Context) -> None:
            context = replace(context, pool=pool)
            _warn_of(run(context), context)

        return in_background(config, progress, train_behind)
    made: list[Path] = []
    with context_for(progress) as context:
        try:
            train(replace(context, began=made.append))
        except KeyboardInterrupt:
            if not made or context.stop.insisted:
                raise  # stopped before there was anything to return, or by a second Ctrl-C
    return Result(made[0])


def plan(
    experiment: str | os.PathLike[str] | None = None,
    *overrides: str,
    load_data: Function | None = None,
    build_model: Function | None = None,
    callbacks: Function | None = None,
    params: Mapping[str, object] | None = None,
    space: Mapping[str, object] | None = None,
    config_dir: str | os.PathLike[str] | None = None,
    config_name: str = "config",
    root: str | os.PathLike[str] = SWEEPS,
    probe: bool = False,
    **sections: object,
) -> Plan:
    """What `sweep` would do with the same arguments: each member's first trial is built and tried, nothing is recorded.

    Args:
        experiment: as for `sweep`, like all that are not named here.
        overrides: as for `sweep`.
        load_data: as for `sweep`.
        build_model: as for `sweep`.
        callbacks: as for `sweep`.
        params: as for `sweep`.
        space: as for `sweep`.
        config_dir: as for `sweep`.
        config_name: as for `sweep`.
        root: as for `sweep`.
        probe: measures the memory of each distinct model first, and plans the slots by it.
        sections: as for `sweep`.

    Raises:
        ConfigError: as for `sweep`.
        RunnerError: as for `sweep`.
    """
    functions = {"load_data": load_data, "build_model": build_model, "callbacks": callbacks}
    wanted = wanted_of(experiment, overrides, functions, params, space, sections, config_dir, config_name, root)
    with only_one():  # it may open a fleet
        return plan_sweep(wanted, probe=probe)


@overload
def resume(
    sweep: str | Result = ..., *, retry_failed: bool = ..., more_epochs: int = ...,
    root: str | os.PathLike[str] = ..., progress: Progress = ..., block: Literal[False],
) -> RunningSweep: ...  # fmt: skip


@overload
def resume(
    sweep: str | Result = ..., *, retry_failed: bool = ..., more_epochs: int = ...,
    root: str | os.PathLike[str] = ..., progress: Progress = ..., block: Literal[True] = ...,
) -> Result: ...  # fmt: skip


def resume(
    sweep: str | Result = "latest",
    *,
    retry_failed: bool = False,
    more_epochs: int = 0,
    root: str | os.PathLike[str] = SWEEPS,
    progress: Progress = "auto",
    block: bool = True,
) -> Result | RunningSweep:
    """Trains what is left of a sweep, however it ended; the arguments are as for the verb `resume`.

    Args:
        sweep: a sweep, its id, an unambiguous beginning of it, or "latest".
        retry_failed: continues failed trials where they failed.
        more_epochs: additional epochs for every trial.
        root: the folder of all sweeps.
        progress: as for `sweep`.
        block: False to return at once, as for `sweep`.

    Raises:
        SweepNotFoundError: there is no such sweep.
        RunnerError: as for `sweep`.

    Example:
        >>> longer = runner.resume("latest", more_epochs=1)
        >>> set(longer.trials["epochs"])
        {3}
    """
    how = {"retry_failed": retry_failed, "more_epochs": more_epochs}
    return resume_sweep(sweep, progress, how, block=block, root=Path(root))


def resume_sweep(
    sweep: str | Result,
    progress: Progress,
    how: Mapping[str, Any],
    *,
    block: bool,
    root: Path,
    pool: Pool | None = None,
) -> Result | RunningSweep:
    """As `resume`, with workers of this pool."""
    folder = sweep.folder if isinstance(sweep, Result) else find_sweep(sweep, root)

    def train(context: Context) -> None:
        context = replace(context, pool=pool)
        context.began(folder)
        _warn_of(run_resume(folder, context, **how), context)

    if not block:
        from runner.config import load_config

        return in_background(load_config(None, [], config_dir=folder), progress, train)
    with context_for(progress) as context:
        try:
            train(context)
        except KeyboardInterrupt:
            if context.stop.insisted:
                raise
    return Result(folder)


_COMMAND = "python: runner.sweep(...)"


def _warn_of(outcome: Outcome, context: Context) -> None:
    """Says which trials have failed, and what MLflow lacks; the sweep is over."""
    if context.pool is not None:
        context.pool.settle()
    if outcome.failed:
        trials = f"{outcome.failed} trial{'s' * (outcome.failed > 1)} of {outcome.folder.name}"
        context.watcher.warn(f"warning: {trials} failed; result.trials[['status', 'reason']] says why")
    if outcome.problem:
        context.watcher.warn(outcome.problem)
