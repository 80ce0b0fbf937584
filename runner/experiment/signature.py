"""An experiment's parameters, read from the signatures of `load_data` and `build_model` without importing the file."""

from __future__ import annotations

import ast
import difflib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from runner.errors import ConfigError
from runner.experiment.annotations import ANY, Type, type_of_annotation, type_of_default

FUNCTIONS = ("load_data", "build_model")


@dataclass(frozen=True, slots=True)
class Unknown:
    """A default that is not a literal: the function has it, this program does not know it.

    Args:
        expression: the default's syntax, to compare two of them.
    """

    expression: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Parameter:
    """One parameter of an experiment.

    Args:
        name: its name.
        type: what values it takes.
        line: where it is written.
        required: True where it has no default.
        default: the default; `Unknown` where it is not a literal; meaningless where required.
    """

    name: str
    type: Type
    line: int
    required: bool
    default: Any = None

    @property
    def known_default(self) -> bool:
        """True where the default's value is known."""
        return not self.required and not isinstance(self.default, Unknown)


@dataclass(frozen=True, kw_only=True, slots=True)
class Signature:
    """What an experiment can be given.

    Args:
        path: the experiment file, for errors.
        load_data: parameters of `load_data`, by name.
        build_model: parameters of `build_model`, by name.
        parameters: both; a name that both have is one shared value.
    """

    path: str
    load_data: Mapping[str, Parameter]
    build_model: Mapping[str, Parameter]
    parameters: Mapping[str, Parameter] = field(default_factory=dict)


def read_signature(tree: ast.Module, path: str) -> Signature:
    """Reads both signatures.

    Raises:
        ConfigError: listing everything that cannot be called by name, with file and line.
    """
    problems: list[str] = []
    constants = _constants(tree)
    found: dict[str, dict[str, Parameter]] = {}
    for name in FUNCTIONS:
        function = _function(tree, name)
        if isinstance(function, str):
            problems.append(f"{path}{function}")
            continue
        problems += [f"{path}:{function.lineno}: {name}: {what}" for what in _uncallable(function)]
        found[name] = {parameter.name: parameter for parameter in _parameters(function, constants)}
    if problems:
        raise ConfigError(problems)
    data, model = found["load_data"], found["build_model"]
    merged = {**data, **model}
    for name in data.keys() & model.keys():
        problem = _disagreement(data[name], model[name])
        if problem:
            problems.append(f"{path}:{model[name].line}: {name}: {problem}")
        # The annotated or optional one says more.
        merged[name] = data[name] if model[name].required or model[name].type == ANY else model[name]
    if problems:
        raise ConfigError(sorted(problems))
    return Signature(path=path, load_data=data, build_model=model, parameters=merged)


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


def _function(tree: ast.Module, name: str) -> ast.FunctionDef | str:
    """The function's definition, or the rest of an error message about it."""
    others: list[str] = []
    last: ast.stmt | None = None
    for statement in _top_level(tree.body):
        names = _bound_names(statement)
        others += names
        if name in names:
            last = statement
    if isinstance(last, ast.FunctionDef):
        return last
    if last is not None:
        what = "is an async function" if isinstance(last, ast.AsyncFunctionDef) else "is not defined with `def` here"
        return f":{last.lineno}: {name}: {what}; write `def {name}(...):` in this file"
    close = difflib.get_close_matches(name, others, n=1, cutoff=0.7)
    hint = f"; did you mean {close[0]}?" if close else ""
    return f": {name}: missing; an experiment defines load_data and build_model{hint}"


def _top_level(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    for statement in body:
        yield statement
        if isinstance(statement, ast.If | ast.Try | ast.With):
            yield from _top_level(statement.body)
            yield from _top_level(getattr(statement, "orelse", []))


def _bound_names(statement: ast.stmt) -> list[str]:
    if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return [statement.name]
    if isinstance(statement, ast.Import | ast.ImportFrom):
        return [alias.asname or alias.name for alias in statement.names]
    targets = statement.targets if isinstance(statement, ast.Assign) else [getattr(statement, "target", None)]
    return [target.id for target in targets if isinstance(target, ast.Name)]


def _uncallable(function: ast.FunctionDef) -> Iterator[str]:
    arguments = function.args
    if arguments.posonlyargs:
        names = ", ".join(argument.arg for argument in arguments.posonlyargs)
        yield f"positional-only parameters ({names}) cannot be given by name; remove the `/`"
    if arguments.vararg:
        yield f"*{arguments.vararg.arg} is not supported; name every parameter"
    if arguments.kwarg:
        yield f"**{arguments.kwarg.arg} is not supported; name every parameter"


def _parameters(function: ast.FunctionDef, constants: Mapping[str, ast.expr]) -> Iterator[Parameter]:
    positional = function.args.args
    defaults: list[ast.expr | None] = [None] * (len(positional) - len(function.args.defaults))
    defaults += function.args.defaults
    pairs = [
        *zip(positional, defaults, strict=True),
        *zip(function.args.kwonlyargs, function.args.kw_defaults, strict=True),
    ]
    for argument, default in pairs:
        value = _value(default, constants) if default is not None else None
        if argument.annotation is not None:
            allowed = type_of_annotation(argument.annotation)
        else:
            allowed = ANY if default is None else type_of_default(value)
        yield Parameter(name=argument.arg, type=allowed, line=argument.lineno, required=default is None, default=value)


def _constants(tree: ast.Module) -> dict[str, ast.expr]:
    """Names that the module binds exactly once, at its top level."""
    values: dict[str, ast.expr] = {}
    bound: list[str] = []
    for statement in _top_level(tree.body):
        names = _bound_names(statement)
        bound += names
        value = getattr(statement, "value", None)
        if isinstance(statement, ast.Assign | ast.AnnAssign) and isinstance(value, ast.expr):
            values.update(dict.fromkeys(names, value))
    return {name: value for name, value in values.items() if bound.count(name) == 1}


def _value(node: ast.expr, constants: Mapping[str, ast.expr]) -> Any:
    literal = constants.get(node.id, node) if isinstance(node, ast.Name) else node
    try:
        return ast.literal_eval(literal)
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        return Unknown(ast.dump(node))


def _disagreement(data: Parameter, model: Parameter) -> str:
    if data.required or model.required:
        return ""
    if type(data.default) is type(model.default) and data.default == model.default:
        return ""
    advice = "a name in both functions is one shared value; give both the same literal default"
    if data.known_default and model.known_default:
        return f"defaults differ: {data.default!r} in load_data, {model.default!r} in build_model; {advice}"
    return f"defaults cannot be compared; {advice}"
