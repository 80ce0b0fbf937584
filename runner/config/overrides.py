"""The command line's `key=value` arguments: read by Hydra's own grammar, before Hydra composes."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser, create_functions
from hydra.core.override_parser.types import ChoiceSweep, Override
from hydra.errors import HydraException

from runner.config import hints
from runner.config.space import FORMS, FUNCTIONS, MAX_VALUES, Choice, Dimension, Uniform, plain
from runner.config.yaml_files import bracket_depth
from runner.experiment.identifiers import as_python

MAX_LENGTH = 20_000  # characters of one argument; the grammar's parser is slow and recursive
MAX_DEPTH = 20  # brackets within brackets
SEARCHED_TRAIN = ("epochs", "batch_size", "steps_per_epoch")
SEARCHABLE = "params.*, train.batch_size, train.epochs, train.steps_per_epoch and seed"


@dataclass(frozen=True, kw_only=True, slots=True)
class Setting:
    """One `key=value` argument.

    Args:
        text: the argument as written.
        keys: the key's parts, such as ("train", "epochs").
        value: the plain value; for a search what `search.space` would hold.
        kind: `set` a fixed value, `search` over values, or `delete` the key.
        group: the key as a config group would be named (`experiment`, `data/small`).
    """

    text: str
    keys: tuple[str, ...]
    value: Any
    kind: str
    group: str


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
            problems.append(f"command line: {_short(text)}: {err}")
    return settings, problems


def parse_value(text: str) -> Any:
    """Reads one value; a search becomes a `Choice` or a `Uniform`.

    Raises:
        ValueError: where the text does not follow the grammar.
    """
    parsed = _guarded(text, lambda: _parser().parse_rule(text, "value"))
    if isinstance(parsed, ChoiceSweep):
        return _choice(parsed)
    return parsed if isinstance(parsed, Choice | Uniform) else plain(parsed)


def dimension_of(written: Any) -> Dimension:
    """Reads a value of `search.space`: a list, or a string in the command line's grammar.

    Raises:
        ValueError: with what is wrong and what is allowed.
    """
    if isinstance(written, str):
        parsed = parse_value(written)
        if isinstance(parsed, Choice | Uniform):
            return parsed
        raise ValueError(f"not a search; got {written!r}; allowed: {FORMS}; a fixed value belongs in params")
    if isinstance(written, Sequence):
        if not written:
            raise ValueError(f"an empty list; allowed: {FORMS}")
        if len(written) > MAX_VALUES:
            raise ValueError(f"a list of more than {MAX_VALUES} values")
        return Choice(tuple(plain(value) for value in written))
    raise ValueError(f"not a search; got {written!r}; allowed: {FORMS}; a fixed value belongs in params")


def _setting(text: str) -> Setting:
    key, separator, value = text.partition("=")
    # A path may hold characters that the grammar does not know, such as "~" or "é".
    if separator and key == "experiment" and value.strip("'\"").endswith(".py"):
        path = value.strip("'\"")
        plain(path)
        return Setting(text=text, keys=("experiment",), value=path, kind="set", group="experiment")
    if not separator and not text.startswith("~"):
        raise ValueError("not of the form key=value" + ("; an experiment file ends in .py" if text else ""))
    readable, names = _with_ascii_key(text)
    parsed: Override = _guarded(text, lambda: _parser().parse_override(readable))
    if parsed.package is not None:
        raise ValueError("a package (@) is not supported here")
    keys = tuple(names.get(part, part) for part in parsed.key_or_group.replace("/", ".").split("."))
    common = {"text": text, "keys": keys, "group": parsed.key_or_group}
    if "_target_" in keys:
        raise ValueError("_target_ is not supported: nothing named in a config is imported but the experiment file")
    if parsed.is_delete():
        return Setting(value=None, kind="delete", **common)
    raw = parsed._value
    if isinstance(raw, ChoiceSweep):
        return Setting(value=list(_choice(raw).values), kind="search", **common)
    if isinstance(raw, Choice | Uniform):
        return Setting(value=value.strip(), kind="search", **common)
    return Setting(value=plain(raw), kind="set", **common)


def _with_ascii_key(text: str) -> tuple[str, dict[str, str]]:
    """The argument as Hydra's grammar can read it, whose keys have ASCII letters only, and what stands for what.

    A parameter's name may be an identifier of any script.
    """
    key, separator, value = text.partition("=")
    if key.isascii():
        return text, {}
    names: dict[str, str] = {}

    def stand_in(match: re.Match[str]) -> str:
        if match[0].isascii() or not match[0].isidentifier():
            return match[0]
        name = f"parameter_{len(names)}"
        names[name] = as_python(match[0])
        return name

    return re.sub(r"[^./~]+", stand_in, key) + separator + value, names


def _choice(sweep: ChoiceSweep) -> Choice:
    if len(sweep.list) > MAX_VALUES:
        raise ValueError(f"a list of more than {MAX_VALUES} values")
    return Choice(tuple(plain(value) for value in sweep.list))


def _parser() -> OverridesParser:
    functions = create_functions()
    # Hydra's own functions (sort, shuffle, glob, casts ...) would make values that YAML could not repeat.
    functions.definitions.clear()
    functions.functions.clear()
    for name, function in FUNCTIONS.items():
        functions.register(name, function)
        # Hydra cannot check annotations that are text; the functions check their arguments themselves.
        parameters = inspect.signature(function).parameters.values()
        unannotated = [parameter.replace(annotation=inspect.Parameter.empty) for parameter in parameters]
        functions.definitions[name] = inspect.Signature(unannotated)
    return OverridesParser(functions)


def _guarded(text: str, parse: Callable[[], Any]) -> Any:
    """Runs the grammar's parser and gives its complaints in this program's words."""
    if len(text) > MAX_LENGTH or bracket_depth(text) > MAX_DEPTH:
        raise ValueError(f"too long or too deeply nested (at most {MAX_LENGTH} characters, {MAX_DEPTH} levels)")
    try:
        return parse()
    except HydraException as err:
        raise ValueError(_reworded(err)) from err
    except (RecursionError, AssertionError, StopIteration, AttributeError, IndexError) as err:
        raise ValueError("cannot be read; quote the value") from err
    except ValueError as err:
        raise ValueError(f"cannot be read: {str(err).split(';')[0]}") from err


def _reworded(err: HydraException) -> str:
    message = str(err)
    cause = err.__cause__
    if isinstance(cause, ValueError):
        return str(cause)
    if "Unknown function" in message:
        named = re.search(r"Unknown function '([^']*)'", message)
        meant = hints.FUNCTIONS.get(named[1]) if named else None
        hint = f"; did you mean {meant}?" if meant else ""
        return f"unknown function; allowed: {', '.join(FUNCTIONS)}; put quotes around text with brackets{hint}"
    if isinstance(cause, TypeError):
        return f"wrong arguments: {cause}"
    if "token recognition error" in message:
        character = message.partition("at: ")[2].strip().splitlines()[0] if "at: " in message else "?"
        return f"cannot read {character}; put quotes around the value, as in 'key=\"value\"'"
    return "cannot be read; put quotes around a value with special characters, as in 'key=\"value\"'"


def _short(text: str) -> str:
    return text if len(text) <= 80 else text[:77] + "..."
