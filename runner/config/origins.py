"""Keys of a config, and where each of its values came from, so that an error can name file and line."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import yaml

from runner.experiment.annotations import as_python

Key = tuple[str, ...]
Values = dict[str, object]


def split_scope(key: Key) -> tuple[Key, Key]:
    """Splits `members.NAME` off a key; the scope of other keys is empty."""
    return (key[:2], key[2:]) if key[:1] == ("members",) and len(key) > 2 else ((), key)


def is_value(key: Key) -> bool:
    """Whether a mapping at this key is one value, such as a parameter's, and no section of the config."""
    inner = split_scope(key)[1]
    sections = {"params": 1, "search.space": 2, "search.points": 3}
    return any(len(inner) > length and ".".join(inner).startswith(f"{name}.") for name, length in sections.items())


def merged(base: Values, over: Values) -> Values:
    """A copy of `base` with the values of `over`; mappings are merged, anything else is replaced."""
    whole = dict(base)
    for name, value in over.items():
        below = base.get(name)
        whole[name] = merged(below if isinstance(below, dict) else {}, value) if isinstance(value, dict) else value
    return whole


def with_python_names(values: Values, key: Key = ()) -> Values:
    """A copy whose parameters are named as Python reads the names; what a mapping holds that is a value stays."""

    def renamed(node: object, key: Key) -> object:
        if isinstance(node, dict):
            return with_python_names(node, key)
        return (
            [renamed(item, (*key, str(index))) for index, item in enumerate(node)] if isinstance(node, list) else node
        )

    if is_value(key):
        return values
    return {as_python(name): renamed(item, (*key, name)) for name, item in values.items()}


@dataclass(frozen=True, kw_only=True, slots=True)
class Layer:
    """One YAML file of a composed config.

    Args:
        path: the file, as errors show it.
        package: where in the config its content goes; empty for the top.
        root: the file's YAML nodes; None for an empty file.
    """

    path: str
    package: Key
    root: yaml.MappingNode | None

    def find(self, key: Key) -> tuple[int, int]:
        """How many leading parts of `key` this file holds, and the line of the last of them; zeros for none."""
        if self.root is None or key[: len(self.package)] != self.package:
            return 0, 0
        node: yaml.Node | None = self.root
        depth, line = len(self.package), 0
        for part in key[depth:]:
            entries: list[tuple[yaml.Node, yaml.Node]] = []
            if isinstance(node, yaml.SequenceNode) and part.isdigit():
                entries = [(item, item) for item in node.value[int(part) :]]
            elif isinstance(node, yaml.MappingNode):
                entries = [entry for entry in node.value if as_python(entry[0].value) == part]
            if not entries:
                break
            depth, line, node = depth + 1, entries[0][0].start_mark.line + 1, entries[0][1]
        return (depth, line) if line else (0, 0)


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
                return f"command line: {shown((self.settings[key[:length]], *key[length:]))}"
        found = [(*layer.find(key), index) for index, layer in enumerate(self.layers)]
        depth, line, index = max(found, key=lambda item: (item[0], item[2]), default=(0, 0, 0))
        path = f"{self.layers[index].path}:{line}" if depth else self.fallback
        return f"{path}: {shown(key)}"


def shown(key: Key) -> str:
    """A key as users write it: `search.points[1].units`."""
    text = ""
    for part in key:
        text += f"[{part}]" if part.isdigit() else f".{part}" if text else part
    return text
