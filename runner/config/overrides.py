"""The command line's `key=value` arguments, and what they change in a composed config."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from runner.config.origins import Key, Values, is_value, split_scope
from runner.config.space import Choice, Uniform, parse_value
from runner.config.yaml_nodes import NO_TARGET
from runner.experiment.annotations import as_python

SEARCHED_TRAIN = ("train.epochs", "train.batch_size", "train.steps_per_epoch")
SEARCHABLE = "params.*, train.batch_size, train.epochs, train.steps_per_epoch and seed"
_SPACE = ("search", "space")
_KEY = re.compile(r"[\w-]+([./][\w-]+)*")


@dataclass(frozen=True, kw_only=True, slots=True)
class Setting:
    """One `key=value` argument.

    Args:
        text: the argument as written.
        keys: the key's parts, such as ("train", "epochs").
        value: the plain value; for a search what `search.space` would hold.
        kind: `set` a fixed value, `search` over values, or `delete` the key.
    """

    text: str
    keys: Key
    value: object
    kind: Literal["set", "search", "delete"]


def parse_settings(arguments: Sequence[str]) -> tuple[list[Setting], list[str]]:
    """Reads all arguments.

    Returns:
        The settings, and a sentence for every argument that cannot be read.
    """
    settings: list[Setting] = []
    problems: list[str] = []
    for text in arguments:
        try:
            settings.append(_setting(text))
        except ValueError as err:
            shown = text if len(text) <= 80 else text[:77] + "..."
            problems.append(f"command line: {shown}: {err}")
    return settings, problems


def apply_settings(values: Values, settings: Sequence[Setting]) -> tuple[dict[Key, str], list[str]]:
    """Changes `values` in place: the command line has the last word.

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
            if setting.kind == "delete":
                _delete(values, setting.keys)
            elif setting.kind == "search":
                touched[_put(values, _search_key(setting.keys), setting.value)] = ".".join(setting.keys)
            else:
                for key, value in _leaves(setting.keys, setting.value):
                    touched[_put(values, key, value)] = ".".join(key)
        except ValueError as err:
            problems.append(f"command line: {'.'.join(setting.keys)}: {err}")
    return touched, problems


def _setting(text: str) -> Setting:
    written, separator, value = text.partition("=")
    deletes = written.startswith("~")
    if not separator and not deletes:
        raise ValueError("not of the form key=value" + ("; an experiment file ends in .py" if text else ""))
    name = written.lstrip("+~")
    # A path may hold characters that the grammar does not know.
    if name == "experiment" and value.strip("'\"").endswith(".py"):
        return Setting(text=text, keys=(name,), value=value.strip("'\""), kind="set")
    if not _KEY.fullmatch(name):
        raise ValueError("not a key; write names with dots between them, such as train.epochs=5")
    keys = tuple(as_python(part) for part in re.split("[./]", name))
    if "_target_" in keys:
        raise ValueError(NO_TARGET)
    parsed = None if deletes else parse_value(value)
    if isinstance(parsed, Choice) and not value.rstrip().endswith(")"):
        return Setting(text=text, keys=keys, value=list(parsed.values), kind="search")
    if isinstance(parsed, Choice | Uniform):
        return Setting(text=text, keys=keys, value=value.strip(), kind="search")
    return Setting(text=text, keys=keys, value=parsed, kind="delete" if deletes else "set")


def _search_key(key: Key) -> Key:
    """Where a search over `key` belongs."""
    scope, inner = split_scope(key)
    name = ".".join(inner)
    if len(inner) == 2 and inner[0] == "params":
        return (*scope, *_SPACE, name if inner[1] == "seed" else inner[1])
    if name in SEARCHED_TRAIN or (name == "seed" and not scope):
        return (*scope, *_SPACE, name)
    if inner[:2] == _SPACE and len(inner) > 2:
        return key
    raise ValueError(f"cannot be searched; only {SEARCHABLE} can; a list as one value is written [a,b]")


def _leaves(key: Key, value: object) -> Iterator[tuple[Key, object]]:
    if not isinstance(value, dict) or not value or is_value(key):
        yield key, value
        return
    for name, item in value.items():
        yield from _leaves((*key, name), item)


def _put(values: Values, key: Key, value: object) -> Key:
    """Sets one value, and removes all others of the same name; returns where it is now."""
    scope, inner = split_scope(_with_dotted_name(key))
    names = _same_name(inner)
    if inner[:2] == _SPACE:  # the key keeps its spelling, and so its place in the order
        space = _find(values, (*scope, *_SPACE)) or {}
        inner = next((place for place in names if place[:2] == _SPACE and place[2] in space), inner)
    key = (*scope, *inner)
    members = values.get("members")
    scopes = [("members", name) for name in members] if not scope and isinstance(members, dict) else []
    for where in (scope, *scopes):
        for place in ((*where, *name) for name in names):
            parent = _find(values, place[:-1]) if key[: len(place)] != place else None
            if parent is not None:
                parent.pop(place[-1], None)
        if inner[:2] != _SPACE:
            _forget_points(_find(values, (*where, "search")), {name[2] for name in names if name[:2] == _SPACE})
    node = values
    for length, part in enumerate(key[:-1], start=1):
        below = {} if node.get(part) is None else node[part]
        if not isinstance(below, dict):
            raise ValueError(f"{'.'.join(key[:length])} is not a section; got {below!r}")
        node[part] = node = below
    node[key[-1]] = value
    return key


def _same_name(inner: Key) -> list[Key]:
    """Every place within a scope that gives a value to the same name: fixed, or searched in any spelling."""
    name = inner[2] if inner[:2] == _SPACE and len(inner) > 2 else ".".join(inner[:2])
    if name == "seed" or name in SEARCHED_TRAIN:
        return [tuple(name.split(".")), (*_SPACE, name)]
    if (inner[0] != "params" and inner[:2] != _SPACE) or len(inner) < 2 or inner == _SPACE:
        return [inner]
    bare = name.removeprefix("params.")
    spellings = [f"params.{bare}"] if bare == "seed" else [bare, f"params.{bare}"]
    return [("params", bare), *((*_SPACE, spelling) for spelling in spellings)]


def _forget_points(search: Values | None, names: set[str]) -> None:
    points = search.get("points") if search is not None else None
    if (
        search is None
        or not names
        or not isinstance(points, list)
        or not all(isinstance(point, dict) for point in points)
    ):
        return
    kept: list[Values] = []
    for point in points:
        rest = {name: value for name, value in point.items() if name not in names}
        if rest not in kept:
            kept.append(rest)
    search["points"] = kept if kept != [{}] else []


def _delete(values: Values, key: Key) -> None:
    key = _with_dotted_name(key)
    parent = _find(values, key[:-1])
    if parent is None or key[-1] not in parent:
        raise ValueError("cannot be removed: the config does not have it")
    del parent[key[-1]]


def _with_dotted_name(key: Key) -> Key:
    """In a space a dotted name is one key."""
    scope, inner = split_scope(key)
    return (*scope, *_SPACE, ".".join(inner[2:])) if inner[:2] == _SPACE and inner[2:] else key


def _find(values: Values, key: Key) -> Values | None:
    node: object = values
    for part in key:
        node = node.get(part) if isinstance(node, dict) else None
    return node if isinstance(node, dict) else None
