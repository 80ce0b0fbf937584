"""Where each value of a config came from, so that an error can name file and line."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import yaml

from runner.experiment.identifiers import as_python

Key = tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Layer:
    """One YAML file of a composed config.

    Args:
        path: the file, as shown to the user.
        package: where in the config its content goes; empty for the top.
        root: the file's YAML nodes; None for an empty file.
    """

    path: str
    package: Key
    root: yaml.MappingNode | None

    def find(self, key: Key) -> tuple[int, int]:
        """How many leading parts of `key` this file holds, and the line of the last of them."""
        if self.root is None or key[: len(self.package)] != self.package:
            return 0, 0
        node: yaml.Node = self.root
        depth, line = len(self.package), 0
        for part in key[len(self.package) :]:
            entry = _entry(node, part)
            if entry is None:
                break
            depth, line, node = depth + 1, entry[0], entry[1]
        return (depth, line) if line else (0, 0)


def _entry(node: yaml.Node, part: str) -> tuple[int, yaml.Node] | None:
    if isinstance(node, yaml.SequenceNode) and part.isdigit() and int(part) < len(node.value):
        item = node.value[int(part)]
        return item.start_mark.line + 1, item
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            if as_python(key.value) == part:
                return key.start_mark.line + 1, value
    return None


@dataclass(frozen=True, kw_only=True, slots=True)
class Origins:
    """Origin of every key. Any two are equal: where a value came from is no part of what a config says.

    Args:
        layers: the composed files, the last overriding the earlier ones.
        settings: each key set on the command line, with the key as written there.
        fallback: where to point for keys that nobody wrote.
    """

    layers: tuple[Layer, ...] = field(default=(), compare=False)
    settings: Mapping[Key, str] = field(default_factory=dict, compare=False)
    fallback: str = field(default="command line", compare=False)

    def place(self, *key: str) -> str:
        """The beginning of an error about `key`: "conf/a.yaml:12: train.epochs"."""
        for length in range(len(key), 0, -1):
            if key[:length] in self.settings:
                written = self.settings[key[:length]]
                return f"command line: {shown((written, *key[length:]))}"
        best = (0, 0)
        path = self.fallback
        for layer in self.layers:
            found = layer.find(key)
            if found[0] and found[0] >= best[0]:
                best, path = found, f"{layer.path}:{found[1]}"
        return f"{path}: {shown(key)}"


def shown(key: Key) -> str:
    """A key as users write it: `search.points[1].units`."""
    text = ""
    for part in key:
        text += f"[{part}]" if part.isdigit() else f".{part}" if text else part
    return text
