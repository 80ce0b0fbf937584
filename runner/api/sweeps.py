"""Sweeps from a script or a notebook, with the same files, records and errors as from the command line."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, overload

from runner.api.contexts import Progress, context_for, in_background
from runner.api.functions import Function, source_of
from runner.api.result import Result
from runner.config import load_config
from runner.review.catalog import SWEEPS, find_sweep, sweep_folders

if TYPE_CHECKING:
    from runner.api.plan import Plan
    from runner.api.running import RunningSweep
    from runner.config import Config
    from runner.driver.context import Context


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
    """
    functions = {"load_data": load_data, "build_model": build_model, "callbacks": callbacks}
    source = source_of(functions, with_file=experiment is not None, root=Path(root))
    config = _config(experiment if source is None else source.path, overrides, params, space, config_dir, sections)
    from runner.driver.preflight import Preflight
    from runner.driver.run import run

    def train(context: Context) -> None:
        with Preflight() as preflight:
            sources = {} if source is None else {config.name: source}
            outcome = run(config, context, root=Path(root), command=_COMMAND, preflight=preflight, sources=sources)
            if outcome.problem:
                context.watcher.warn(outcome.problem)

    if not block:
        return in_background(config, progress, train)
    made: list[Path] = []
    with context_for(progress) as context:
        try:
            train(replace(context, began=made.append))
        except KeyboardInterrupt:
            if not made:
                raise  # stopped before there was anything to return
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
        root: as for `sweep`.
        probe: measures the memory of each distinct model first, and plans the slots by it.
        sections: as for `sweep`.

    Raises:
        ConfigError: as for `sweep`.
        RunnerError: as for `sweep`.
    """
    functions = {"load_data": load_data, "build_model": build_model, "callbacks": callbacks}
    source = source_of(functions, with_file=experiment is not None, root=Path(root))
    config = _config(experiment if source is None else source.path, overrides, params, space, config_dir, sections)
    from runner.api.plan import Plan
    from runner.driver.plan import make_plan
    from runner.driver.prepare import prepare
    from runner.driver.prepare import probe as measure

    prepared = prepare(config, Path(root), sources={} if source is None else {config.name: source})
    return Plan(make_plan(measure(prepared) if probe else prepared), Path(root))


def resume(
    sweep: str | Result = "latest",
    *,
    retry_failed: bool = False,
    more_epochs: int = 0,
    root: str | os.PathLike[str] = SWEEPS,
    progress: Progress = "auto",
) -> Result:
    """Trains what is left of a sweep, however it ended; the arguments are as for the verb `resume`.

    Args:
        sweep: a sweep, its id, an unambiguous beginning of it, or "latest".
        retry_failed: continues failed trials where they failed.
        more_epochs: additional epochs for every trial.
        root: the folder of all sweeps.
        progress: as for `sweep`.

    Raises:
        SweepNotFoundError: there is no such sweep.
        RunnerError: as for `sweep`.
    """
    from runner.driver.resume import resume as go_on
    from runner.driver.resume_state import Asked

    folder = sweep.folder if isinstance(sweep, Result) else find_sweep(sweep, Path(root))
    with context_for(progress) as context:
        try:
            outcome = go_on(folder, Asked(retry_failed=retry_failed, more_epochs=more_epochs), context)
            if outcome.problem:
                context.watcher.warn(outcome.problem)
        except KeyboardInterrupt:
            return Result(folder)
    return Result(folder)


def load(sweep: str = "latest", *, root: str | os.PathLike[str] = SWEEPS) -> Result:
    """A recorded sweep, running or ended.

    Args:
        sweep: its id, an unambiguous beginning of it, or "latest".
        root: the folder of all sweeps.

    Raises:
        SweepNotFoundError: there is no such sweep.
    """
    return Result(find_sweep(sweep, Path(root)))


def sweeps(*, root: str | os.PathLike[str] = SWEEPS) -> list[Result]:
    """All sweeps of a folder, newest first."""
    return [Result(folder) for folder in sweep_folders(Path(root))]


_COMMAND = "python: runner.sweep(...)"


def _config(
    experiment: str | os.PathLike[str] | None,
    overrides: Iterable[str],
    params: Mapping[str, object] | None,
    space: Mapping[str, object] | None,
    config_dir: str | os.PathLike[str] | None,
    sections: Mapping[str, object],
) -> Config:
    given = dict(sections)
    if params is not None:
        given["params"] = dict(params)
    if space is not None:
        search = given.get("search", {})
        given["search"] = {**(search if isinstance(search, dict) else {}), "space": dict(space)}
    return load_config(
        None if experiment is None else os.fspath(experiment),
        list(overrides),
        config_dir=None if config_dir is None else Path(config_dir),
        environment=os.environ,
        given=given,
    )
