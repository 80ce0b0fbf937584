"""What the check of a trial finds beside the facts that are recorded: its data, and what its model is compiled with."""

from __future__ import annotations

from dataclasses import dataclass

from runner.records.tensors import Tensor
from runner.records.trial import Metrics


@dataclass(frozen=True, kw_only=True, slots=True)
class Split:
    """One split of the data, as steps receive it.

    Args:
        name: train, validation or test.
        rows: number of rows; None for a pipeline.
        batches: of a pipeline; None for arrays, and if the pipeline has no end or does not know its length.
        tensors: the parts of a batch by name (`x`, `y['side']`, `sample_weight`); -1 for sizes that vary.
    """

    name: str
    rows: int | None
    batches: int | None
    tensors: tuple[Tensor, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Details:
    """What a worker's check of a trial shows a person, beside the facts.

    Args:
        splits: the data.
        model: the model's class.
        optimizer: the class of the optimizer; of several that a step uses, each of theirs; empty for none.
        loss: the compiled loss; empty for none, if the model's own steps compute it.
        values: metrics of the first step, and of the validation after it.
        own_parts: names of classes and functions without which plain Keras cannot load the model.
    """

    splits: tuple[Split, ...]
    model: str
    optimizer: str
    loss: str
    values: Metrics
    own_parts: tuple[str, ...] = ()
