"""The command line's `key=value` arguments, and what they change in a composed config."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from runner.config import hints
from runner.config.origins import Key, Values, is_value, split_scope
from runner.config.schema import Config
from runner.config.space import Choice, Dimension, parse_value
from runner.config.yaml_nodes import NO_TARGET
from runner.experiment.annotations import as_python

Kind = Literal["set", "search", "delete"]
SEARCHED_TRAIN = ("train.epochs", "train.batch_size", "train.steps_per_epoch")
SEARCHABLE = "params.*, train.batch_size, train.epochs, train.steps_per_epoch and seed"
_SPACE = ("search", "space")
# Their words need no quotes, although YAML reads them as true and false.
_SWITCHES = (("resources", "mps"), ("resources", "stack"))
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
    kind: Kind


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
            for key, value in _leaves(setting.keys, setting.value) if setting.kind != "delete" else ():
                touched[_put(values, key, value, searches=setting.kind == "search")] = ".".join(key)
        except ValueError as err:
            problems.append(f"command line: {'.'.join(setting.keys)}: {err}")
    return touched, problems


def _setting(text: str) -> Setting:
    written, separator, value = text.partition("=")
    deletes = written.startswith("~")
    name = written.lstrip("+~")
    if not separator and not deletes:
        hint = f"did you mean {text}.py?" if Path(f"{text}.py").is_file() else "an experiment file ends in .py"
        raise ValueError("not of the form key=value" + (f"; {hint}" if text else ""))
    if name == "experiment" and value.strip("'\"").endswith(".py"):  # a path may hold any character
        return Setting(text=text, keys=(name,), value=value.strip("'\""), kind="set")
    if not _KEY.fullmatch(name):
        raise ValueError("not a key; write names with dots between them, such as train.epochs=5")
    scope, inner = split_scope(tuple(as_python(part) for part in re.split("[./]", name)))
    if inner[:2] == _SPACE and len(inner) > 2:  # in a space a dotted name is one key
        inner = (*_SPACE, ".".join(inner[2:]))
    if "_target_" in inner:
        raise ValueError(NO_TARGET)
    if value.endswith(","):
        raise ValueError("ends with a comma; write several values without blanks, as in params.units=16,32")
    is_word = (*scope, *inner) in _SWITCHES and value in ("on", "off")
    parsed = value if is_word else None if deletes else parse_value(value)
    searches = isinstance(parsed, Dimension)
    if isinstance(parsed, Choice) and not value.rstrip().endswith(")"):
        parsed = list(parsed.values)
    kind: Kind = "delete" if deletes else "search" if searches else "set"
    return Setting(
        text=text,
        keys=(*scope, *inner),
        value=value.strip() if isinstance(parsed, Dimension) else parsed,
        kind=kind,
    )


def _leaves(key: Key, value: object) -> Iterator[tuple[Key, object]]:
    if not isinstance(value, dict) or not value or is_value(key):
        yield key, value
        return
    for name, item in value.items():
        yield from _leaves((*key, name), item)


def _put(values: Values, key: Key, value: object, *, searches: bool) -> Key:
    """Sets one value, and removes all others of the same name; returns where it is now."""
    scope, inner = split_scope(key)
    fixed, *searched = _same_name(inner)
    if searches and (not searched or (scope and fixed == ("seed",))):
        raise ValueError(f"cannot be searched; only {SEARCHABLE} can; {_instead(inner)}")
    searches = searches or inner in searched
    if searches:  # the key keeps its spelling, and so its place in the order
        space = _find(values, (*scope, *_SPACE)) or {}
        written = inner if inner in searched else searched[0]
        inner = next((place for place in searched if place[2] in space), written)
    key = (*scope, *inner)
    members = values.get("members")
    scopes = [("members", name) for name in members] if not scope and isinstance(members, dict) else []
    for where in (scope, *scopes):
        for place in ((*where, *name) for name in (fixed, *searched)):
            parent = _find(values, place[:-1]) if key[: len(place)] != place else None
            if parent is not None:
                parent.pop(place[-1], None)
        search = _find(values, (*where, "search"))
        if search is not None and not searches:
            _forget_points(search, {place[2] for place in searched})
    node = values
    for length, part in enumerate(key[:-1], start=1):
        below = {} if node.get(part) is None else node[part]
        if not isinstance(below, dict):
            raise ValueError(f"{'.'.join(key[:length])} is not a section; got {below!r}")
        node[part] = node = below
    node[key[-1]] = value
    return key


def _instead(inner: Key) -> str:
    """What to write instead of a search of a key that cannot be searched."""
    name = ".".join(inner)
    if "." in name or name in Config.model_fields:
        return "a list as one value is written [a,b]"
    if f"train.{name}" in SEARCHED_TRAIN:
        return f"did you mean train.{name}?"
    return hints.for_key(name) or f"did you mean params.{name}?"


def _same_name(inner: Key) -> list[Key]:
    """Every place within a scope that gives the same name a value: where it is fixed, then where it is searched."""
    in_space = inner[:2] == _SPACE and len(inner) > 2
    name = inner[2] if in_space else ".".join(inner[:2])
    if name == "seed" or name in SEARCHED_TRAIN:
        return [tuple(name.split(".")), (*_SPACE, name)]
    if not in_space and (inner[0] != "params" or len(inner) < 2):
        return [inner]
    bare = name.removeprefix("params.")
    spellings = [f"params.{bare}"] if bare == "seed" else [bare, f"params.{bare}"]
    return [("params", bare), *((*_SPACE, spelling) for spelling in spellings)]


def _forget_points(search: Values, names: set[str]) -> None:
    points = search.get("points")
    if names and isinstance(points, list) and all(isinstance(point, dict) for point in points):
        kept = [{name: value for name, value in point.items() if name not in names} for point in points]
        kept = [point for index, point in enumerate(kept) if point not in kept[:index]]
        search["points"] = kept if kept != [{}] else []


def _delete(values: Values, key: Key) -> None:
    parent = _find(values, key[:-1])
    if parent is None or key[-1] not in parent:
        raise ValueError("cannot be removed: the config does not have it")
    del parent[key[-1]]


def _find(values: Values, key: Key) -> Values | None:
    node: object = values
    for part in key:
        node = node.get(part) if isinstance(node, dict) else None
    return node if isinstance(node, dict) else None
