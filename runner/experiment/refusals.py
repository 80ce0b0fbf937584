"""Says why a function's code cannot be carried, and what to do instead."""

from __future__ import annotations

import ast
import functools
import inspect
from types import FunctionType, MethodType, ModuleType

from runner.errors import received
from runner.experiment.changes import History
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


def of_source(name: str, target: FunctionType | type, reason: str) -> str:
    """A function or class without source, or with one that is not its own for some reason."""
    if isinstance(target, FunctionType) and target.__name__ == _LAMBDA:
        return f"`{name}` is a lambda; write it with `def`"
    if reason:
        return f"`{name}`, {_kind(target)}: {reason}"
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
        return "" if _layers(value) <= len(definition.node.decorator_list) else _wrapped(name, definition)
    found = namespace_of(target).get(definition.name) if not outside else value
    is_below = found is not value or (bool(outside) and not is_given and name != definition.name)
    if definition.is_decorated and is_below:
        return f"`{name}` is what a decorator of `{definition.name}` wraps; let the decorator use functools.wraps"
    return ""


def of_history(name: str, value: object, definition: Definition, history: History) -> str:
    """A function or class that later statements change, or wrap; empty if there are none."""
    target = unwrapped(value)
    own = [] if definition.around else dict.fromkeys((name, definition.name))
    names = [one for one in own if history.scope.get(one) is value]
    for one in names:
        if place := history.patch_of(one):
            return f"`{one}` is changed at {place}, after its definition; write that into its definition"
        is_plain = value is target and not definition.is_decorated and isinstance(target, FunctionType)
        if not is_plain and (place := history.call_that_binds(one)):
            return f"`{one}` is bound to what a call returns at {place}; write the call above the definition, with @"
    if isinstance(target, FunctionType) and not definition.is_decorated and set(vars(target)) - {"__wrapped__"}:
        return (
            f"`{name}` has attributes that its definition does not give: {', '.join(vars(target))}; make them globals"
        )
    if len(getattr(value, "registry", ())) > 1 and hasattr(value, "dispatch"):
        return f"`{name}` has functions registered with it, which its definition does not give; write `isinstance`"
    return ""


def of_around(name: str) -> str:
    """A variable of a function around a definition that only its execution has used."""
    return (
        f"`{name}` is a variable of the function around it, whose value is not kept; use it inside, or make it a global"
    )


def of_main() -> str:
    """A question for the name of the module."""
    return "compares `__name__` with '__main__', which it is not in workers; ask outside of the function"


def reads_main(node: ast.AST) -> bool:
    """Whether code asks if it is the program that was started."""
    for part in ast.walk(node):
        if isinstance(part, ast.Compare):
            values = [part.left, *part.comparators]
            names = {one.id for one in values if isinstance(one, ast.Name)}
            texts = {one.value for one in values if isinstance(one, ast.Constant)}
            if "__name__" in names and "__main__" in texts:
                return True
    return False


def _layers(value: object) -> int:
    """How often a function is wrapped, as `functools.wraps` does it."""
    count, target = 0, unwrapped(value)
    while value is not target:
        count, value = count + 1, inspect.getattr_static(value, "__wrapped__")
    return count


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
    if name == "globals":
        return "calls `globals()`, which are others in workers; name what it needs"
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
