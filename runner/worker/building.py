"""Builds a trial's model and creates its variables as `fit` does: in its first step.

In `fit` the first step, traced or eager, creates the missing variables of the model, its metrics and its optimizer. It
does so here too, because a model may have no `call`, a batch may be anything, and Python code may read values. Only a
model that may train on another model's trace, so that it may never be traced itself, is built symbolically before.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import TypeVar

import keras

from runner.records import Trial
from runner.worker import private
from runner.worker.data.array_feed import ArrayFeed
from runner.worker.data.feeds import Feed
from runner.worker.experiment import Experiment
from runner.worker.oom import is_out_of_memory
from runner.worker.programs.engine import Built
from runner.worker.validation import check_model, is_plain_keras

T = TypeVar("T")


def build_model(experiment: Experiment, trial: Trial, feed: Feed) -> Built:
    """The trial's compiled model, with initial values and seeds as in `fit`.

    Called when the trial's global state is active and its data loaded.

    Raises:
        Exception: whatever the experiment's code raises, and TypeError or ValueError for what `fit` could not train.
    """
    names = private.automatic_names()
    model = new_model(experiment, trial, feed.splits)
    if trial.has_callbacks or not isinstance(feed, ArrayFeed) or model.run_eagerly or not is_plain_keras(model):
        return Built(model, feed)
    if private.symbolic_build(model, feed.spec()):
        return Built(model, feed)
    private.set_automatic_names(names)  # the model may be half built; its trace shows the error
    return Built(new_model(experiment, trial, feed.splits), feed)


def learning_rate(model: keras.Model) -> float | None:
    """The learning rate that the model is compiled with; None if it has none, or a schedule."""
    rate = None if model.optimizer is None else model.optimizer.learning_rate
    return float(rate) if isinstance(rate, keras.Variable) else None


def optimizer_name(model: keras.Model) -> str:
    """The class of a model's optimizer, with that of the one inside; empty for none."""
    inner = getattr(model.optimizer, "inner_optimizer", None)
    return " ".join(type(one).__name__ for one in (model.optimizer, inner) if one is not None)


def trace_model(experiment: Experiment, trial: Trial, feed: Feed, trace: Callable[[], T]) -> T:
    """Returns what `trace` returns.

    Raises:
        Exception: what `trace` raises. If memory ran out while the trace created variables, Keras may hide that and
            fail later in another way. Then it is the error that says so, from a second model.
    """
    try:
        return trace()
    except Exception as err:
        out_of_memory = None if is_out_of_memory(err) else _memory_error(experiment, trial, feed)
        if out_of_memory is None:
            raise
        raise out_of_memory from err


def _memory_error(experiment: Experiment, trial: Trial, feed: Feed) -> Exception | None:
    try:
        private.symbolic_build(new_model(experiment, trial, feed.splits), feed.spec())
    except Exception as err:  # the trace has reported any other error
        return err if is_out_of_memory(err) else None
    return None


def new_model(experiment: Experiment, trial: Trial, splits: Collection[str]) -> keras.Model:
    """Calls the experiment's `build_model` and checks that the model can train on data with these splits.

    Raises:
        Exception: as `build_model`.
    """
    private.set_seeds(trial.seed)  # so that the data that were loaded before do not change the model
    model = experiment.build_model(trial)
    check_model(model, splits)
    return model
