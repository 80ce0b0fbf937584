"""Checks the names and values of `params`, `search.space` and `search.points` against an experiment's signature."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from runner.config.origins import Key, Origins
from runner.config.overrides import SEARCHABLE, SEARCHED_TRAIN
from runner.config.schema import MAX_SEED, Train
from runner.config.space import Choice, Dimension, Uniform, dimension_of
from runner.errors import did_you_mean, received
from runner.experiment.annotations import MismatchError, converted
from runner.experiment.signature import Parameter

_MAX_COUNT = 2**31


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

    def params(self, scope: Key, written: Mapping[str, Any]) -> dict[str, Any]:
        """Fixed values by parameter, converted to the parameters' types."""
        values: dict[str, Any] = {}
        for name, value in written.items():
            key = (*scope, "params", name)
            if self._known(key, name, scope):
                self._value(key, name, value, values)
        return values

    def space(self, scope: Key, written: Mapping[str, Any]) -> dict[str, Dimension]:
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
                dimension = self._checked(key, canonical(name), dimension_of(text))
            except ValueError as err:
                self._say(key, str(err))
            else:
                if dimension is not None:
                    space[canonical(name)] = dimension
        return space

    def points(self, scope: Key, written: Sequence[Mapping[str, Any]]) -> tuple[dict[str, Any], ...]:
        """Each point's values by canonical name."""
        points: dict[str, dict[str, Any]] = {}
        for index, point in enumerate(written):
            values: dict[str, Any] = {}
            for name, value in point.items():
                key = (*scope, "search", "points", str(index), name)
                if self._searchable(key, name, scope):
                    self._value(key, canonical(name), value, values)
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
            if not hint and (name in train or difflib.get_close_matches(name, train, n=1, cutoff=0.9)):
                hint = f"; did you mean train.{difflib.get_close_matches(name, train, n=1)[0]}?"
            self._say(key, f"the experiment has no such parameter{hint or f'; it has {listed(allowed)}'}")
        return False

    def _value(self, key: Key, name: str, value: Any, values: dict[str, Any]) -> None:
        try:
            values[name] = self._converted(name, value)
        except ValueError as err:
            self._say(key, str(err))

    def _checked(self, key: Key, name: str, dimension: Dimension) -> Dimension | None:
        if isinstance(dimension, Uniform):
            try:
                # Bounds that need conversion show that the parameter takes no float.
                if all(type(self._converted(name, bound)) is float for bound in (dimension.low, dimension.high)):
                    return dimension
            except ValueError:
                pass
            wanted = self._allowed(name)
            self._say(key, f"must be {wanted}, but this search draws floats; use a list or range(start, stop)")
            return None
        values: dict[str, Any] = {}
        for value in dimension.values:
            try:
                item = self._converted(name, value)
            except ValueError as err:
                self._say(key, str(err))
                return None
            # By text: 1, 1.0 and True are three values, and a list is not hashable.
            if repr(item) in values:
                self._say(key, f"{received(item)} is listed twice")
                return None
            values[repr(item)] = item
        return Choice(tuple(values.values()))

    def _converted(self, name: str, value: Any) -> Any:
        bare = parameter_name(name)
        if bare is None:
            return self._setting(name, value)
        try:
            return converted(value, self.parameters[bare].type)
        except MismatchError:
            several = f"{bare}={','.join(map(str, value))}" if isinstance(value, list) and value else ""
            hint = f"; to search several values write params.{several}" if 0 < len(several) <= 80 else ""
            raise ValueError(f"must be {self._allowed(name)}; got {received(value)}{hint}") from None

    def _setting(self, name: str, value: Any) -> Any:
        whole = isinstance(value, int) and not isinstance(value, bool)
        if name == "seed":
            fits = whole and 0 <= value <= MAX_SEED
        else:
            fits = (whole and 0 < value <= _MAX_COUNT) or (value is None and name == "train.steps_per_epoch")
        if not fits:
            raise ValueError(f"must be {self._allowed(name)}; got {received(value)}")
        return value

    def _allowed(self, name: str) -> str:
        bare = parameter_name(name)
        if bare is not None:
            return str(self.parameters[bare].type)
        return f"a whole number from 0 to {MAX_SEED}" if name == "seed" else "a whole number above 0"


def listed(names: Iterable[str]) -> str:
    """Names for an error message."""
    return ", ".join(sorted(names)) or "none"
