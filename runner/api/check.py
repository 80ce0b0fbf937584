"""Tries an experiment before a sweep."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import fields

from runner.api.sweeps import _config
from runner.driver.apart import examine_apart
from runner.records import Examined
from runner.views.examined import as_text


class ExperimentCheck(Examined):
    """A check that has passed. It prints as the table of `python -m runner check`; its parts are attributes.

    Example:
        >>> check = runner.check("experiments/digits_mlp.py", params={"units": 32})
        >>> check.checked[0].parameters
        2410
        >>> check.checked[0].details.values["loss"] < 3
        True
    """

    __slots__ = ()

    def __repr__(self) -> str:
        return as_text(self)


def check(
    experiment: str | os.PathLike[str] | None = None,
    *overrides: str,
    params: Mapping[str, object] | None = None,
    space: Mapping[str, object] | None = None,
    config_dir: str | os.PathLike[str] | None = None,
    **sections: object,
) -> ExperimentCheck:
    """Tries an experiment for some seconds, in a process of its own, without Ray and MLflow; records nothing.

    The first setting, and the last if the arguments search, loads its data, builds its model, trains a step, validates
    and exports.

    Args:
        experiment: as for `sweep`, and so are the others.
        overrides: `key=value` arguments as on the command line, which have the last word.
        params: fixed values of parameters of `load_data` and `build_model`.
        space: what is searched.
        config_dir: the config folder; None for `conf` in the current folder if there is one.
        sections: the other keys of the config by name.

    Raises:
        ConfigError: something is wrong with the config or the experiment's signatures.
        RunnerError: the experiment cannot be trained; the message has file, line, function and the line itself.
    """
    config = _config(experiment, overrides, params, space, config_dir, sections)
    found = examine_apart(config, os.environ)
    return ExperimentCheck(**{field.name: getattr(found, field.name) for field in fields(found)})
