"""Describes a trial that was checked: the parts of its data, its optimizer and loss, and whose code its model needs."""

from __future__ import annotations

import keras

from runner.records import Details, Metrics, Split
from runner.worker.data.description import tensors_of
from runner.worker.data.feeds import Feed
from runner.worker.validation import own_parts


def details_of(model: keras.Model, feed: Feed, values: Metrics) -> Details:
    """Describes a model that has trained for a step.

    Args:
        model: compiled.
        feed: its data.
        values: metrics of the first step and of a validation.
    """
    return Details(
        splits=tuple(
            Split(name=name, rows=rows, batches=batches, tensors=tuple(tensors_of(spec)))
            for name, (spec, rows, batches) in feed.shapes().items()
        ),
        model=type(model).__name__,
        optimizer=" and ".join(type(optimizer).__name__ for optimizer in _optimizers(model)),
        loss=_loss(getattr(model, "loss", None)),
        values=values,
        own_parts=own_parts(model),
    )


def _optimizers(model: keras.Model) -> list[keras.optimizers.Optimizer]:
    """Those that have made an update, or else the compiled one: an adversarial model's `compile` keeps its own."""
    found = [part for part in vars(model).values() if isinstance(part, keras.optimizers.Optimizer)]
    used = [optimizer for optimizer in found if int(optimizer.iterations) > 0]
    return used or ([] if model.optimizer is None else [model.optimizer])


def _loss(loss: object) -> str:
    if loss is None or isinstance(loss, str):
        return loss or ""
    if isinstance(loss, dict):
        return ", ".join(f"{name}: {_loss(one)}" for name, one in loss.items())
    if isinstance(loss, list | tuple):
        return ", ".join(map(_loss, loss))
    return str(getattr(loss, "__name__", type(loss).__name__))
