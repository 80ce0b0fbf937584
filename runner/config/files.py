"""The config folder: reads its YAML files and composes those that defaults lists and choices name."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from runner.config.origins import Key, Layer, Values, merged, with_python_names
from runner.config.yaml_nodes import MAX_LENGTH, FileLoader, kind, parse, plain
from runner.errors import ConfigError, did_you_mean

GLOBAL = "# @package _global_"
_PACKAGE = re.compile(r"(?:#.*\n|\s*\n)*?#\s*@package\s+(\S+)")
_PATH = re.compile(r"[\w./-]+")


@dataclass(frozen=True, kw_only=True, slots=True)
class Folder:
    """A config folder.

    Args:
        path: absolute path.
        name: the primary config's name, without `.yaml`.
    """

    path: Path
    name: str

    def shown(self, config: str) -> str:
        """How errors name one of its files."""
        return shown_path(self.path / f"{config}.yaml")

    def has_group(self, group: str) -> bool:
        """Whether the folder has configs to choose from under this name."""
        return (self.path / group).is_dir()

    def missing(self, group: str, option: str) -> str:
        """The end of an error about a config that does not exist: what is probably meant, and what there is."""
        available = sorted(file.stem for file in (self.path / group).glob("*.yaml"))
        return f"{did_you_mean(option, available) or ';'} available: {', '.join(available) or 'none'}"

    def option_problem(self, group: str, option: object) -> str | None:
        """What is wrong with a choice for a group; None if nothing is."""
        if not isinstance(option, str) or not _PATH.fullmatch(option) or option[0] == "/" or ".." in option.split("/"):
            return f"must be one name; got {option!r}{self.missing(group, str(option))}"
        if (self.path / group / f"{option}.yaml").is_file():
            return None
        return f"no such config in {shown_path(self.path / group)}{self.missing(group, option)}"


def open_folder(config_dir: Path | None, config_name: str) -> Folder | None:
    """Finds the config folder: `config_dir`, else `conf` here; None if nobody asks for one and `conf` has no config.

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
        return None
    if not folder.path.is_dir():
        raise ConfigError(f"command line: --config-dir: {shown_path(folder.path)} is not a folder")
    hint = folder.missing("", name)
    raise ConfigError(f"command line: --config-name: no {name}.yaml in {shown_path(folder.path)}{hint}")


def shown_path(path: Path) -> str:
    """A path relative to the current folder if it lies within it."""
    relative = os.path.relpath(path)
    return str(path) if relative.startswith("..") else relative


def compose_folder(folder: Folder, choices: Mapping[str, str | None]) -> tuple[Values, tuple[Layer, ...]]:
    """Composes the primary config with the configs that its defaults list and the command line choose.

    Args:
        folder: where the files are.
        choices: the command line's choice for config groups; None leaves a group out.

    Returns:
        The values, references not yet resolved, and the files they came from in the order they were merged.

    Raises:
        ConfigError: naming file and line.
    """
    composition = _Composition(folder=folder, choices=choices)
    composition.add(folder.name, (), folder.shown(folder.name))
    for group in [group for group in choices if group not in composition.chosen]:
        composition.choose(group, choices[group], tuple(group.split("/")), "command line")
    if composition.problems:
        raise ConfigError(composition.problems)
    return with_python_names(composition.values), tuple(composition.layers)


def read_file(path: Path, shown: str) -> tuple[str, yaml.MappingNode | None, Values]:
    """Reads one file.

    Args:
        path: the file.
        shown: how errors name it.

    Returns:
        Its text, its top mapping (None for an empty file), and the values.

    Raises:
        ConfigError: naming file and line of everything that is wrong.
    """
    try:
        content = path.read_bytes()
        if len(content) > MAX_LENGTH:
            raise ConfigError(f"{shown}: {len(content)} bytes; a config has at most {MAX_LENGTH}")
        text = content.decode("utf-8")
        root, problems = parse(text, FileLoader)
        values = plain(root, FileLoader) if root is not None and not problems else None
    except OSError as err:
        raise ConfigError(f"{shown}: cannot be read: {err.strerror}") from err
    except UnicodeDecodeError as err:
        line = content.count(b"\n", 0, err.start) + 1
        raise ConfigError(f"{shown}:{line}: not UTF-8 text") from err
    except yaml.MarkedYAMLError as err:
        mark = err.problem_mark or err.context_mark
        what = "a tab character; indent with spaces" if "'\\t'" in str(err.problem) else err.problem or err.context
        raise ConfigError(f"{shown}:{mark.line + 1 if mark else 1}: not valid YAML: {what}") from err
    except yaml.YAMLError as err:
        raise ConfigError(f"{shown}: not valid YAML: {' '.join(str(err).split())}") from err
    if problems:
        raise ConfigError([f"{shown}:{line}: {what}" for line, what in problems])
    if values is None:
        return text, None, {}
    if not isinstance(root, yaml.MappingNode) or not isinstance(values, dict):
        raise ConfigError(f"{shown}:1: a config is a list of `key: value` lines; got {kind(root) if root else values}")
    return text, root, values


@dataclass(kw_only=True, slots=True)
class _Composition:
    """Files merged so far; later ones win."""

    folder: Folder
    choices: Mapping[str, str | None]
    values: Values = field(default_factory=dict)
    layers: list[Layer] = field(default_factory=list)
    chosen: set[str] = field(default_factory=set)
    named: set[str] = field(default_factory=set)
    problems: list[str] = field(default_factory=list)

    def add(self, config: str, package: Key, place: str) -> None:
        """Adds a file and, before it or at `_self_`, those that its defaults list names.

        Args:
            config: the file's path in the folder, without `.yaml`.
            package: where its content goes, if its first line names no other package.
            place: what names the file, for errors.
        """
        if config in self.named:
            self.problems.append(f"{place}: defaults: {config}.yaml is named twice, or leads back to itself")
            return
        self.named.add(config)
        shown = self.folder.shown(config)
        try:
            text, root, values = read_file(self.folder.path / f"{config}.yaml", shown)
        except ConfigError as err:
            self.problems.extend(err.problems)
            return
        if config.startswith("experiment/") and GLOBAL not in text:
            self.problems.append(f"{shown}:1: an experiment's config begins with the line `{GLOBAL}`")
        if (header := _PACKAGE.match(text)) is not None and header[1] != "_group_":
            package = () if header[1] == "_global_" else tuple(header[1].split("."))
        values.pop("defaults", None)
        layer = Layer(path=shown, package=package, root=root)
        node = next((value for key, value in root.value if key.value == "defaults"), None) if root else None
        if node is not None and not isinstance(node, yaml.SequenceNode):
            line = node.start_mark.line + 1
            self.problems.append(f"{shown}:{line}: defaults: must be a list, such as [_self_, experiment: digits]")
        entries = node.value if isinstance(node, yaml.SequenceNode) else []
        is_merged = False
        for entry in entries:
            if (default := plain(entry, FileLoader)) == "_self_":
                self._merge(layer, values)
                is_merged = True
            else:
                line = f"{shown}:{entry.start_mark.line + 1}"
                self._follow(default, os.path.dirname(config), package, line)
        if not is_merged:
            self._merge(layer, values)

    def choose(self, group: str, option: object, package: Key, place: str, optional: bool = False) -> None:
        """Adds a config of a group; None for none."""
        if option is None:
            return
        path = os.path.normpath(f"{group}/{option}".lstrip("/").removesuffix(".yaml"))
        if path.startswith(".."):
            self.problems.append(f"{place}: defaults: {option}: lies outside the config folder")
        elif (self.folder.path / f"{path}.yaml").is_file():
            self.add(path, package, place)
        elif not optional:
            hint = self.folder.missing(os.path.dirname(path), os.path.basename(path))
            self.problems.append(f"{place}: defaults: no {path}.yaml{hint}")

    def _follow(self, entry: object, base: str, package: Key, place: str) -> None:
        """Follows an item of a defaults list; `base` is the folder of the file that has it."""
        if isinstance(entry, str):
            entry = {os.path.dirname(entry): os.path.basename(entry)}
        group, chosen = next(iter(entry.items())) if isinstance(entry, dict) and len(entry) == 1 else (None, None)
        path = str(group).removeprefix("optional ")
        options = chosen if isinstance(chosen, list) else [chosen]
        if group is None or not all(_PATH.fullmatch(f"{path}/{option}") for option in options):
            self.problems.append(
                f"{place}: defaults: must be _self_, a name, or `group: name`; got {entry!r}; a file's first line "
                "names its package (# @package NAME), and the primary config or the command line chooses for all files"
            )
            return
        below = "" if path.startswith("/") else base
        name = os.path.normpath(os.path.join(below, path.strip("/")))
        self.chosen.add(name)
        parts = [part for part in path.split("/") if part not in ("", ".", "..")]
        for option in [self.choices[name]] if name in self.choices else options:
            inner = (*(package if below == base else ()), *parts)
            self.choose(name, option, inner, place, optional=path != group)

    def _merge(self, layer: Layer, values: Values) -> None:
        self.layers.append(layer)
        for part in reversed(layer.package):
            values = {part: values}
        self.values = merged(self.values, values)
