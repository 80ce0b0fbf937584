"""Puts the command line's settings into a composed config: the command line always has the last word."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from runner.config.origins import Key
from runner.config.overrides import SEARCHABLE, SEARCHED_TRAIN, Setting

Values = dict[str, Any]


def apply_settings(values: Values, settings: Sequence[Setting]) -> tuple[dict[Key, str], list[str]]:
    """Changes `values` in place.

    A fixed value removes a search of the same name and a search removes a fixed value, so that each name has one
    place. A setting at the top also removes what members have of that name: it would otherwise not reach them.

    Returns:
        Each key that was set with the key as written on the command line, and a sentence for every setting that
        does not fit.
    """
    touched: dict[Key, str] = {}
    problems: list[str] = []
    # Settings of one member come last: they are more specific than those for all.
    for setting in sorted(settings, key=lambda item: item.keys[0] == "members"):
        try:
            {"set": _set, "search": _search, "delete": _delete}[setting.kind](values, setting, touched)
        except ValueError as err:
            problems.append(f"command line: {'.'.join(setting.keys)}: {err}")
    return touched, problems


def _set(values: Values, setting: Setting, touched: dict[Key, str]) -> None:
    for leaf, value in _leaves(setting.keys, setting.value):
        key = _space_key(leaf)
        _forget(values, key)
        parent = _section(values, key[:-1])
        parent[key[-1]] = value
        touched[key] = ".".join(key)


def _search(values: Values, setting: Setting, touched: dict[Key, str]) -> None:
    scope, key = _scope(setting.keys)
    if key[:2] == ("search", "space") and len(key) > 2:
        name = ".".join(key[2:])
    elif (len(key) == 2 and key[0] == "params") or (key == ("seed",) and not scope):
        name = f"params.{key[1]}" if key == ("params", "seed") else key[-1]
    elif key[:1] == ("train",) and key[1:] in {(field,) for field in SEARCHED_TRAIN}:
        name = ".".join(key)
    else:
        raise ValueError(f"cannot be searched; only {SEARCHABLE} can; a list as one value is written [a,b]")
    spellings = _spellings(name)
    space = _section(values, (*scope, "search", "space"))
    written = next((spelling for spelling in spellings if spelling in space), name)
    _forget(values, (*scope, *_key_of(name)), but=space)
    space[written] = setting.value
    touched[(*scope, "search", "space", written)] = ".".join(setting.keys)


def _delete(values: Values, setting: Setting, touched: dict[Key, str]) -> None:
    parent = _find(values, setting.keys[:-1])
    if parent is None or setting.keys[-1] not in parent:
        raise ValueError("cannot be removed: the config does not have it")
    del parent[setting.keys[-1]]


def _forget(values: Values, key: Key, but: Values | None = None) -> None:
    """Removes every other place that speaks of the same name: fixed, searched, in points, and in members."""
    scope, inner = _scope(key)
    scopes: list[Key] = [scope]
    if not scope and isinstance(values.get("members"), dict):
        scopes += [("members", name) for name in values["members"]]
    for place in scopes:
        # The setting's own section keeps its order and the key's place in it.
        if place != scope or but is not None:
            parent = _find(values, (*place, *inner[:-1]))
            if parent is not None:
                parent.pop(inner[-1], None)
        name = _searched_name(inner)
        if name is None:
            continue
        space = _find(values, (*place, "search", "space"))
        if space is not None and space is not but:
            for spelling in _spellings(name):
                space.pop(spelling, None)
        if but is None:
            _forget_points(_find(values, (*place, "search")), name)


def _forget_points(search: Values | None, name: str) -> None:
    points = search.get("points") if search is not None else None
    if not isinstance(points, list) or not all(isinstance(point, dict) for point in points):
        return
    kept: list[Any] = []
    for point in points:
        rest = {key: value for key, value in point.items() if key not in _spellings(name)}
        if rest not in kept:
            kept.append(rest)
    assert search is not None
    search["points"] = kept if kept != [{}] else []


def _searched_name(key: Key) -> str | None:
    """The name that `search.space` would have for a key; None where it cannot be searched."""
    if len(key) > 1 and key[0] == "params":
        return "params.seed" if key[1] == "seed" else key[1]
    if key == ("seed",) or (len(key) == 2 and key[0] == "train" and key[1] in SEARCHED_TRAIN):
        return ".".join(key)
    return None


def _key_of(name: str) -> Key:
    if name == "seed":
        return ("seed",)
    return tuple(name.split(".")) if name.startswith(("train.", "params.")) else ("params", name)


def _spellings(name: str) -> tuple[str, ...]:
    """Equal names in a space: `units` is `params.units`, while `seed` and `params.seed` are two things."""
    if name == "seed" or name.startswith("train."):
        return (name,)
    bare = name.removeprefix("params.")
    return (f"params.{bare}",) if bare == "seed" else (bare, f"params.{bare}")


def _scope(key: Key) -> tuple[Key, Key]:
    """Splits `members.NAME` off."""
    return (key[:2], key[2:]) if key[0] == "members" and len(key) > 2 else ((), key)


def _space_key(key: Key) -> Key:
    """In a space a dotted name is one key."""
    scope, inner = _scope(key)
    return (*scope, "search", "space", ".".join(inner[2:])) if inner[:2] == ("search", "space") and inner[2:] else key


def _leaves(key: Key, value: Any) -> Iterator[tuple[Key, Any]]:
    # Below a parameter or a space a mapping is a value, not a section.
    inner = _scope(key)[1]
    is_value = inner[0] == "params" and len(inner) > 1
    if not isinstance(value, dict) or not value or is_value:
        yield key, value
        return
    for name, item in value.items():
        yield from _leaves((*key, name), item)


def _find(values: Values, key: Key) -> Values | None:
    node: Any = values
    for part in key:
        node = node.get(part) if isinstance(node, dict) else None
    return node if isinstance(node, dict) else None


def _section(values: Values, key: Key) -> Values:
    node = values
    for length, part in enumerate(key, start=1):
        if node.get(part) is None:
            node[part] = {}
        node = node[part]
        if not isinstance(node, dict):
            raise ValueError(f"{'.'.join(key[:length])} is not a section; got {node!r}")
    return node
