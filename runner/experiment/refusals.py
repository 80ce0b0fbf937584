"""Says why a function's code cannot be carried, and what to do instead."""

from __future__ import annotations

import functools
import inspect
from types import FunctionType, MethodType, ModuleType

from runner.errors import received
from runner.experiment.constants import NotPlainError, expression
from runner.experiment.definitions import Definition
from runner.experiment.scopes import namespace_of, unwrapped

_ADVICE = "make it inside the function, load it from a file there, or pass it as a parameter"
_LAMBDA = "<lambda>"


def of_function(name: str, value: object) -> str:
    """Why a value cannot be one of an experiment's functions; empty if it can."""
    target = unwrapped(value)
    if isinstance(target, FunctionType) and target.__name__ == _LAMBDA:
        what = "a lambda"
    elif inspect.iscoroutinefunction(target) or inspect.isasyncgenfunction(target):
        what = "an async function"
    elif isinstance(target, FunctionType):
        return ""
    else:
        what = _kind(value)
    return f"{name}: must be a function that is written with `def`; got {what}; write `def {name}(...):`"


def of_value(name: str, value: object) -> str:
    """A value that is neither plain, nor importable, nor defined in source."""
    if isinstance(value, functools.partial | MethodType):
        return f"`{name}` is {_kind(value)}, which has no source of its own; write a function with `def`"
    if type(value).__module__ == "numpy" and getattr(value, "ndim", None) == 0 and hasattr(value, "item"):
        return f"`{name}` is {_kind(value)}; write `{name} = {name}.item()`, which is a number of Python's"
    return f"`{name}` is {_kind(value)}, which is no code; {_ADVICE}"


def of_length(name: str, characters: str) -> str:
    """A plain value that is data rather than a setting."""
    return f"`{name}` takes {characters} characters as text; {_ADVICE}"


def of_two_meanings(name: str, one: object, other: object) -> str:
    """A name that would stand for two values in one module."""
    return (
        f"`{name}` means two things, {_kind(one)} and {_kind(other)}; rename one, or define again what still has the "
        "earlier value"
    )


def of_source(name: str, target: FunctionType | type) -> str:
    """A function or class without source."""
    if isinstance(target, FunctionType) and target.__name__ == _LAMBDA:
        return f"`{name}` is a lambda; write it with `def`"
    return f"`{name}` is {_kind(target)}, whose source is not known; write it into a file or a cell of a notebook"


def of_definition(name: str, value: object, definition: Definition, *, is_given: bool) -> str:
    """A function whose `def` statement does not give it; empty if it does."""
    target = unwrapped(value)
    if not isinstance(target, FunctionType):
        return ""
    outside = target.__qualname__.split(".")[:-1]
    if outside and outside[-1] != "<locals>":
        return f"`{name}` is {_kind(target)}, a method; write a function outside of the class"
    if value is not target:
        return "" if definition.is_decorated else _wrapped(name, definition)
    found = namespace_of(target).get(definition.name) if not outside else value
    is_below = found is not value or (bool(outside) and not is_given and name != definition.name)
    if definition.is_decorated and is_below:
        return f"`{name}` is what a decorator of `{definition.name}` wraps; let the decorator use functools.wraps"
    return ""


def of_nonlocal(name: str) -> str:
    """A function that assigns a variable of the function around it."""
    return f"{name}: changes a variable of the function around it (nonlocal); keep it inside, or return the value"


def of_changed(name: str) -> str:
    """A function that assigns a global."""
    return f"changes the global `{name}`, of which every worker has its own; keep it inside, or return the value"


def of_name(name: str) -> str:
    """A name that would mean something else in a worker, whatever its value; empty for any other."""
    if name == "get_ipython":
        return "has a magic of IPython's (% or !), which workers do not have; write it in Python"
    if name == "__file__":
        return (
            "names `__file__`, but workers run a copy of the function in another file; write "
            "`HERE = Path(__file__).parent` outside of it, and name HERE"
        )
    return ""


def of_undefined(name: str) -> str:
    """A name that nothing defines."""
    return f"`{name}` is not defined; define or import it before the sweep"


def _wrapped(name: str, definition: Definition) -> str:
    return f"`{name}` is `{definition.name}`, wrapped by a call; write the decorator above the function, with @"


def _kind(value: object) -> str:
    """A value as a message names it."""
    if isinstance(value, ModuleType):
        return f"the module {value.__name__}"
    if isinstance(value, type):
        return f"the class {value.__qualname__}"
    if inspect.isroutine(value):
        return f"the function {getattr(value, '__qualname__', value)}"
    try:
        expression(value)
        return received(value)
    except (NotPlainError, OverflowError):
        kind = type(value)
        name = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
        return f"{'an' if name.lstrip('_')[0] in 'aeioAEIO' else 'a'} {name}"
