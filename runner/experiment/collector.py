"""Follows names from an experiment's functions to everything that they need, and notes what cannot be carried."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import FunctionType

from runner.experiment import refusals
from runner.experiment.changes import History
from runner.experiment.constants import NotPlainError, expression, is_same, needed_names
from runner.experiment.definitions import Definition, NoDefinitionError, definition_of
from runner.experiment.execution import Execution
from runner.experiment.free_names import FreeNames, free_names
from runner.experiment.import_lines import derived_import, written_import, written_part
from runner.experiment.module_text import Contents, Piece
from runner.experiment.scopes import (
    evaluated,
    is_builtin,
    known,
    meanings,
    namespace_of,
    stands_for_builtin,
    unwrapped,
)  # fmt: skip
from runner.experiment.texts import cells, source_of

_CHANGEABLE = (list, dict, set)
_OF_EVERY_MODULE = {"__name__", "__doc__", "__spec__", "__package__", "__loader__", "__builtins__", "__annotations__"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Asker:
    """What names something.

    Args:
        name: its own.
        definition: its text; None for the call that the experiment's functions are given to.
        scope: what its names mean.
        lines: of its text, in which it names them first.
    """

    name: str
    definition: Definition | None = None
    scope: Mapping[str, object] = field(default_factory=dict)
    lines: Mapping[str, int] = field(default_factory=dict)

    def place(self, name: str) -> str:
        """File or cell and line at which it names something, and its own name."""
        at = "" if self.definition is None else f"{self.definition.at(self.lines.get(name, 1))}: "
        return f"{at}{self.name}"

    @property
    def texts(self) -> Sequence[str]:
        """The texts in which the user may have imported what it names: of its file, or the cells, the newest first."""
        if self.definition is None:
            return ()
        here, others = source_of(self.definition.file, self.scope), cells()
        return (here, *reversed(others.values())) if self.definition.file in others else (here,)

    @property
    def package(self) -> str:
        """The package that its relative imports start from."""
        package = self.scope.get("__package__")
        return package if isinstance(package, str) else ""


@dataclass(kw_only=True, slots=True)
class Collector:
    """Collects the contents of a module.

    Args:
        homes: the variables of the modules that the experiment's functions are of: what these define is taken as text.
        given: the names that the experiment's functions get in the module, by their identities.

    Attributes:
        contents: of the module.
        problems: what cannot be carried, in sentences.
    """

    homes: Sequence[Mapping[str, object]]
    given: Mapping[int, str]
    contents: Contents = field(default_factory=Contents)
    problems: list[str] = field(default_factory=list)

    def take(self, name: str, value: object, asker: Asker) -> None:
        """Binds a name of the module to a value, with everything that the value needs."""
        bound = self.contents.bound
        if name in bound:
            if not is_same(bound[name], value):
                self.problems.append(f"{asker.place(name)}: {refusals.of_two_meanings(name, bound[name], value)}")
            return
        bound[name] = value
        for attempt in (self._at_home, self._imported, self._constant, self._derived, self._foreign):
            if attempt(name, value, asker):
                return
        self.problems.append(f"{asker.place(name)}: {refusals.of_value(name, value)}")

    def _at_home(self, name: str, value: object, asker: Asker) -> bool:
        """An experiment's function, or a function or class of its module."""
        target = unwrapped(value)
        if not isinstance(target, FunctionType | type):
            return False
        is_own = id(value) in self.given or any(namespace_of(target) is home for home in self.homes)
        return is_own and self._defined(name, value, target, asker)

    def _imported(self, name: str, value: object, asker: Asker) -> bool:
        """What the user has written an import statement for."""
        lines = written_import(name, value, asker.texts, asker.package)
        self.contents.imports.update(dict.fromkeys(lines))
        return bool(lines)

    def _constant(self, name: str, value: object, asker: Asker) -> bool:
        same = [other for other in self.contents.constants if self.contents.bound[other] is value]
        try:
            text = expression(value)
            self.contents.constants[name] = f"{name} = {same[0] if same and isinstance(value, _CHANGEABLE) else text}"
        except NotPlainError as err:
            if not err.where:
                return False
            self.problems.append(f"{asker.place(name)}: {refusals.of_value(name + err.where, err.value)}")
        except OverflowError as err:
            self.problems.append(f"{asker.place(name)}: {refusals.of_length(name, str(err))}")
        else:
            self._take_kinds(needed_names(value), asker)
        return True

    def _take_kinds(self, kinds: Mapping[str, object], asker: Asker) -> None:
        """What expressions of plain values name: modules are imported, built-in kinds need only keep their names."""
        for name, kind in kinds.items():
            if isinstance(kind, type) and name not in self.contents.bound:
                self.contents.bound[name] = kind
            else:
                self.take(name, kind, asker)

    def _derived(self, name: str, value: object, asker: Asker) -> bool:
        """A module, or a part of one, that no import statement of the user's was found for."""
        line, first = written_part(name, value, asker.texts, asker.scope)
        if line:
            self.take(first, asker.scope[first], asker)
            self.contents.constants[name] = line
            return True
        found = derived_import(name, value)
        self.contents.imports.update({found: None} if found else {})
        return found is not None

    def _foreign(self, name: str, value: object, asker: Asker) -> bool:
        """A function or class of another module that nothing can import."""
        target = unwrapped(value)
        return isinstance(target, FunctionType | type) and self._defined(name, value, target, asker)

    def _defined(self, name: str, value: object, target: FunctionType | type, asker: Asker) -> bool:
        """Takes a definition, and what it names."""
        pieces, aliases = self.contents.pieces, self.contents.aliases
        if id(value) in pieces:
            aliases.update({name: pieces[id(value)].name} if name != pieces[id(value)].name else {})
            return True
        try:
            definition = definition_of(target)
        except NoDefinitionError as err:
            self.problems.append(f"{asker.place(name)}: {refusals.of_source(name, target, str(err))}")
            return True
        scope = meanings(target)
        hidden = known(scope, scope.maps[0].keys(), definition.around)
        history = History(definition=definition, scope=hidden)
        problem = refusals.of_definition(name, value, definition, is_given=id(value) in self.given)
        if problem := problem or refusals.of_history(name, value, definition, history):
            self.problems.append(f"{asker.place(name)}: {problem}")
            return True
        execution = Execution(definition=definition, value=target, scope=hidden, history=history)
        try:
            definition = replace(definition, text=execution.examine())
            found = free_names(definition.text)
        except SyntaxError:
            self.problems.append(f"{definition.at(1)}: {refusals.of_nonlocal(definition.name)}")
            return True
        own = self.given.get(id(value), definition.name)
        pieces[id(value)] = Piece(definition=definition, name=own, names=found)
        self.contents.postponed |= definition.postponed
        if own != name:
            aliases[name] = own
            self.take(own, value, asker)
        lines = {**found.needed, **found.changed}
        inner = Asker(name=definition.name, definition=definition, scope=hidden, lines=lines)
        self.problems += [f"{definition.at(line)}: {definition.name}: {text}" for line, text in execution.problems]
        self._take_kinds(execution.names, inner)
        if refusals.reads_main(definition.node):
            self.problems.append(f"{inner.place('__name__')}: {refusals.of_main()}")
        before = {n: one for n, one in evaluated(target, definition).items() if n not in execution.written_names}
        self._take_names(found, before, inner)
        return True

    def _take_names(self, found: FreeNames, before: Mapping[str, object], asker: Asker) -> None:
        """Takes what a definition names.

        Args:
            found: its names.
            before: values that some had when it was executed.
            asker: the definition.
        """
        self.problems += [f"{asker.place(name)}: {refusals.of_changed(name)}" for name in found.changed]
        for name in found.needed:
            if name in before:
                self.take(name, before[name], asker)
            if (
                name in _OF_EVERY_MODULE
                or stands_for_builtin(name, asker.scope.get(name))
                or (name in before and name not in found.later)
            ):
                continue
            if problem := refusals.of_name(name):
                self.problems.append(f"{asker.place(name)}: {problem}")
            elif name in asker.scope:
                self.take(name, asker.scope[name], asker)
            elif asker.definition is not None and name in asker.definition.around and name not in found.changed:
                self.problems.append(f"{asker.place(name)}: {refusals.of_around(name)}")
            elif name not in found.changed and not is_builtin(name):
                self._take_injected(name, asker)
        for name in sorted(found.optional):
            if name in asker.scope:
                self._try(name, asker)
            else:
                self.contents.postponed |= not is_builtin(name)

    def _take_injected(self, name: str, asker: Asker) -> None:
        """A name that is not defined, unless a notebook has added it to the built-in ones."""
        import builtins

        if hasattr(builtins, name):
            self.take(name, getattr(builtins, name), asker)
        else:
            self.problems.append(f"{asker.place(name)}: {refusals.of_undefined(name)}")

    def _try(self, name: str, asker: Asker) -> None:
        """Takes what an annotation names if it can be carried; else annotations are not evaluated."""
        before = self.contents.copy()
        problems = len(self.problems)
        self.take(name, asker.scope[name], asker)
        if len(self.problems) > problems:
            del self.problems[problems:]
            self.contents = before
            self.contents.postponed = True
