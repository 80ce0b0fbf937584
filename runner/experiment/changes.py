"""Tells whether what a definition has used when it was executed is still the same."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import FunctionType, ModuleType

from runner.experiment.bindings import Binding, bindings, changed_in
from runner.experiment.definitions import Definition, NoDefinitionError, definition_of
from runner.experiment.free_names import free_names
from runner.experiment.texts import cells, runs, shown, source_of

_CHANGEABLE = (list, dict, set)


@dataclass(frozen=True, kw_only=True, slots=True)
class History:
    """The statements that run after a definition.

    Args:
        definition: it.
        scope: what its names mean now.
    """

    definition: Definition
    scope: Mapping[str, object]

    def change_of(self, name: str, value: object) -> str:
        """How a name or its value changes after the definition, and what to do; empty if it does not.

        What the functions of a notebook use when they are called counts as part of them.
        """
        return self._change_of(name, value, set())

    def _change_of(self, name: str, value: object, seen: set[str]) -> str:
        if name in seen or isinstance(value, ModuleType):
            return ""
        seen.add(name)
        every = list(self._bindings(name))
        bound = {one.same for _, one, _ in every if one.what == "bind"}
        is_stable = len(bound) == 1 and "" not in bound
        for place, one, is_after in every:
            is_change = one.what == "change" or (one.what == "call" and isinstance(value, _CHANGEABLE))
            if is_after and (is_change or (one.what == "bind" and not is_stable)):
                return f"changes at {place}; define {self.definition.name} again"
        if not isinstance(value, FunctionType | type) or not bound:
            return ""
        try:
            definition = definition_of(value)
            used = free_names(definition.text).later & self.scope.keys()
        except (NoDefinitionError, SyntaxError):
            return ""
        for other in sorted(used):
            if isinstance(self.scope[other], _CHANGEABLE) and other in changed_in(definition.node):
                return f"changes `{other}`, which the module would do once more; keep `{other}` inside a function"
            if change := self._change_of(other, self.scope[other], seen):
                return f"uses `{other}`, which {change}"
        return ""

    def patch_of(self, name: str) -> str:
        """The place at which something is set on what the definition defines, or registered with it; empty if none."""
        places = (place for place, one, is_after in self._bindings(name) if is_after and one.what == "change")
        return next(places, "")

    def call_that_binds(self, name: str) -> str:
        """The place at which a name gets what a call returns, if nothing binds it later; empty if there is none."""
        found = [(place, one) for place, one, is_after in self._bindings(name) if is_after and one.what == "bind"]
        if not found:
            return ""
        place, last = found[-1]
        value = getattr(last.statement, "value", None)
        return place if isinstance(last.statement, ast.Assign) and isinstance(value, ast.Call) else ""

    def _bindings(self, name: str) -> Iterator[tuple[str, Binding, bool]]:
        """What binds or changes a name, in the order of execution: place, binding, whether it comes afterwards."""
        file, own = self.definition.file, self.definition
        order = runs(self.scope)
        texts = cells() if file in order else {file: source_of(file, self.scope)}
        here = order.get(file, (0, 0))
        for other in sorted(texts, key=lambda one: order.get(one, (0, 0))):
            when = order.get(other, (0, 0))
            for one in bindings(texts[other]).get(name, ()):
                if other == file and own.line <= one.line <= (own.node.end_lineno or 0):
                    continue
                in_loop = one.loop is not None and one.loop[0] <= own.line <= one.loop[1]
                is_after = when > here or (other == file and (one.line > own.line or in_loop))
                yield f"{shown(other, self.scope)}{one.line}", one, is_after
