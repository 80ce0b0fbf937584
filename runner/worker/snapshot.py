"""Writes and reads a seat's state: arrays by role and order in one `.npz`, the rest as JSON text. No pickle."""

from __future__ import annotations

import io
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeAlias

import keras
import numpy as np

from runner.records import Epoch
from runner.worker.global_state import RandomState
from runner.worker.variables import Variable

_META = "meta"
Roles: TypeAlias = Mapping[str, Sequence[Variable]]
"""Variables by role, as `variables.by_role` returns them."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SeatState:
    """The state of a seat that its trial's code cannot rebuild.

    Args:
        round: turns completed.
        step: optimizer steps done.
        turn_end: the step at which an interrupted turn ends; None between two turns.
        epochs: that have ended in it.
        steps_per_epoch: optimizer steps per epoch.
        learning_rate: that its model was built with; None for a schedule.
        optimizer: the class of its optimizer.
        arrays: values by role, in the order of `variables.by_role`; with role "best" if the best weights are kept.
        names: of the variables, by role. They tell layers apart if another model has another number of them.
        randomness: of the trial's own global state.
    """

    round: int
    step: int
    turn_end: int | None
    epochs: tuple[Epoch, ...]
    steps_per_epoch: int
    learning_rate: float | None
    optimizer: str
    arrays: Mapping[str, Sequence[np.ndarray]]
    names: Mapping[str, Sequence[str]]
    randomness: RandomState


def read(roles: Roles) -> dict[str, list[np.ndarray]]:
    """The variables' values."""
    return {
        role: [np.array(keras.ops.convert_to_numpy(variable)) for variable in variables]
        for role, variables in roles.items()
    }


def fits(roles: Roles, arrays: Mapping[str, Sequence[np.ndarray]]) -> bool:
    """Whether each value has a variable of the same shape, and each variable a value."""
    return all(_shapes(variables) == _shapes(arrays.get(role, ())) for role, variables in roles.items())


def write(roles: Roles, arrays: Mapping[str, Sequence[np.ndarray]]) -> None:
    """Assigns the values to the variables.

    Raises:
        ValueError: the values are of another model; the message names the role and what differs. Nothing is assigned.
    """
    for role, variables in roles.items():
        have, want = _shapes(arrays.get(role, ())), _shapes(variables)
        if have != want:
            raise ValueError(
                f"the snapshot has {len(have)} {role} variables of shapes {have}, the rebuilt model {len(want)} of "
                f"{want}; variables that are created while training cannot be restored from a snapshot"
            )
    for role, variables in roles.items():
        for variable, value in zip(variables, arrays[role], strict=True):
            variable.assign(of_type(value, variable))


def write_fitting(roles: Roles, state: SeatState, optimizer: str) -> None:
    """Assigns values of another model to the variables that have their shapes; the others stay.

    Variables correspond by their order if both models have the same number of them, else by their names. Those of an
    optimizer of another class mean something else.

    Args:
        roles: the variables.
        state: has the values.
        optimizer: the class of this model's optimizer.
    """
    for role, variables in roles.items():
        if role == "optimizer" and state.optimizer != optimizer:
            continue
        values = state.arrays.get(role, ())
        if len(values) == len(variables):
            pairs = list(zip(variables, values, strict=True))
        else:
            named = dict(zip(_counted(state.names.get(role, ())), values, strict=False))
            counted = _counted(map(_name, variables))
            pairs = [(one, named[name]) for one, name in zip(variables, counted, strict=True) if name in named]
        for variable, value in pairs:
            if tuple(value.shape) == tuple(variable.shape):
                variable.assign(of_type(value, variable))


def write_first(roles: Roles, arrays: Mapping[str, Sequence[np.ndarray]]) -> None:
    """Assigns the values to the first variables of each role; those that are new since the values were read follow."""
    for role, values in arrays.items():
        for variable, value in zip(roles[role], values, strict=False):
            if tuple(value.shape) == tuple(variable.shape):
                variable.assign(of_type(value, variable))


def names(roles: Roles) -> dict[str, list[str]]:
    """The variables' names."""
    return {role: list(map(_name, variables)) for role, variables in roles.items()}


def _name(variable: Variable) -> str:
    return str(variable.path if isinstance(variable, keras.Variable) else variable.name)


def _counted(found: Iterable[str]) -> list[tuple[str, int]]:
    """Each name with how often it came before, so that equal names differ."""
    seen: Counter[str] = Counter()
    counted = []
    for name in found:
        counted.append((name, seen[name]))
        seen[name] += 1
    return counted


def of_type(value: np.ndarray, variable: Variable) -> np.ndarray:
    """A value with the dtype of its variable, because a file knows bfloat16 and the like by their size only."""
    return value.view(_dtype(variable)) if value.dtype.kind == "V" else value


def pack(state: SeatState, file: Path) -> None:
    """Writes the state as an `.npz`."""
    arrays: dict[str, Any] = {
        f"{role}/{index}": value for role, values in state.arrays.items() for index, value in enumerate(values)
    }
    random, (name, keys, *position) = state.randomness, state.randomness.numpy
    arrays["random/numpy"] = keys
    if random.keras is not None:
        arrays["random/keras"] = random.keras
    meta = {
        "round": state.round,
        "step": state.step,
        "turn_end": state.turn_end,
        "epochs": [asdict(epoch) for epoch in state.epochs],
        "steps_per_epoch": state.steps_per_epoch,
        "learning_rate": state.learning_rate,
        "optimizer": state.optimizer,
        "names": state.names,
        "counts": {role: len(values) for role, values in state.arrays.items()},
        "python": random.python,
        "numpy": [name, *position],
    }
    arrays[_META] = np.frombuffer(json.dumps(meta).encode(), np.uint8)
    np.savez(file, **arrays)


def unpack(content: bytes | Path) -> SeatState:
    """The inverse of `pack`, of a file or of its bytes."""
    with np.load(content if isinstance(content, Path) else io.BytesIO(content), allow_pickle=False) as file:
        meta = json.loads(file[_META].tobytes())
        version, internal, gauss = meta["python"]
        name, *position = meta["numpy"]
        return SeatState(
            round=meta["round"],
            step=meta["step"],
            turn_end=meta["turn_end"],
            epochs=tuple(Epoch(**epoch) for epoch in meta.get("epochs", ())),
            steps_per_epoch=meta.get("steps_per_epoch", 0),
            learning_rate=meta.get("learning_rate"),
            optimizer=meta.get("optimizer", ""),
            names=meta.get("names", {}),
            arrays={
                role: [file[f"{role}/{index}"] for index in range(count)] for role, count in meta["counts"].items()
            },
            randomness=RandomState(
                python=(version, tuple(internal), gauss),
                numpy=(name, file["random/numpy"], *position),
                keras=file["random/keras"] if "random/keras" in file.files else None,
            ),
        )


def _shapes(values: Sequence[Variable]) -> list[tuple[int, ...]]:
    return [tuple(value.shape) for value in values]


def _dtype(variable: Variable) -> np.dtype:
    dtype: np.dtype = keras.ops.convert_to_numpy(variable).dtype
    return dtype
