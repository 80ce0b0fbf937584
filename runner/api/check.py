"""Tries an experiment before a sweep."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import fields
from typing import TYPE_CHECKING

from runner.api.runs import Wanted, configured, wanted_of
from runner.driver.apart import examine_apart
from runner.records import Examined
from runner.review.catalog import SWEEPS
from runner.views.examined import as_text

if TYPE_CHECKING:
    from runner.api.functions import Function


class ExperimentCheck(Examined):
    """A check that has passed. It prints as the table of `python -m runner check`; its parts are attributes."""

    __slots__ = ()

    def __repr__(self) -> str:
        return as_text(self)


def check(
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
    **sections: object,
) -> ExperimentCheck:
    """Tries an experiment for some seconds, in a process of its own, without Ray and MLflow; records nothing.

    The first setting, and the last if the arguments search, loads its data, builds its model, trains a step, validates
    and exports.

    Args:
        experiment: as for `sweep`, and so are the others.
        overrides: `key=value` arguments as on the command line, which have the last word.
        load_data: a function instead of the file's; together with `build_model`.
        build_model: a function instead of the file's.
        callbacks: a function instead of the file's.
        params: fixed values of parameters of the functions.
        space: what is searched.
        config_dir: the config folder; None for `conf` in the current folder if there is one.
        config_name: a YAML file of that folder.
        root: the folder of all sweeps, in which the code of functions is kept.
        sections: the other keys of the config by name.

    Raises:
        ConfigError: something is wrong with the config or the experiment's signatures.
        RunnerError: the experiment cannot be trained; the message has file, line, function and the line itself.

    Example:
        >>> check = runner.check("experiments/digits_mlp.py", params={"units": 32})
        >>> check.checked[0].parameters
        2410
        >>> check.checked[0].details.values["loss"] < 3
        True
    """
    functions = {"load_data": load_data, "build_model": build_model, "callbacks": callbacks}
    return check_experiment(
        wanted_of(experiment, overrides, functions, params, space, sections, config_dir, config_name, root)
    )


def check_experiment(wanted: Wanted) -> ExperimentCheck:
    """As `check`."""
    config, sources = configured(wanted)
    found = examine_apart(config, os.environ, sources)
    return ExperimentCheck(**{field.name: getattr(found, field.name) for field in fields(found)})
