"""Resolves `${name}` references between a config's values."""

from __future__ import annotations

import re
from collections.abc import Mapping

from runner.config.origins import Key, Origins, Values

_REFERENCE = re.compile(r"\$\{([A-Za-z_]\w*(?:\.\w+)*)\}", re.ASCII)
_WORDS = {None: "null", True: "true", False: "false"}
MAX_TEXT = 10_000  # characters; references to references could otherwise grow without bound
MAX_DEPTH = 50  # references to references


def resolve(values: Values, origins: Origins) -> tuple[Values, list[str]]:
    """Replaces every reference.

    Args:
        values: the config as plain values.
        origins: where they came from, for errors.

    Returns:
        A copy without references, None in place of those that are wrong; and a sentence for every reference that is
        not plain, or leads to nothing, to a section, or back to itself.
    """
    known: dict[Key, object] = {}
    problems: dict[str, None] = {}

    def tree(key: Key, node: object) -> object:
        if isinstance(node, dict):
            return {name: tree((*key, name), item) for name, item in node.items()}
        if isinstance(node, list):
            return [tree((*key, str(index)), item) for index, item in enumerate(node)]
        try:
            return text(key, node, ())
        except ValueError as err:
            problems[f"{origins.place(*key)}: {err}"] = None
            return None

    def text(key: Key, value: object, above: tuple[Key, ...]) -> object:
        if not isinstance(value, str) or "${" not in value:
            return value
        if key in known:
            return known[key]
        if "${" in _REFERENCE.sub("", value):
            what = "only plain references such as ${name} or ${train.epochs} are allowed"
            raise ValueError(f"{what}; got {value[:80]!r}")

        def follow(match: re.Match[str]) -> object:
            path = tuple(match[1].split("."))
            if path in (*above, key) or len(above) > MAX_DEPTH:
                raise ValueError(f"{match[0]} leads back to itself")
            return text(path, _target(values, path), (*above, key))

        whole = _REFERENCE.fullmatch(value)
        found = follow(whole) if whole else _REFERENCE.sub(lambda match: _as_text(follow(match)), value)
        if isinstance(found, str) and ("${" in found or len(found) > MAX_TEXT):
            raise ValueError("cannot be resolved to plain text")
        known[key] = found
        return found

    return {name: tree((name,), item) for name, item in values.items()}, list(problems)


def _target(values: Values, path: Key) -> object:
    node: object = values
    for part in path:
        if not isinstance(node, Mapping) or part not in node:
            raise ValueError(f"${{{'.'.join(path)}}} refers to a key that does not exist")
        node = node[part]
    if isinstance(node, dict | list):
        raise ValueError(f"${{{'.'.join(path)}}} refers to a section; refer to one of its values")
    return node


def _as_text(value: object) -> str:
    return _WORDS[value] if value is None or isinstance(value, bool) else str(value)
