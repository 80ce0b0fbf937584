"""Runs and plans what a caller describes: a Python program through `runner.sweep`, a user through the command line."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from runner.errors import ConfigError, received
from runner.review.catalog import SWEEPS

__all__ = ["Outcome", "Wanted", "configured", "plan_sweep", "run_replay", "run_resume", "run_sweep"]

if TYPE_CHECKING:
    from runner.api.functions import Function
    from runner.api.plan import Plan
    from runner.config import Config
    from runner.driver.context import Context
    from runner.driver.prepare import Prepared
    from runner.driver.replaying import Replayed
    from runner.driver.train import Outcome
    from runner.records import Mps, Source


@dataclass(frozen=True, kw_only=True, slots=True)
class Wanted:
    """A sweep as its caller describes it.

    Args:
        experiment: the experiment file; None for what the config folder names, or for functions.
        overrides: `key=value` texts, which have the last word.
        functions: that stand for the file, by the names that the file would give them; None for one that is not given.
        given: other values of the config, over those of its files.
        config_dir: the config folder; None for `conf` in the current folder if there is one.
        config_name: a YAML file of that folder.
        root: the folder of all sweeps.
    """

    experiment: str | None = None
    overrides: tuple[str, ...] = ()
    functions: Mapping[str, Function | None] = field(default_factory=dict)
    given: Mapping[str, object] = field(default_factory=dict)
    config_dir: Path | None = None
    config_name: str = "config"
    root: Path = SWEEPS


def wanted_of(
    experiment: str | os.PathLike[str] | None,
    overrides: tuple[str, ...],
    functions: Mapping[str, Function | None],
    params: Mapping[str, object] | None,
    space: Mapping[str, object] | None,
    sections: Mapping[str, object],
    config_dir: str | os.PathLike[str] | None,
    config_name: str,
    root: str | os.PathLike[str],
) -> Wanted:
    """What the arguments of `runner.sweep` and its like describe.

    Raises:
        ConfigError: an argument is of another kind.
    """
    if callable(experiment):
        raise ConfigError("experiment: got a function; pass functions by name: load_data=..., build_model=...")
    given = {name: python_value(value) for name, value in sections.items()}
    if params is not None:
        given["params"] = python_value(params)
    if space is not None:
        search = given.get("search", {})
        if not isinstance(search, dict):
            raise ConfigError(f"search: must be a mapping of its keys; got {received(search)}")
        if search.get("space"):
            raise ConfigError("space: is given twice, as space= and in search=; leave one out")
        given["search"] = {**search, "space": python_value(space)}
    return Wanted(
        experiment=None if experiment is None else os.fspath(experiment),
        overrides=overrides,
        functions=functions,
        given=given,
        config_dir=None if config_dir is None else Path(config_dir),
        config_name=config_name,
        root=Path(root).absolute(),
    )


def python_value(value: object) -> object:
    """A value as the config knows it: NumPy's numbers and arrays, ranges, tuples and mappings become Python's own."""
    if type(value).__module__ == "numpy" and hasattr(value, "tolist"):
        return value.tolist()
    if isinstance(value, Mapping):
        return {name: python_value(one) for name, one in value.items()}
    if isinstance(value, list | tuple | range):
        return [python_value(one) for one in value]
    return value


def configured(wanted: Wanted) -> tuple[Config, dict[str, Source]]:
    """The config, and the code of functions by member, if there are any.

    Raises:
        ConfigError: lists everything that is wrong.
    """
    from runner.config import load_config, recording_problems
    from runner.tracking.store_check import check_address

    source = None
    if any(function is not None for function in wanted.functions.values()):
        from runner.api.functions import source_of

        source = source_of(wanted.functions, with_file=wanted.experiment is not None, root=wanted.root)
    config = load_config(
        wanted.experiment if source is None else source.path,
        list(wanted.overrides),
        config_dir=wanted.config_dir,
        config_name=wanted.config_name,
        environment=os.environ,
        given=wanted.given,
    )
    if wanted.given and (problems := recording_problems(config)):
        raise ConfigError(problems)
    check_address(config.tracking.uri)
    return config, {} if source is None else {config.name: source}


def run_sweep(
    wanted: Wanted, context_of: Callable[[Config], Context], *, command: str, looks_ahead: bool = True
) -> Outcome:
    """Trains every trial and records it, as `runner.sweep`; returns how it ended.

    Args:
        wanted: the sweep.
        context_of: makes its context, once its config is known.
        command: what repeats it.
        looks_ahead: look for mistakes in its code while workers start; not if they have started already.

    Raises:
        RunnerError: nothing was started, or the infrastructure failed.
        KeyboardInterrupt: a request to stop ended the sweep.
    """
    from runner.driver.preflight import Preflight

    preflight = Preflight()
    with preflight if looks_ahead else nullcontext():  # imports TensorFlow while the config is read
        config, sources = configured(wanted)
        from runner.driver.run import run

        return run(config, context_of(config), root=wanted.root, command=command, preflight=preflight, sources=sources)


def run_configured(
    config: Config, sources: Mapping[str, Source], context: Context, *, root: Path, command: str
) -> Outcome:
    """As `run_sweep`, of what `configured` has returned before."""
    from runner.driver.preflight import Preflight
    from runner.driver.run import run

    with Preflight() as preflight:
        return run(config, context, root=root, command=command, preflight=preflight, sources=sources)


def plan_sweep(wanted: Wanted, *, probe: bool) -> Plan:
    """What `run_sweep` would do; `probe` measures the memory of each distinct model first.

    Raises:
        RunnerError: as for `run_sweep`.
    """
    config, sources = configured(wanted)
    from runner.driver.mps import with_daemon
    from runner.driver.prepare import prepare
    from runner.driver.probing import probe as measure

    def planned(mps: Mps | None = None) -> Prepared:
        return prepare(config, wanted.root, sources=sources, mps=mps)

    prepared = planned()
    from runner.api.plan import Plan  # imports SQLAlchemy, for which a mistake in the config need not wait
    from runner.driver.plan import make_plan

    if not probe:
        return Plan(make_plan(prepared), wanted.root)
    with ExitStack() as ending:  # a model takes less GPU memory through MPS; the plan says why there is none
        prepared = measure(with_daemon(planned, ending, lambda _: None))
        return Plan(make_plan(prepared), wanted.root)


def run_resume(folder: Path, context: Context, *, retry_failed: bool, more_epochs: int) -> Outcome:
    """Trains what is left of a sweep, as `runner.resume`; returns how it ended.

    Raises:
        RunnerError: as for `run_sweep`.
        KeyboardInterrupt: as for `run_sweep`.
    """
    from runner.driver.resume import resume
    from runner.driver.resume_state import Asked

    return resume(folder, Asked(retry_failed=retry_failed, more_epochs=more_epochs), context)


def run_replay(folder: Path, trial_id: str, context: Context) -> Replayed:
    """Trains a trial again, alone, and compares every metric and weight. Nothing is recorded.

    Raises:
        SweepNotFoundError: there is no such trial, or it has not trained.
        RunnerError: it fails now, or this machine cannot repeat it.
    """
    from runner.driver.replaying import replay
    from runner.review.catalog import open_review

    (chosen,) = open_review(folder).chosen(trial_id)
    return replay(folder, chosen.id, context)
