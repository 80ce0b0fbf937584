"""Composes the config folder's YAML files with Hydra, after reading each of them strictly."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from runner.config.origins import Layer
from runner.config.yaml_files import read_yaml
from runner.errors import ConfigError, did_you_mean

_GLOBAL = "# @package _global_"
_OPTION = re.compile(r"[\w./-]+")


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
        """True where the folder has configs to choose from under this name."""
        return (self.path / group).is_dir()

    def options(self, group: str) -> list[str]:
        """The configs of a group."""
        return sorted(file.stem for file in (self.path / group).glob("*.yaml"))


def shown_path(path: Path) -> str:
    """A path relative to the current folder where it lies within it."""
    relative = os.path.relpath(path)
    return str(path) if relative.startswith("..") else relative


def compose_folder(folder: Folder, choices: Mapping[str, str | None]) -> tuple[dict[str, Any], tuple[Layer, ...]]:
    """Composes the primary config and its defaults list.

    Args:
        folder: where the files are.
        choices: the command line's choice for config groups; None leaves a group out.

    Returns:
        The values, references not yet resolved, and the files they came from in the order they were merged.

    Raises:
        ConfigError: naming file and line.
    """
    reading = _Reading(folder=folder, choices=choices)
    reading.follow(folder.name)
    if reading.problems:
        raise ConfigError(reading.problems)
    overrides = []
    for group, option in choices.items():
        if option is not None:
            overrides.append(f"{group}={option}" if group in reading.groups else f"+{group}={option}")
        elif group in reading.groups:
            overrides.append(f"~{group}")
    values, paths = _hydra(folder, overrides)
    layers = []
    for config, package in paths:
        if config not in reading.roots:
            reading.follow(config)
        layers.append(Layer(path=folder.shown(config), package=package, root=reading.roots.get(config)))
    if reading.problems:
        raise ConfigError(reading.problems)
    return values, tuple(layers)


def check_option(folder: Folder, group: str, option: Any) -> str | None:
    """What is wrong with a choice for a group; None where nothing is."""
    available = ", ".join(folder.options(group)) or "none"
    if not isinstance(option, str) or not _OPTION.fullmatch(option) or _leaves(option):
        return f"must be one name; got {option!r}; available: {available}"
    if (folder.path / group / f"{option}.yaml").is_file():
        return None
    hint = did_you_mean(option, folder.options(group))
    return f"no such config in {shown_path(folder.path / group)}{hint or ';'} available: {available}"


def _leaves(path: str) -> bool:
    return path.startswith("/") or ".." in path.split("/")


@dataclass(kw_only=True, slots=True)
class _Reading:
    """Follows the defaults lists as Hydra will, reading each file strictly."""

    folder: Folder
    choices: Mapping[str, str | None]
    roots: dict[str, yaml.MappingNode | None] = field(default_factory=dict)
    groups: set[str] = field(default_factory=set)
    problems: list[str] = field(default_factory=list)

    def follow(self, config: str) -> None:
        if config in self.roots:
            return
        shown = self.folder.shown(config)
        self.roots[config] = None
        try:
            root = self.roots[config] = read_yaml(self.folder.path / f"{config}.yaml", shown)
        except ConfigError as err:
            self.problems.extend(err.problems)
            return
        if config.startswith("experiment/") and _GLOBAL not in (self.folder.path / f"{config}.yaml").read_text("utf-8"):
            self.problems.append(f"{shown}:1: an experiment's config begins with the line `{_GLOBAL}`")
        for key, value in root.value if root is not None else ():
            line = f"{shown}:{key.start_mark.line + 1}"
            if key.value == "hydra":
                self.problems.append(f"{line}: hydra: Hydra's own settings are not used here; remove them")
            if key.value == "defaults":
                for group, option, mark, optional in self._defaults(value, line):
                    self._default(config, group, option, f"{shown}:{mark.line + 1}", optional)

    def _defaults(self, node: yaml.Node, line: str) -> Iterator[tuple[str | None, str, yaml.Mark, bool]]:
        if not isinstance(node, yaml.SequenceNode):
            self.problems.append(f"{line}: defaults: must be a list, such as [_self_, experiment: digits]")
            return
        for item in node.value:
            if isinstance(item, yaml.ScalarNode):
                if item.value != "_self_":
                    yield None, item.value, item.start_mark, False
            elif isinstance(item, yaml.MappingNode) and len(item.value) == 1:
                key, value = item.value[0]
                optional = key.value.startswith("optional ")
                group = key.value.removeprefix("optional ").removeprefix("override ").split("@")[0]
                for option in value.value if isinstance(value, yaml.SequenceNode) else [value]:
                    if isinstance(option, yaml.ScalarNode) and not option.tag.endswith(":null"):
                        yield group, option.value, key.start_mark, optional
                    else:
                        self.groups.add(group)
            else:
                self.problems.append(f"{shown_mark(item.start_mark, line)}: defaults: not a name or `group: name`")

    def _default(self, config: str, group: str | None, option: str, line: str, optional: bool) -> None:
        if "${" in option:
            return
        if (group or option).lstrip("/").split("/")[0] == "hydra":
            self.problems.append(f"{line}: defaults: Hydra's own settings are not used here; remove them")
            return
        path = os.path.join(group or "", option.split("@")[0].removesuffix(".yaml"))
        base = "" if path.startswith("/") else os.path.dirname(config)
        path = os.path.normpath(os.path.join(base, path.lstrip("/")))
        if group is not None:
            name = os.path.normpath(os.path.join(base, group.lstrip("/")))
            self.groups.add(name)
            if name in self.choices:
                option = self.choices[name] or ""
                path = f"{name}/{option}"
            if not option:
                return
        if path.startswith(".."):
            self.problems.append(f"{line}: defaults: {option}: lies outside the config folder")
        elif (self.folder.path / f"{path}.yaml").is_file():
            self.follow(path)
        elif not optional:
            folder = os.path.dirname(path)
            available = self.folder.options(folder)
            hint = did_you_mean(os.path.basename(path), available) or ";"
            self.problems.append(f"{line}: defaults: no {path}.yaml{hint} available: {', '.join(available) or 'none'}")


def shown_mark(mark: yaml.Mark, line: str) -> str:
    """The place of a node, in the file that `line` names."""
    return f"{line.rsplit(':', 1)[0]}:{mark.line + 1}"


def _hydra(folder: Folder, overrides: list[str]) -> tuple[dict[str, Any], list[tuple[str, tuple[str, ...]]]]:
    try:
        if GlobalHydra.instance().is_initialized():
            GlobalHydra.instance().clear()
        with initialize_config_dir(config_dir=str(folder.path), version_base="1.3"):
            composed = compose(config_name=folder.name, overrides=overrides)
            loader = GlobalHydra.instance().config_loader()
            defaults = loader.compute_defaults_list(folder.name, overrides, RunMode.RUN).defaults
        values = OmegaConf.to_container(composed, resolve=False)
    except (HydraException, OmegaConfBaseException, yaml.YAMLError, ValueError, TypeError, AssertionError) as err:
        raise ConfigError(f"{folder.shown(folder.name)}: cannot be composed: {_one_line(err)}") from err
    except (RecursionError, AttributeError, KeyError) as err:
        raise ConfigError(f"{folder.shown(folder.name)}: cannot be composed; check its defaults list") from err
    paths = [
        (default.config_path, tuple(part for part in (default.package or "").split(".") if part))
        for default in defaults
        if default.config_path and not default.config_path.startswith("hydra/")
    ]
    return (values if isinstance(values, dict) else {}), paths


def _one_line(err: Exception) -> str:
    kept = []
    for line in str(err).splitlines():
        if line.startswith(("Config search path", "To append", "Set the environment variable")):
            break
        kept.append(line.strip())
    return " ".join(part for part in kept if part)[:400] or type(err).__name__
