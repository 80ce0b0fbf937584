"""Resolves `${name}` references between a config's values."""

from __future__ import annotations

import re

from runner.config.origins import Key, Origins, Values

_REFERENCE = re.compile(r"\$\{([A-Za-z_]\w*(?:\.\w+)*)\}", re.ASCII)
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
    open_keys: list[Key] = []
    problems: dict[str, None] = {}

    def refuse(key: Key, what: str) -> None:
        problems[f"{origins.place(*key)}: {what}"] = None

    def tree(key: Key, node: object) -> object:
        if isinstance(node, dict):
            return {name: tree((*key, name), item) for name, item in node.items()}
        if isinstance(node, list):
            return [tree((*key, str(index)), item) for index, item in enumerate(node)]
        return scalar(key, node)

    def scalar(key: Key, value: object) -> object:
        if not isinstance(value, str) or "${" not in value:
            return value
        if key not in known:
            known[key] = None
            open_keys.append(key)
            if "${" in _REFERENCE.sub("", value):
                what = "only plain references such as ${name} or ${train.epochs} are allowed"
                refuse(key, f"{what}; got {value[:80]!r}")
            elif whole := _REFERENCE.fullmatch(value):
                known[key] = target(key, whole[1])
            else:
                known[key] = _REFERENCE.sub(lambda match: _as_text(target(key, match[1])), value)
            found = known[key]
            if isinstance(found, str) and ("${" in found or len(found) > MAX_TEXT):
                refuse(key, "cannot be resolved to plain text")
                known[key] = None
            open_keys.pop()
        return known[key]

    def target(key: Key, name: str) -> object:
        path: Key = ()
        node: object = values
        for part in name.split("."):
            if not isinstance(node, dict) or part not in node:
                refuse(key, f"${{{name}}} refers to a key that does not exist")
                return None
            path, node = (*path, part), node[part]
        if isinstance(node, dict | list):
            refuse(key, f"${{{name}}} refers to a section; refer to one of its values")
        elif path in open_keys or len(open_keys) > MAX_DEPTH:
            refuse(key, f"${{{name}}} leads back to itself")
        else:
            return scalar(path, node)
        return None

    resolved = tree((), values)
    assert isinstance(resolved, dict)
    return resolved, list(problems)


def _as_text(value: object) -> str:
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return str(value)
