"""Checks the names and values of `params`, `search.space` and `search.points` against an experiment's signature."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from runner.config.origins import Key, Origins, Values
from runner.config.overrides import SEARCHABLE, SEARCHED_TRAIN
from runner.config.schema import Train, setting_type
from runner.config.space import Choice, Dimension, Range, dimension_of
from runner.errors import did_you_mean, received
from runner.experiment.annotations import MismatchError, Type, converted
from runner.experiment.signature import Parameter


def canonical(name: str) -> str:
    """One spelling for each searched name: `params.units` is `units`, but a parameter named seed is `params.seed`."""
    bare = name.removeprefix("params.")
    return name if bare == "seed" else bare


def parameter_name(name: str) -> str | None:
    """The experiment's parameter that a canonical name means; None for `seed` and `train.*`."""
    return None if name == "seed" or name.startswith("train.") else name.removeprefix("params.")


@dataclass(frozen=True, kw_only=True, slots=True)
class Names:
    """Checks one member; what is wrong goes to `problems`.

    Args:
        origins: where the config's values came from.
        parameters: the member's parameters.
        everywhere: parameters of all members: a name at the top of a mixed sweep is for those that have it.
        problems: gets a sentence for everything wrong.
    """

    origins: Origins
    parameters: Mapping[str, Parameter]
    everywhere: frozenset[str]
    problems: list[str]

    def params(self, scope: Key, written: Values) -> Values:
        """Fixed values by parameter, converted to the parameters' types."""
        values: Values = {}
        for name, value in written.items():
            key = (*scope, "params", name)
            if self._known(key, name, scope):
                self._add(key, canonical(f"params.{name}"), value, values)
        return {name.removeprefix("params."): value for name, value in values.items()}

    def space(self, scope: Key, written: Values) -> dict[str, Dimension]:
        """Dimensions by canonical name, in the order written."""
        space: dict[str, Dimension] = {}
        for name, text in written.items():
            key = (*scope, "search", "space", name)
            if isinstance(text, dict):
                self._say(key, f"a mapping; write names with dots, such as train.batch_size; got {received(text)}")
                continue
            if not self._searchable(key, name, scope):
                continue
            if canonical(name) in space:
                self._say(key, "searched twice; params.NAME and NAME are the same parameter")
            try:
                space[canonical(name)] = self._checked(canonical(name), dimension_of(text))
            except ValueError as err:
                self._say(key, str(err))
        return space

    def points(self, scope: Key, written: Sequence[Values]) -> tuple[Values, ...]:
        """Each point's values by canonical name."""
        points: dict[str, Values] = {}
        for index, point in enumerate(written):
            values: Values = {}
            for name, value in point.items():
                key = (*scope, "search", "points", str(index), name)
                if self._searchable(key, name, scope):
                    self._add(key, canonical(name), value, values)
            same = points.setdefault(repr(sorted(values.items())), values)
            # In a mixed sweep points may differ only in what other members take.
            if same is not values and len(values) == len(point):
                self._say((*scope, "search", "points", str(index)), "the same point is given twice")
        return tuple(points.values())

    def _say(self, key: Key, what: str) -> None:
        self.problems.append(f"{self.origins.place(*key)}: {what}")

    def _searchable(self, key: Key, name: str, scope: Key) -> bool:
        bare = parameter_name(canonical(name))
        if bare is not None:
            return self._known(key, bare, scope)
        if name == "seed" or name in SEARCHED_TRAIN:
            return True
        self._say(key, f"cannot be searched; only {SEARCHABLE} can")
        return False

    def _known(self, key: Key, name: str, scope: Key) -> bool:
        if name in self.parameters:
            return True
        allowed = self.everywhere if not scope else self.parameters
        if name not in allowed:
            train = Train.model_fields
            hint = did_you_mean(name, allowed)
            if not hint and (close := difflib.get_close_matches(name, train, n=1, cutoff=0.9)):
                hint = f"; did you mean train.{close[0]}?"
            self._say(key, f"the experiment has no such parameter{hint or f'; it has {listed(allowed)}'}")
        return False

    def _add(self, key: Key, name: str, value: object, values: Values) -> None:
        try:
            values[name] = self._converted(name, value)
        except ValueError as err:
            self._say(key, str(err))

    def _checked(self, name: str, dimension: Dimension) -> Dimension:
        if isinstance(dimension, Range):
            bounds = (dimension.low, dimension.high)
            if dimension.whole:
                for bound in bounds:
                    self._converted(name, bound)
                return dimension
            try:
                # Bounds that need conversion show that the parameter takes no float.
                if all(type(self._converted(name, bound)) is float for bound in bounds):
                    return dimension
            except ValueError:
                pass
            raise ValueError(
                f"must be {self._type(name)}, but this search draws floats; use a list, int(low, high) or "
                "logint(low, high)"
            )
        values: Values = {}
        for value in dimension.values:
            item = self._converted(name, value)
            # By text: 1, 1.0 and True are three values, and a list is not hashable.
            if repr(item) in values:
                raise ValueError(f"{received(item)} is listed twice")
            values[repr(item)] = item
        return Choice(tuple(values.values()))

    def _converted(self, name: str, value: object) -> object:
        allowed, bare = self._type(name), parameter_name(name)
        try:
            return converted(value, allowed)
        except MismatchError:
            several = f"{bare}={','.join(map(str, value))}" if bare and isinstance(value, list) and value else ""
            hint = f"; to search several values write params.{several}" if 0 < len(several) <= 80 else ""
            raise ValueError(f"must be {allowed}; got {received(value)}{hint}") from None

    def _type(self, name: str) -> Type:
        bare = parameter_name(name)
        return setting_type(name) if bare is None else self.parameters[bare].type


def listed(names: Iterable[str]) -> str:
    """Names for an error message."""
    return ", ".join(sorted(names)) or "none"
