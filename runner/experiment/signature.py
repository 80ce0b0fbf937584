"""An experiment's parameters, read from the signatures of its functions without importing the file."""

from __future__ import annotations

import ast
import difflib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from runner.errors import ConfigError
from runner.experiment.annotations import ANY, Type, type_of_annotation, type_of_default

_KERAS = ("keras", "tensorflow", "tf_keras")


@dataclass(frozen=True, slots=True)
class Unknown:
    """A default that is not a literal: the function has it, this program does not know its value, only its syntax."""

    expression: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Parameter:
    """One parameter of an experiment.

    Args:
        name: its name.
        type: what values it takes.
        line: where it is written.
        required: True if it has no default.
        default: the default; `Unknown` if it is not a literal; meaningless if the parameter is required.
    """

    name: str
    type: Type
    line: int
    required: bool
    default: object = None

    @property
    def known_default(self) -> bool:
        """Whether the default's value is known."""
        return not self.required and not isinstance(self.default, Unknown)


@dataclass(frozen=True, kw_only=True, slots=True)
class Signature:
    """What an experiment can be given.

    Args:
        load_data: parameters of `load_data`, by name.
        build_model: parameters of `build_model`, by name.
        parameters: all; a name that several functions have is one shared value.
        callbacks: parameters of `callbacks`, by name; None if there is no such function.
    """

    load_data: Mapping[str, Parameter]
    build_model: Mapping[str, Parameter]
    parameters: Mapping[str, Parameter]
    callbacks: Mapping[str, Parameter] | None = None


def read_signature(tree: ast.Module, path: str) -> Signature:
    """Reads the signatures of `load_data`, `build_model` and, if it is there, `callbacks`.

    Raises:
        ConfigError: listing everything that cannot be called by name, with file and line.
    """
    bound = [(name, statement) for statement in _top_level(tree.body) for name in _bound_names(statement)]
    names = [name for name, _ in bound]
    constants = {
        name: statement.value
        for name, statement in bound
        if names.count(name) == 1 and isinstance(statement, ast.Assign | ast.AnnAssign) and statement.value is not None
    }
    problems: list[str] = []
    found: dict[str, dict[str, Parameter]] = {"load_data": {}, "build_model": {}}
    for name in ("load_data", "build_model", "callbacks"):
        function = dict(bound).get(name)  # the last one counts
        if name == "callbacks" and _is_another_name(function):
            continue
        if isinstance(function, ast.FunctionDef):
            problems += [f"{path}:{function.lineno}: {name}: {what}" for what in _uncallable(function.args)]
            found[name] = {item.name: item for item in _parameters(function.args, constants)}
        elif function is not None:
            is_async = isinstance(function, ast.AsyncFunctionDef)
            what = "is an async function" if is_async else "is not defined with `def` here"
            problems.append(f"{path}:{function.lineno}: {name}: {what}; write `def {name}(...):` in this file")
        else:
            close = difflib.get_close_matches(name, names, n=1, cutoff=0.7)
            hint = f"; did you mean {close[0]}?" if close else ""
            problems.append(f"{path}: {name}: missing; an experiment defines load_data and build_model{hint}")
    merged = _merged(found, path, problems)
    if problems:
        raise ConfigError(problems)
    return Signature(
        load_data=found["load_data"],
        build_model=found["build_model"],
        parameters=merged,
        callbacks=found.get("callbacks"),
    )


def _is_another_name(statement: ast.stmt | None) -> bool:
    """Whether `callbacks` is not meant for the runner: it is not there, or is Keras' module."""
    match statement:
        case None:
            return True
        case ast.ImportFrom(module=module):
            return (module or "").partition(".")[0] in _KERAS
        case ast.Import(names=names):
            return all(alias.name.partition(".")[0] in (*_KERAS, "callbacks") for alias in names)
        case ast.Assign(value=ast.Attribute(attr="callbacks")):
            return True
    return False


def _merged(found: Mapping[str, Mapping[str, Parameter]], path: str, problems: list[str]) -> dict[str, Parameter]:
    """The parameters of all functions; adds to the problems those that two of them declare differently."""
    merged: dict[str, Parameter] = {}
    owner: dict[str, str] = {}
    for function, parameters in found.items():
        for name, other in parameters.items():
            known = merged.get(name)
            if known is None:
                merged[name], owner[name] = other, function
                continue
            if problem := _disagreement(known, owner[name], other, function):
                problems.append(f"{path}:{other.line}: {name}: {problem}")
            if not other.required and other.type != ANY:  # the annotated or optional one says more
                merged[name], owner[name] = other, function
    return merged


def parse_python(text: str, path: str) -> ast.Module:
    """Parses Python text.

    Raises:
        ConfigError: naming file and line of a syntax error.
    """
    try:
        return ast.parse(text, filename=path)
    except SyntaxError as err:
        raise ConfigError(f"{path}:{err.lineno or 1}: not valid Python: {err.msg}") from err
    except (ValueError, RecursionError, MemoryError) as err:
        raise ConfigError(f"{path}: not valid Python: {err or 'nested too deeply'}") from err


def _top_level(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    for statement in body:
        yield statement
        if isinstance(statement, ast.If | ast.Try | ast.With):
            yield from _top_level([*statement.body, *getattr(statement, "orelse", [])])


def _bound_names(statement: ast.stmt) -> list[str]:
    if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return [statement.name]
    if isinstance(statement, ast.Import | ast.ImportFrom):
        return [alias.asname or alias.name for alias in statement.names]
    targets = statement.targets if isinstance(statement, ast.Assign) else [getattr(statement, "target", None)]
    return [target.id for target in targets if isinstance(target, ast.Name)]


def _uncallable(arguments: ast.arguments) -> Iterator[str]:
    if arguments.posonlyargs:
        names = ", ".join(argument.arg for argument in arguments.posonlyargs)
        yield f"positional-only parameters ({names}) cannot be given by name; remove the `/`"
    for stars, variable in (("*", arguments.vararg), ("**", arguments.kwarg)):
        if variable:
            yield f"{stars}{variable.arg} is not supported; name every parameter"


def _parameters(arguments: ast.arguments, constants: Mapping[str, ast.expr]) -> Iterator[Parameter]:
    positional = [*arguments.posonlyargs, *arguments.args]
    without = [None] * (len(positional) - len(arguments.defaults))
    defaults = [*without, *arguments.defaults, *arguments.kw_defaults]
    for argument, default in zip([*positional, *arguments.kwonlyargs], defaults, strict=True):
        value = _value(default, constants) if default is not None else None
        allowed = type_of_annotation(argument.annotation) if argument.annotation else type_of_default(value)
        yield Parameter(name=argument.arg, type=allowed, line=argument.lineno, required=default is None, default=value)


def _value(node: ast.expr, constants: Mapping[str, ast.expr]) -> object:
    literal = constants.get(node.id, node) if isinstance(node, ast.Name) else node
    try:
        return ast.literal_eval(literal)
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        return Unknown(ast.dump(node))


def _disagreement(one: Parameter, of_one: str, other: Parameter, of_other: str) -> str:
    same = type(one.default) is type(other.default) and one.default == other.default
    if one.required or other.required or same:
        return ""
    advice = "a name in several functions is one shared value; give all the same literal default"
    if one.known_default and other.known_default:
        return f"defaults differ: {one.default!r} in {of_one}, {other.default!r} in {of_other}; {advice}"
    return f"defaults cannot be compared; {advice}"
