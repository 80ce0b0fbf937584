"""Files and command line to one typed config."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

from omegaconf import OmegaConf
from pydantic import ValidationError

from runner.config.apply import apply_settings
from runner.config.files import Folder, check_option, compose_folder, shown_path
from runner.config.messages import explain
from runner.config.mlflow_variables import settle_tracking
from runner.config.origins import Layer, Origins
from runner.config.overrides import Setting, parse_settings
from runner.config.references import References
from runner.config.schema import Config, default_values
from runner.errors import ConfigError, did_you_mean
from runner.experiment.identifiers import with_python_names
from runner.experiment.signature import parse_python, read_signature
from runner.experiment.source import read_source

DEFAULT_FOLDER = "conf"
DEFAULT_NAME = "config"
NO_EXPERIMENT = "no experiment; name an experiment file, as in `runner sweep my_model.py`, or set `experiment`"


def load_config(
    experiment: str | None,
    overrides: Sequence[str],
    *,
    config_dir: Path | None,
    config_name: str = DEFAULT_NAME,
    environment: Mapping[str, str] = MappingProxyType({}),
) -> Config:
    """Composes and checks the config of one sweep.

    Args:
        experiment: an experiment file named on the command line, or None.
        overrides: the command line's `key=value` arguments, searches included.
        config_dir: the config folder; None for `conf` in the current folder, and where there is none, the defaults.
        config_name: the primary config's file name within it.
        environment: the program's, for what MLflow's variables say of the store.

    Raises:
        ConfigError: listing all problems at once.
    """
    parsed, problems = parse_settings(overrides)
    folder = _folder(config_dir, config_name)
    file, settings = _experiment_file(experiment, parsed)
    choices, settings, refused = _group_choices(folder, settings, file)
    problems += refused
    values: dict[str, Any] = {}
    layers: tuple[Layer, ...] = ()
    if folder is not None:
        try:
            values, layers = compose_folder(folder, choices)
            with_python_names(values)
        except ConfigError as err:
            raise ConfigError([*problems, *err.problems]) from err
    if file is not None:
        values["experiment"] = file
    touched, misfits = apply_settings(values, settings)
    problems += misfits
    if file is not None:
        touched[("experiment",)] = "experiment"
    fallback = folder.shown(folder.name) if folder is not None else "command line"
    origins = Origins(layers=layers, settings=touched, fallback=fallback)
    values = _with_defaults(values, default_values())
    if values["name"] in (None, "auto"):
        values["name"] = _name(References(values, origins).value("experiment"), choices.get("experiment"))
    values = References(values, origins).resolved()
    settle_tracking(values, environment)
    if folder is not None:
        _find_experiments(values, folder.path.parent)
    return _checked(values, origins, problems)


def config_to_yaml(config: Config) -> str:
    """The resolved config as YAML, its search space as written; loading it again gives an equal config."""
    values = config.model_dump()
    values["members"] = {name: member.model_dump(exclude_unset=True) for name, member in config.members.items()}
    return str(OmegaConf.to_yaml(OmegaConf.create(values)))


def _folder(config_dir: Path | None, config_name: str) -> Folder | None:
    name = config_name.removesuffix(".yaml")
    path = (config_dir if config_dir is not None else Path(DEFAULT_FOLDER)).absolute()
    folder = Folder(path=path, name=name)
    if "\0" in f"{path}{name}" or name != name.strip("/") or ".." in name.split("/") or not name:
        raise ConfigError(f"command line: --config-name: must be the name of a file in the config folder; got {name!r}")
    if (path / f"{name}.yaml").is_file():
        return folder
    if config_dir is None and name == DEFAULT_NAME:
        return None
    if not path.is_dir():
        raise ConfigError(f"command line: --config-dir: {shown_path(path)} is not a folder")
    available = folder.options("")
    hint = did_you_mean(name, available) or ";"
    found = ", ".join(available) or "none"
    raise ConfigError(f"command line: --config-name: no {name}.yaml in {shown_path(path)}{hint} available: {found}")


def _experiment_file(experiment: str | None, settings: Sequence[Setting]) -> tuple[str | None, list[Setting]]:
    """The experiment file that the command line names, and the settings that do not name it."""
    if experiment is not None and not experiment.endswith(".py"):
        hint = f"for a config of that name write experiment={experiment}"
        raise ConfigError(f"command line: {experiment!r} is no experiment file, which ends in .py; {hint}")
    rest, file = [], experiment
    for setting in settings:
        if setting.keys != ("experiment",) or setting.kind != "set":
            rest.append(setting)
        elif isinstance(setting.value, str) and setting.value.endswith(".py"):
            file = setting.value if experiment is None else experiment
            if experiment is not None and setting.value != experiment:
                raise ConfigError(f"command line: two experiments, {experiment} and {setting.text}; give one")
        else:
            rest.append(setting)
    return file, rest


def _group_choices(
    folder: Folder | None, settings: Sequence[Setting], file: str | None
) -> tuple[dict[str, str | None], list[Setting], list[str]]:
    choices: dict[str, str | None] = {"experiment": None} if file is not None else {}
    rest: list[Setting] = []
    problems: list[str] = []
    for setting in settings:
        is_experiment = setting.keys == ("experiment",)
        if is_experiment and file is not None and setting.kind != "delete":
            problems.append(f"command line: {setting.text}: does not go with the experiment file {file}; give one")
        elif is_experiment and setting.kind == "search":
            problems.append(f"command line: {setting.text}: cannot be searched; list several experiments as members")
        elif folder is not None and folder.has_group(setting.group) and not isinstance(setting.value, dict):
            problem = check_option(folder, setting.group, setting.value) if setting.kind != "delete" else None
            if problem is not None:
                problems.append(f"command line: {setting.text}: {problem}")
                continue
            choices[setting.group] = None if setting.kind == "delete" else setting.value
        elif is_experiment and setting.kind == "set" and folder is None:
            problems.append(
                f"command line: {setting.text}: no {DEFAULT_FOLDER} folder here to choose from; "
                "give --config-dir, or an experiment file, which ends in .py"
            )
        elif setting.keys[0] == "hydra":
            problems.append(f"command line: {setting.text}: Hydra's own settings are not used here")
        else:
            rest.append(setting)
    return choices, rest, problems


def _with_defaults(values: dict[str, Any], defaults: dict[str, Any]) -> dict[str, Any]:
    """Fills in defaults; a section left empty in YAML (null) counts as not given."""
    merged = dict(defaults)
    for key, value in values.items():
        default = defaults.get(key)
        if isinstance(default, dict) and isinstance(value, dict):
            merged[key] = _with_defaults(value, default)
        elif not (isinstance(default, dict | list) and value is None):
            merged[key] = value
    return merged


def _name(experiment: Any, choice: str | None) -> str:
    written = Path(experiment).stem if isinstance(experiment, str) else (choice or "sweep").rsplit("/", 1)[-1]
    return re.sub(r"[^\w.-]", "_", written).lstrip(".-")[:80] or "sweep"


def _find_experiments(values: dict[str, Any], base: Path) -> None:
    """Experiment paths are relative to the current folder, and failing that to the config folder's parent."""
    members = values["members"].values() if isinstance(values["members"], dict) else ()
    for holder in (values, *members):
        path = holder.get("experiment") if isinstance(holder, dict) else None
        if isinstance(path, str) and "\0" not in path and len(path) < 500:
            found = base / path
            if not Path(path).exists() and found.is_file():
                holder["experiment"] = shown_path(found)


def _checked(values: dict[str, Any], origins: Origins, earlier: list[str]) -> Config:
    problems = list(earlier)
    if values["experiment"] is not None and values["members"]:
        problems.append(f"{origins.place('members')}: members and an experiment are given; give one of them")
    # A setting that could not be read may be the one that names it.
    if values["experiment"] is None and not values["members"] and not earlier:
        problems.append(f"{origins.fallback}: {NO_EXPERIMENT}")
    try:
        config = Config.model_validate(values)
    except ValidationError as err:
        raise ConfigError([*problems, *explain(err, origins, _parameters(values))]) from err
    if problems:
        raise ConfigError(problems)
    return config.with_origins(origins)


def _parameters(values: dict[str, Any]) -> frozenset[str]:
    """The experiment's parameters, which a key that is unknown may mean; none where its file cannot be read."""
    path = values["experiment"]
    if not isinstance(path, str) or "\0" in path:
        return frozenset()
    try:
        source = read_source(path)
        return frozenset(read_signature(parse_python(source.files[0][1], path), path).parameters)
    except (ConfigError, OSError, ValueError):
        return frozenset()
