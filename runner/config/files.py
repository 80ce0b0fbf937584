"""The config folder: reads its YAML files and composes those that defaults lists and the command line choose."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from runner.config.origins import Key, Values, is_value, merged
from runner.config.yaml_nodes import MAX_FILE, kind, parse, plain
from runner.errors import ConfigError, did_you_mean
from runner.experiment.annotations import as_python

GLOBAL = "# @package _global_"
_PACKAGE = re.compile(r"#\s*@package\s+(\S+)")
Choice = tuple[object, str]  # the option of a group, None for none; and who chooses it, for errors
_NAME = re.compile(r"[\w./-]+")


@dataclass(frozen=True, kw_only=True, slots=True)
class Folder:
    """A config folder: its absolute path, and its primary config's name without `.yaml`."""

    path: Path
    name: str

    def shown(self, config: str) -> str:
        """How errors name one of its files."""
        return shown_path(self.path / f"{config}.yaml")

    def missing(self, group: str, option: str) -> str:
        """The end of an error about a config that does not exist: what is probably meant, and what there is."""
        available = sorted(file.stem for file in (self.path / group).glob("*.yaml"))
        return f"{did_you_mean(option, available) or ';'} available: {', '.join(available) or 'none'}"


def open_folder(config_dir: Path | None, config_name: str) -> Folder | None:
    """Finds the config folder: `config_dir`, else `conf` here; None if none is given and `conf` has no config.

    `conf` needs no primary config if it has configs of experiments.

    Raises:
        ConfigError: there is no such folder, or it has no primary config of that name.
    """
    name = config_name.removesuffix(".yaml")
    folder = Folder(path=(config_dir or Path("conf")).absolute(), name=name)
    if "\0" in f"{folder.path}{name}" or name != name.strip("/") or ".." in name.split("/") or not name:
        raise ConfigError(f"command line: --config-name: must be the name of a file in the config folder; got {name!r}")
    if (folder.path / f"{name}.yaml").is_file():
        return folder
    if config_dir is None and name == "config":
        return folder if any(folder.path.glob("experiment/*.yaml")) else None
    shown = shown_path(folder.path)
    if not folder.path.is_dir():
        raise ConfigError(f"command line: --config-dir: {shown} is not a folder")
    raise ConfigError(f"command line: --config-name: no {name}.yaml in {shown}{folder.missing('', name)}")


def shown_path(path: Path) -> str:
    """A path relative to the current folder if it lies within it."""
    relative = os.path.relpath(path)
    return str(path) if relative.startswith("..") else relative


def compose_folder(folder: Folder, choices: Mapping[str, Choice]) -> tuple[Values, dict[Key, str]]:
    """Composes the primary config with the configs that its defaults list and the command line choose.

    Args:
        folder: where the files are.
        choices: the command line's choice for config groups.

    Returns:
        The values, references not yet resolved, and file and line of each key.

    Raises:
        ConfigError: naming file and line.
    """
    composition = _Composition(folder=folder, choices=choices)
    if (folder.path / f"{folder.name}.yaml").is_file():
        composition.add(folder.name, (), folder.shown(folder.name))
    for group in [group for group in choices if group not in composition.chosen]:
        composition.choose("", {group: None}, (), "")
    if composition.problems:
        raise ConfigError(composition.problems)
    return composition.values, composition.places


def _read(path: Path, shown: str) -> tuple[str, yaml.MappingNode | None]:
    """Reads one file: its text and its top mapping; None for an empty file."""
    try:
        text = path.read_bytes().decode("utf-8")
    except OSError as err:
        raise ConfigError(f"{shown}: cannot be read: {err.strerror}") from err
    except UnicodeDecodeError as err:
        line = err.object.count(b"\n", 0, err.start) + 1
        raise ConfigError(f"{shown}:{line}: not UTF-8 text") from err
    root, problems = parse(text, MAX_FILE)
    if problems:
        raise ConfigError([f"{shown}:{line}: {what}" for line, what in problems])
    if root is None or plain(root) is None:
        return text, None
    if not isinstance(root, yaml.MappingNode):
        raise ConfigError(f"{shown}:1: a config is a list of `key: value` lines; got {kind(root)}")
    return text, root


def _located(node: yaml.Node, key: Key, shown: str, places: dict[Key, str]) -> object:
    """The value of a node at `key`, with names of parameters as Python reads them; `places` gets the lines."""
    if isinstance(node, yaml.ScalarNode):
        return plain(node)
    pairs = [(str(index), item, item) for index, item in enumerate(node.value)]
    if isinstance(node, yaml.MappingNode):
        pairs = [(name.value if is_value(key) else as_python(name.value), name, item) for name, item in node.value]
    values = {}
    for name, written, item in pairs:
        places[(*key, name)] = f"{shown}:{written.start_mark.line + 1}"
        values[name] = _located(item, (*key, name), shown, places)
    return values if isinstance(node, yaml.MappingNode) else list(values.values())


@dataclass(kw_only=True, slots=True)
class _Composition:
    """Files merged so far; later ones win."""

    folder: Folder
    choices: Mapping[str, Choice]
    values: Values = field(default_factory=dict)
    places: dict[Key, str] = field(default_factory=dict)
    chosen: set[str] = field(default_factory=set)
    named: set[str] = field(default_factory=set)
    problems: list[str] = field(default_factory=list)

    def add(self, config: str, package: Key, place: str) -> None:
        """Adds a file and, around it, those that its defaults list names.

        Args:
            config: the file's path in the folder, without `.yaml`.
            package: where its content goes, unless a comment of its own (`# @package NAME`) says that.
            place: what names the file, for errors.
        """
        shown = self.folder.shown(config)
        if config in self.named:
            self.problems.append(f"{place}: {config}.yaml is named twice, or leads back to itself")
            return
        self.named.add(config)
        try:
            text, root = _read(self.folder.path / f"{config}.yaml", shown)
        except ConfigError as err:
            self.problems.extend(err.problems)
            return
        if config.startswith("experiment/") and GLOBAL not in text:
            self.problems.append(f"{shown}:1: an experiment's config begins with the line `{GLOBAL}`")
        if header := _PACKAGE.match(text):
            package = () if header[1] == "_global_" else tuple(header[1].split("."))
        places: dict[Key, str] = {}
        found = _located(root, package, shown, places) if root else {}
        values: Values = found if isinstance(found, dict) else {}
        defaults = values.pop("defaults", None) or []
        if not isinstance(defaults, list):
            line = places[(*package, "defaults")]
            self.problems.append(f"{line}: defaults: must be a list, such as [_self_, experiment: digits]")
            return
        for part in reversed(package):
            values = {part: values}
        for index, item in enumerate(defaults if "_self_" in defaults else [*defaults, "_self_"]):
            if item == "_self_":
                self.places |= places
                self.values = merged(self.values, values)
            else:
                self.choose(os.path.dirname(config), item, package, places[(*package, "defaults", str(index))])

    def choose(self, base: str, item: object, package: Key, place: str) -> None:
        """Adds what an item of a defaults list names; `base` and `package` are those of the file that has the list."""
        if isinstance(item, str):
            item = {os.path.dirname(item): os.path.basename(item)}
        group, chosen = next(iter(item.items())) if isinstance(item, dict) and len(item) == 1 else ("@", item)
        path = group.removeprefix("optional ")
        name = os.path.normpath(os.path.join(base, path)).lstrip("/")
        self.chosen.add(name)
        inner = (*(() if path.startswith("/") else package), *re.findall(r"[\w-][\w.-]*", path))
        chosen, place = self.choices.get(name, (chosen, f"{place}: defaults"))
        for option in chosen if isinstance(chosen, list) else [chosen]:
            config = os.path.normpath(f"{name}/{option}".removesuffix(".yaml")).lstrip("/")
            is_name = _NAME.fullmatch(f"{path}.{option}") and option != "" and ".." not in str(option).split("/")
            if option is None and _NAME.fullmatch(path):
                continue
            if not is_name or str(option).startswith("/") or config.startswith(".."):
                self.problems.append(
                    f"{place}: must be one name in the config folder; got {option!r}; a defaults list has names, "
                    "_self_ and `group: name`; the first line `# @package NAME` of a file names its package"
                )
            elif (self.folder.path / f"{config}.yaml").is_file():
                self.add(config, inner, place)
            elif path == group:
                hint = self.folder.missing(*os.path.split(config))
                self.problems.append(f"{place}: no {self.folder.shown(config)}{hint}")
