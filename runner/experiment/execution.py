"""What a definition has computed when it was executed: default values, decorators, base classes, class attributes.

The module executes it again, with the values of now. So each part is proved to give the same, written as the value that
it gave, or refused.
"""

from __future__ import annotations

import ast
import copy
import symtable
from collections import ChainMap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import FunctionType

from runner.experiment.attributes import assigned, mangled, method_of, methods, values_of
from runner.experiment.changes import History
from runner.experiment.constants import NotPlainError, expression, is_same, needed_names
from runner.experiment.definitions import Definition
from runner.experiment.evaluate import UnknownError, evaluate
from runner.experiment.free_names import Function
from runner.experiment.texts import first_line


@dataclass(kw_only=True, slots=True)
class Execution:
    """Examines one definition.

    Args:
        definition: it.
        value: the function or class that it gave.
        scope: what its names mean now, without the unknown.
        history: what runs after it.

    Attributes:
        problems: names or parts that would give something else, with their lines of the text and what is wrong.
        written: expressions of the text to be replaced, with the texts of what they gave.
        names: what these texts name.
    """

    definition: Definition
    value: FunctionType | type
    scope: Mapping[str, object]
    history: History
    problems: list[tuple[int, str]] = field(default_factory=list)
    written: list[tuple[ast.expr, str]] = field(default_factory=list)
    names: dict[str, object] = field(default_factory=dict)

    @property
    def written_names(self) -> set[str]:
        """Names in whose places their values are written."""
        return {node.id for node, _ in self.written if isinstance(node, ast.Name)}

    def examine(self) -> str:
        """Looks at every part that was executed; returns the text with plain values as they were."""
        (node,) = ast.parse(self.definition.text).body
        if isinstance(node, Function) and isinstance(self.value, FunctionType):
            self._opaque(node.decorator_list, frozenset())
            self._defaults(node, self.value, self.scope, frozenset())
        elif isinstance(node, ast.ClassDef) and isinstance(self.value, type):
            self._class(node, self.value)
        return _replaced(self.definition.text, self.written)

    def _defaults(
        self,
        node: Function,
        function: FunctionType,
        scope: Mapping[str, object],
        bound: frozenset[str],
        *,
        is_method: bool = False,
    ) -> None:
        arguments, by_name = node.args, function.__kwdefaults__ or {}
        given = [*zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)]
        names = {argument.arg for argument, default in given if default is not None}
        if len(arguments.defaults) != len(function.__defaults__ or ()) or names != {*by_name}:
            self.problems.append((node.lineno, f"`{node.name}` got other default values after its definition; define it"
                                  " with them"))  # fmt: skip
            return
        pairs = [*zip(arguments.defaults, function.__defaults__ or (), strict=True)]
        pairs += [(default, by_name[argument.arg]) for argument, default in given if default is not None]
        for default, actual in pairs:
            if self._is_proved(default, actual, scope) or self._write(default, actual):
                continue
            if is_method or not isinstance(default, ast.Name):  # the collector takes the value that it had
                self._unproved(default, scope, bound)

    def _is_proved(self, node: ast.expr, actual: object, scope: Mapping[str, object]) -> bool:
        try:
            return is_same(evaluate(node, scope), actual)
        except UnknownError:
            return False

    def _write(self, node: ast.expr, actual: object) -> bool:
        try:
            self.written.append((node, expression(actual)))
        except (NotPlainError, OverflowError):
            return False
        self.names |= needed_names(actual)
        return True

    def _unproved(self, node: ast.expr, scope: Mapping[str, object], bound: frozenset[str]) -> None:
        """A part whose expression does not give its value, or gives another one."""
        try:
            evaluate(node, scope)
        except UnknownError:
            self._opaque([node], bound)
            return
        self.problems.append((node.lineno, f"`{ast.unparse(node)[:60]}` gives something else now than when "
                              f"{self.definition.name} was defined; define {self.definition.name} again"))  # fmt: skip

    def _opaque(self, nodes: Sequence[ast.AST], bound: frozenset[str]) -> None:
        """Parts that run code: what they name must not have changed since."""
        for node in nodes:
            for name in sorted(_names_at_once(node) - bound):
                if name not in self.scope:
                    continue
                if change := self.history.change_of(name, self.scope[name]):
                    line = getattr(node, "lineno", 1)
                    user = f"`{name}`, which {self.definition.name} has used when it was defined,"
                    self.problems.append((line, f"{user} {change}"))

    def _class(self, node: ast.ClassDef, value: type) -> None:
        self._opaque([*node.decorator_list, *(word.value for word in node.keywords)], frozenset())
        bases = vars(value).get("__orig_bases__", value.__bases__)
        for base, actual in zip(node.bases, bases, strict=False):
            if not isinstance(base, ast.Name) and not self._is_proved(base, actual, self.scope):
                self._unproved(base, self.scope, frozenset())
        own: dict[str, object] = {}
        bound = frozenset(_bound_in(node))
        scope = ChainMap(own, {name: one for name, one in self.scope.items() if name not in bound}, dict(self.scope))
        simple = {id(expression): name for name, expression in assigned(node)}
        by_name = {one.name: one for one in methods(node)}
        for part in node.body:
            if isinstance(part, Function):
                self._method(part, value, node, scope, bound, is_last=by_name[part.name] is part)
                continue
            expression = getattr(part, "value", None)
            name = simple.get(id(expression), "")
            actual = values_of(value, mangled(node, name)) if name else ()
            if not name or not isinstance(expression, ast.expr) or not actual:
                self._opaque([part], bound)
                continue
            own[name] = actual[0]
            if name in vars(value).get("__dataclass_fields__", {}) and isinstance(expression, ast.Call):
                default = next((word.value for word in expression.keywords if word.arg == "default"), None)
                self._opaque([word.value for word in expression.keywords if word.arg != "default"], bound)
                expression = default or expression
                if default is None:
                    self._opaque([expression], bound)
                    continue
            if not self._is_proved(expression, actual[0], scope) and not self._write(expression, actual[0]):
                self._unproved(expression, scope, bound)

    def _method(
        self, node: Function, value: type, around: ast.ClassDef, scope: Mapping[str, object], bound: frozenset[str],
        *, is_last: bool,
    ) -> None:  # fmt: skip
        self._opaque(node.decorator_list, bound)
        function = method_of(value, mangled(around, node.name))
        plain = {"property", "staticmethod", "classmethod", ""}
        if not is_last or any(getattr(one, "id", "?") not in plain for one in node.decorator_list):
            self._opaque([*node.args.defaults, *filter(None, node.args.kw_defaults)], bound)
            return
        line = self.definition.line + first_line(node) - 1
        if function is None or function.__code__.co_firstlineno != line or function.__code__.co_name != node.name:
            if type(value) is type or function is not None:
                self.problems.append((node.lineno, f"`{around.name}.{node.name}` was replaced after the class was "
                                      "defined; write it into the class"))  # fmt: skip
            return
        self._defaults(node, function, scope, bound, is_method=True)


def _bound_in(node: ast.ClassDef) -> Iterator[str]:
    (table,) = symtable.symtable(ast.unparse(copy.deepcopy(node)), "<class>", "exec").get_children()
    yield from (symbol.get_name() for symbol in table.get_symbols() if symbol.is_assigned())


def _names_at_once(node: ast.AST) -> set[str]:
    """The names that code looks up outside of functions and lambdas."""
    if isinstance(node, ast.Lambda):
        return set().union(*map(_names_at_once, [*node.args.defaults, *filter(None, node.args.kw_defaults)]))
    if isinstance(node, Function):
        inner = [*node.decorator_list, *node.args.defaults, *filter(None, node.args.kw_defaults)]
        return set().union(*map(_names_at_once, inner))
    found = {node.id} if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load) else set()
    parts = [part for name, part in ast.iter_fields(node) if name not in ("annotation", "returns")]
    for part in parts:
        for one in part if isinstance(part, list) else [part]:
            found |= _names_at_once(one) if isinstance(one, ast.AST) else set()
    return found


def _replaced(text: str, written: Sequence[tuple[ast.expr, str]]) -> str:
    """A text with other expressions in the places of some."""
    lines = [line.encode() for line in text.split("\n")]
    for node, instead in sorted(written, key=lambda pair: (pair[0].lineno, pair[0].col_offset), reverse=True):
        first, last = node.lineno - 1, (node.end_lineno or node.lineno) - 1
        before, after = lines[first][: node.col_offset], lines[last][node.end_col_offset :]
        lines[first : last + 1] = [before + instead.encode() + after]
    return b"\n".join(lines).decode()
