"""Writes and reads a seat's state: arrays by role and order in one `.npz`, the rest as JSON text. No pickle."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
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
        arrays: values by role, in the order of `variables.by_role`; with role "best" if the best weights are kept.
        randomness: of the trial's own global state.
    """

    round: int
    step: int
    turn_end: int | None
    epochs: tuple[Epoch, ...]
    arrays: Mapping[str, Sequence[np.ndarray]]
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
