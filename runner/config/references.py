"""Resolves `${name}` references between a config's values."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from runner.config.origins import Key, Origins
from runner.errors import ConfigError

_REFERENCE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_.]*)\}")
MAX_TEXT = 10_000  # characters; references to references could otherwise grow without bound


class References:
    """Resolves each value once.

    Args:
        values: the config as plain values.
        origins: where they came from, for errors.
    """

    def __init__(self, values: Mapping[str, Any], origins: Origins) -> None:
        self._values = values
        self._origins = origins
        self._known: dict[Key, Any] = {}
        self._open: list[Key] = []
        self._problems: dict[str, None] = {}

    def resolved(self) -> dict[str, Any]:
        """All values, with no reference left.

        Raises:
            ConfigError: listing every reference that leads nowhere, to a section, or back to itself.
        """
        result = self._tree((), self._values)
        if self._problems:
            raise ConfigError(tuple(self._problems))
        assert isinstance(result, dict)
        return result

    def value(self, *key: str) -> Any:
        """One value resolved; None where it is missing or wrong (`resolved` then says what is)."""
        node = self._node(key)
        return self._text(key, node) if isinstance(node, str) else node

    def _tree(self, key: Key, node: Any) -> Any:
        if isinstance(node, Mapping):
            return {name: self._tree((*key, str(name)), item) for name, item in node.items()}
        if isinstance(node, list):
            return [self._tree((*key, str(index)), item) for index, item in enumerate(node)]
        return self._text(key, node) if isinstance(node, str) else node

    def _text(self, key: Key, text: str) -> Any:
        if "${" not in text:
            return text
        if key not in self._known:
            self._open.append(key)
            whole = _REFERENCE.fullmatch(text)
            if whole:
                value = self._follow(key, whole[1])
            else:
                value = _REFERENCE.sub(lambda match: _as_text(self._follow(key, match[1])), text)
            if isinstance(value, str) and ("${" in value or len(value) > MAX_TEXT):
                self._problem(key, "cannot be resolved to plain text")
                value = None
            self._open.pop()
            self._known[key] = value
        return self._known[key]

    def _follow(self, key: Key, name: str) -> Any:
        target = tuple(name.split("."))
        node = self._node(target)
        if target in self._open or len(self._open) > 50:
            self._problem(key, f"${{{name}}} leads back to itself")
            return None
        if node is None and not self._exists(target):
            self._problem(key, f"${{{name}}} refers to a key that does not exist")
            return None
        if isinstance(node, Mapping | list):
            self._problem(key, f"${{{name}}} refers to a section; refer to one of its values")
            return None
        return self._text(target, node) if isinstance(node, str) else node

    def _problem(self, key: Key, what: str) -> None:
        self._problems[f"{self._origins.place(*key)}: {what}"] = None

    def _exists(self, key: Key) -> bool:
        parent = self._node(key[:-1])
        return isinstance(parent, Mapping) and key[-1] in parent

    def _node(self, key: Key) -> Any:
        node: Any = self._values
        for part in key:
            node = node.get(part) if isinstance(node, Mapping) else None
        return node


def _as_text(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return str(value)
