"""What is known of a trial once its model is built and its data loaded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Self

from runner.records.json_values import Plain
from runner.records.tensors import DataSet, Signature

ProgramKind = Literal["round", "stream", "plain"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Facts:
    """What is known of a trial once its model is built and its data loaded; fixed before its first step.

    Args:
        steps_per_epoch: optimizer steps per epoch.
        rows: training rows; None for a dataset of unknown length.
        validation_rows: validation rows; None for none or unknown.
        parameters: number of the model's weights, trainable and not.
        program: how its steps run: "round" (compiled rounds over arrays in memory), "stream" (compiled rounds over a
            `tf.data` pipeline) or "plain" (one call per step).
        program_reason: why it is not "round"; empty if it is.
        inexact: why a repetition may differ, in the last bits or more; empty for an exact trial.
        summary: the model's summary as text.
        batch: a Python expression for the specs (`tf.TensorSpec`) of a training batch; empty if a part of the batch is
            not a tensor.
        loadable: whether plain `keras.models.load_model` can load the exported model without the user's code.
        signature: None for a model that does not declare its inputs.
        weights_bytes: size of the weights; 0 if unknown.
        state_bytes: size of everything that training changes: weights, optimizer state, metrics.
        compile: how its steps run if the model decides it: "eager" for `run_eagerly`, "xla" for `jit_compile`; empty if
            `train.compile` decides it.
        outside: files that the experiment's code has imported and that are neither in its folder nor installed.
        data: the splits that it is trained and validated on.
        stack: models of the program in which it trains; 1 for one of its own.
        stack_reason: why it has one of its own although a stack was wanted; empty if it was not.
        stack_difference: the largest relative difference of a loss in the stack from that of the lone model, over ten
            steps.
    """

    steps_per_epoch: int
    rows: int | None
    validation_rows: int | None
    parameters: int
    program: ProgramKind
    program_reason: str
    inexact: str
    summary: str
    loadable: bool
    batch: str = ""
    signature: Signature | None = None
    weights_bytes: int = 0
    state_bytes: int = 0
    compile: Literal["", "eager", "xla"] = ""
    outside: tuple[str, ...] = ()
    data: tuple[DataSet, ...] = ()
    stack: int = 1
    stack_reason: str = ""
    stack_difference: float = 0.0

    @classmethod
    def of(cls, plain: Plain) -> Self:
        """The facts whose `to_json` gave these plain values."""
        signature = plain.get("signature")
        typed = {
            "signature": None if signature is None else Signature.of(signature),
            "data": tuple(DataSet.of(one) for one in plain.get("data", ())),
        }
        return cls(**{**plain, **typed, "outside": tuple(plain.get("outside", ()))})
