"""How a trial's model comes to have its variables: as under `fit`, by its first step.

Under `fit` the step that is traced, or run where steps are eager, creates what the model, its metrics and its optimizer
lack. So it is here: a model may have no `call`, a batch may be anything, and Python code may ask for values. Only a
model that may train on another's trace, and so may never be traced itself, is built symbolically before.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any, TypeVar

from runner.records import Trial
from runner.worker import private
from runner.worker.data.feeds import ArrayFeed, Feed
from runner.worker.experiment import Experiment
from runner.worker.oom import is_out_of_memory
from runner.worker.programs.engine import Built
from runner.worker.validation import check_model, is_plain_keras

T = TypeVar("T")


def build_model(experiment: Experiment, trial: Trial, feed: Feed) -> Built:
    """The trial's compiled model, with initial values and seeds as under `fit`.

    Called with the trial's global state in place, its data made.

    Raises:
        Exception: whatever the experiment's code raises, and TypeError or ValueError for what `fit` could not train.
    """
    names = private.automatic_names()
    model = made(experiment, trial, feed.splits)
    if not isinstance(feed, ArrayFeed) or model.run_eagerly or not is_plain_keras(model):
        return Built(model, feed)
    if private.symbolic_build(model, feed.spec()):
        return Built(model, feed)
    private.set_automatic_names(names)  # the attempt may have left it half built; its trace says what is wrong
    return Built(made(experiment, trial, feed.splits), feed)


def traced(experiment: Experiment, trial: Trial, feed: Feed, trace: Callable[[], T]) -> T:
    """What `trace` returns.

    Raises:
        Exception: what `trace` raises. If memory ran out while the trace created variables, Keras may hide that and
            fail later in another way; then the error that a model made again raises, which says so.
    """
    try:
        return trace()
    except Exception as err:
        shortage = None if is_out_of_memory(err) else _shortage(experiment, trial, feed)
        if shortage is None:
            raise
        raise shortage from err


def _shortage(experiment: Experiment, trial: Trial, feed: Feed) -> Exception | None:
    try:
        private.symbolic_build(made(experiment, trial, feed.splits), feed.spec())
    except Exception as err:  # whatever else is wrong, the trace has said it
        return err if is_out_of_memory(err) else None
    return None


def made(experiment: Experiment, trial: Trial, splits: Collection[str]) -> Any:
    """The trial's compiled model as `build_model` returns it, for data with these splits.

    Raises:
        Exception: as `build_model`.
    """
    private.set_seeds(trial.seed)  # the model begins as if no data had been made before it
    model = experiment.build_model(trial)
    check_model(model, splits)
    return model
