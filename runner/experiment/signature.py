"""An experiment's parameters, read from the signatures of `load_data` and `build_model` without importing the file."""

from __future__ import annotations

import ast
import difflib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from runner.errors import ConfigError
from runner.experiment.annotations import ANY, Type, type_of_annotation, type_of_default


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
        parameters: both; a name that both have is one shared value.
    """

    load_data: Mapping[str, Parameter]
    build_model: Mapping[str, Parameter]
    parameters: Mapping[str, Parameter]


def read_signature(tree: ast.Module, path: str) -> Signature:
    """Reads both signatures.

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
    for name in found:
        function = dict(bound).get(name)  # the last one counts
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
    data, model = found["load_data"], found["build_model"]
    merged = {**data, **model}
    for name in sorted(data.keys() & model.keys()):
        if problem := _disagreement(data[name], model[name]):
            problems.append(f"{path}:{model[name].line}: {name}: {problem}")
        # The annotated or optional one says more.
        merged[name] = data[name] if model[name].required or model[name].type == ANY else model[name]
    if problems:
        raise ConfigError(problems)
    return Signature(load_data=data, build_model=model, parameters=merged)


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


def _disagreement(data: Parameter, model: Parameter) -> str:
    same = type(data.default) is type(model.default) and data.default == model.default
    if data.required or model.required or same:
        return ""
    advice = "a name in both functions is one shared value; give both the same literal default"
    if data.known_default and model.known_default:
        return f"defaults differ: {data.default!r} in load_data, {model.default!r} in build_model; {advice}"
    return f"defaults cannot be compared; {advice}"
