"""The tensors that a model takes and gives."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from runner.records.json_values import Plain


@dataclass(frozen=True, kw_only=True, slots=True)
class Tensor:
    """One input or output of a model.

    Args:
        name: None if it is the only input or output.
        shape: of a batch; -1 for sizes that vary, such as the first.
    """

    name: str | None
    dtype: str
    shape: tuple[int, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Signature:
    """A model's inputs and outputs; `outputs` is None if the model does not declare them."""

    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...] | None

    @classmethod
    def of(cls, plain: Plain) -> Self:
        """The signature whose `asdict`, read back from JSON, gave these plain values."""
        outputs = plain["outputs"]
        return cls(inputs=_tensors(plain["inputs"]), outputs=None if outputs is None else _tensors(outputs))


@dataclass(frozen=True, kw_only=True, slots=True)
class DataSet:
    """One split of the data of a trial.

    Args:
        split: train, validation or test.
        digest: equal for equal data; of a pipeline, for pipelines of equal batches and length.
        rows: None for a pipeline.
        tensors: the parts of a batch by name (`x`, `y['side']`, `sample_weight`); -1 for sizes that vary.
    """

    split: str
    digest: str
    rows: int | None
    tensors: tuple[Tensor, ...]

    @classmethod
    def of(cls, plain: Plain) -> Self:
        """The data set whose `asdict`, read back from JSON, gave these plain values."""
        return cls(**{**plain, "tensors": _tensors(plain["tensors"])})


def _tensors(plain: Sequence[Plain]) -> tuple[Tensor, ...]:
    return tuple(Tensor(**{**each, "shape": tuple(each["shape"])}) for each in plain)
