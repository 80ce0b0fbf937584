"""What a worker takes over from one sweep to the next: the same code, its programs, and the data that they read.

A worker is used for another sweep only if nothing of the first can be seen in it (`leftovers`). A program is found by
the fingerprint of its model, but it reads the arrays that it was traced with, and a file that `load_data` reads may
have changed. So the next sweep loads its data, and gets the former arrays and programs only if every byte is equal.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field

import keras
import numpy as np

from runner.worker.data.array_feed import Resident
from runner.worker.data.arrays import ArrayData, ArraySplit
from runner.worker.data.feeds import SPLITS
from runner.worker.experiment import Experiment
from runner.worker.programs.engine import Engines
from runner.worker.shared_parts import SharedParts
from runner.worker.stacking.stacks import Stacks

_MOST_BYTES = 256 * 1024 * 1024  # what is larger takes memory from the next sweep, and gains less from a saved trace


@dataclass(slots=True)
class CarryOver:
    """Code, programs and data of an earlier sweep.

    Args:
        experiments: by the identity of their source.
        engines: traced for trials of these.
        stacks: programs of several of their models.
        residents: data that the engines were traced with and no trial of this sweep has asked for, by its key.
    """

    experiments: dict[str, Experiment] = field(default_factory=dict)
    engines: Engines = field(default_factory=Engines)
    stacks: Stacks = field(default_factory=Stacks)
    residents: dict[str, Resident] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        experiments: dict[str, Experiment],
        engines: Engines,
        stacks: Stacks,
        residents: Mapping[str, Resident],
    ) -> CarryOver:
        """What is taken over from a sweep whose trials have left their seats; nothing large."""
        for experiment in experiments.values():
            experiment.shared_parts = SharedParts()
        engines.release(residents)
        stacks.keep(residents)
        size = engines.nbytes + sum(_nbytes(resident.data) for resident in residents.values())
        if size > _MOST_BYTES:
            return cls(experiments)
        return cls(experiments, engines, stacks, dict(residents))

    def resident(self, key: str, loaded: ArrayData) -> Resident:
        """The data of this key: those of the earlier sweep if they are equal, else the loaded ones.

        Side effects:
            Drops the programs of the earlier data if they differ.
        """
        before = self.residents.pop(key, None)
        if before is not None and _is_equal(before.data, loaded):
            return before
        self.engines.drop(key)
        self.stacks.drop(key)
        return Resident(loaded)

    def keep(self, data_keys: Collection[str]) -> None:
        """Drops data with other keys, and their idle programs."""
        self.residents = {key: resident for key, resident in self.residents.items() if key in data_keys}
        self.engines.release(data_keys)
        self.stacks.keep(data_keys)


def _splits(data: ArrayData) -> Iterator[ArraySplit | None]:
    return (getattr(data, name) for name in SPLITS)


def _nbytes(data: ArrayData) -> int:
    leaves = [leaf for split in _splits(data) if split is not None for leaf in keras.tree.flatten(split.tensors)]
    return sum(leaf.nbytes for leaf in leaves if leaf is not None)


def _is_equal(one: ArrayData, other: ArrayData) -> bool:
    return all(_is_equal_split(a, b) for a, b in zip(_splits(one), _splits(other), strict=True))


def _is_equal_split(one: ArraySplit | None, other: ArraySplit | None) -> bool:
    if one is None or other is None:
        return one is other
    try:
        keras.tree.assert_same_structure(one.tensors, other.tensors)
    except (TypeError, ValueError):
        return False
    pairs = zip(keras.tree.flatten(one.tensors), keras.tree.flatten(other.tensors), strict=True)
    return all(_is_equal_array(a, b) for a, b in pairs)


def _is_equal_array(one: np.ndarray | None, other: np.ndarray | None) -> bool:
    """Whether every bit is equal; arrays of text and other objects count as different."""
    if one is None or other is None:
        return one is other
    if one.dtype != other.dtype or one.shape != other.shape or one.dtype.hasobject:
        return False
    return bool(np.array_equal(_bytes(one), _bytes(other)))


def _bytes(array: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8)
