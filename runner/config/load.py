"""Files and command line to one typed config."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

import yaml
from pydantic import ValidationError

from runner.config.files import Choice, Folder, compose_folder, open_folder, shown_path
from runner.config.messages import explain
from runner.config.mlflow_variables import resolve_tracking
from runner.config.origins import Key, Origins, Values, merged
from runner.config.overrides import Setting, apply_settings, parse_settings
from runner.config.points_file import read_points_files
from runner.config.references import resolve
from runner.config.schema import Config, default_values
from runner.config.yaml_nodes import MAX_FILE, Dumper, parse
from runner.errors import ConfigError
from runner.experiment.signature import parse_python, read_signature
from runner.experiment.source import read_source

DEFAULT_NAME = "config"
GIVEN = "argument"  # the place of a value that a Python caller gives
NO_EXPERIMENT = "no experiment; name an experiment file, as in `runner sweep my_model.py`, or set `experiment`"


def load_config(
    experiment: str | None,
    overrides: Sequence[str],
    *,
    config_dir: Path | None,
    config_name: str = DEFAULT_NAME,
    environment: Mapping[str, str] = MappingProxyType({}),
    given: Mapping[str, object] = MappingProxyType({}),
) -> Config:
    """Composes and checks the config of one sweep: files, then arguments, then references, then the schema.

    Args:
        experiment: an experiment file named on the command line, or None.
        overrides: the command line's `key=value` arguments, searches included.
        config_dir: the config folder; None for `conf` in the current folder and, if there is none, the defaults.
        config_name: the primary config's file name within it.
        environment: the program's, whose MLflow variables may name the store.
        given: values of a Python caller, over the files' and under the arguments'.

    Raises:
        ConfigError: listing all problems at once.
    """
    settings, problems = parse_settings(overrides)
    folder = open_folder(config_dir, config_name)
    file, choices, settings, refused = _choices(experiment, settings, folder)
    problems += refused
    values: Values = {}
    places: Mapping[Key, str] = {}
    if folder is not None:
        try:
            values, places = compose_folder(folder, choices)
        except ConfigError as err:
            raise ConfigError([*problems, *err.problems]) from err
    values, places = merged(values, dict(given)), {**places, **dict.fromkeys(_keys(given), GIVEN)}
    touched, misfits = apply_settings(values, settings)
    if file is not None:
        values["experiment"], touched[("experiment",)] = file, "experiment"
    fallback = folder.shown(folder.name) if folder is not None else "command line"
    origins = Origins(places=places, settings=touched, fallback=fallback)
    values = merged(default_values(), values, keeps_sections=True)
    if values["name"] in (None, "auto"):
        values["name"] = _name(resolve(values, origins)[0]["experiment"], choices.get("experiment", (None,))[0])
    values, unresolved = resolve(values, origins)
    if unresolved:
        raise ConfigError([*problems, *misfits, *unresolved])
    resolve_tracking(values, environment)
    base = None if folder is None else folder.path.parent
    if base is not None:
        _find_experiments(values, base)
    problems += read_points_files(values, base, origins)
    return _checked(values, origins, [*problems, *misfits])


def config_to_yaml(config: Config) -> str:
    """The resolved config as YAML, its search space as written; loading it again gives an equal config."""
    values = config.model_dump()
    values["members"] = {name: member.model_dump(exclude_unset=True) for name, member in config.members.items()}
    return yaml.dump(values, Dumper=Dumper, allow_unicode=True, sort_keys=False, default_flow_style=False)


def recording_problems(config: Config) -> list[str]:
    """What of the values that a program gave could not be read again from the recorded config, as `resume` does."""
    try:
        text = config_to_yaml(config)
    except (yaml.YAMLError, ValueError) as err:  # an object, or a number with thousands of digits
        return [f"argument: {' '.join(str(err).split())}; give numbers, texts, truth values, lists and mappings"]
    lines = text.splitlines()
    return [
        f"argument: {what}; the sweep's config is recorded as YAML, where this would be the line {lines[line - 1]!r}"
        for line, what in parse(text, MAX_FILE)[1]
    ]


def _keys(given: Mapping[str, object], prefix: Key = ()) -> Iterator[Key]:
    """Every key of these values, sections included."""
    for name, value in given.items():
        yield (*prefix, name)
        if isinstance(value, Mapping):
            yield from _keys(value, (*prefix, name))


def _choices(
    experiment: str | None, settings: Sequence[Setting], folder: Folder | None
) -> tuple[str | None, dict[str, Choice], list[Setting], list[str]]:
    """The command line's experiment file, its choice for each config group, other settings, and what is wrong."""
    if experiment is not None and not experiment.endswith(".py"):
        hint = f"for a config of that name write experiment={experiment}"
        raise ConfigError(f"command line: {experiment!r} is no experiment file, which ends in .py; {hint}")
    named = [setting for setting in settings if setting.keys == ("experiment",) and str(setting.value).endswith(".py")]
    file = next((str(setting.value) for setting in reversed(named)), experiment)
    if experiment not in (None, file):
        raise ConfigError(f"command line: two experiments, {experiment} and {named[-1].text}; give one")
    choices: dict[str, Choice] = {"experiment": (None, "command line")} if file is not None else {}
    rest: list[Setting] = []
    problems: list[str] = []
    for setting in (setting for setting in settings if setting not in named):
        group = "/".join(setting.keys)
        is_group = folder is not None and (folder.path / group).is_dir()
        problem = _problem_of_choice(setting, file, folder, is_group=is_group)
        if problem is not None:
            problems.append(f"command line: {setting.text}: {problem}")
        elif is_group and not isinstance(setting.value, dict):
            choices[group] = (setting.value, f"command line: {setting.text}")
        else:
            rest.append(setting)
    return file, choices, rest, problems


def _problem_of_choice(setting: Setting, file: str | None, folder: Folder | None, *, is_group: bool) -> str | None:
    """Why an argument cannot choose an experiment, or a file of a group of the config folder; None if it can."""
    if setting.keys == ("experiment",) and setting.kind != "delete":
        if file is not None:
            return f"does not go with the experiment file {file}; give one"
        if setting.kind == "search":
            return "cannot be searched; list several experiments as members"
        if folder is None:
            return "no conf folder here to choose from; give --config-dir, or an experiment file, which ends in .py"
    if is_group and setting.kind == "search":
        return "must be one name in the config folder; got several"
    return None


def _name(experiment: object, choice: object) -> str:
    written = Path(experiment if isinstance(experiment, str) else str(choice or "sweep")).stem
    return re.sub(r"[^\w.-]", "_", written).lstrip(".-")[:80] or "sweep"


def _find_experiments(values: Values, base: Path) -> None:
    """Experiment paths are relative to the current folder, and failing that to the config folder's parent."""
    members = values["members"].values() if isinstance(values["members"], dict) else ()
    for holder in (values, *members):
        path = holder.get("experiment") if isinstance(holder, dict) else None
        if isinstance(path, str) and "\0" not in path and len(path) < 500:
            found = base / path
            if not Path(path).exists() and found.is_file():
                holder["experiment"] = shown_path(found)


def _checked(values: Values, origins: Origins, earlier: Sequence[str]) -> Config:
    problems = list(earlier)
    if values["experiment"] is not None and values["members"]:
        problems.append(f"{origins.place('members')}: members and an experiment are given; give one of them")
    # A setting that could not be read may be the one that names it.
    if values["experiment"] is None and not values["members"] and not earlier:
        problems.append(f"{origins.fallback}: {NO_EXPERIMENT}")
    try:
        config = Config.model_validate(values)
    except ValidationError as err:
        raise ConfigError([*problems, *explain(err, origins, _parameters(values["experiment"]))]) from err
    if problems:
        raise ConfigError(problems)
    return config.with_origins(origins)


def _parameters(path: object) -> frozenset[str]:
    """The experiment's parameters, which an unknown key may mean; none if its file cannot be read."""
    try:
        source = read_source(path if isinstance(path, str) else "")
        return frozenset(read_signature(parse_python(source.files[0][1], source.path), source.path).parameters)
    except (ConfigError, OSError, ValueError):
        return frozenset()
