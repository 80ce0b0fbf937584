"""The callbacks of a trial, called in the order and with the logs of `fit`.

Source: keras 3.15, `keras/src/backend/tensorflow/trainer.py` (`fit`, `evaluate`) and `keras/src/callbacks`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import keras

from runner.records import Trial
from runner.worker import private
from runner.worker.metrics import as_numbers, flat
from runner.worker.programs.base import Logs
from runner.worker.trial_files import TrialRecorder

_TRAIN_BATCH = ("on_train_batch_begin", "on_train_batch_end", "on_batch_begin", "on_batch_end")
_TEST_BATCH = ("on_test_batch_begin", "on_test_batch_end")
_WRITES = {"ModelCheckpoint": "filepath", "CSVLogger": "filename", "TensorBoard": "log_dir"}
Warn = Callable[[str], None]


class TrialCallbacks:
    """Calls the callbacks of one trial.

    Args:
        made: what the experiment's `callbacks` has returned.
        trial: whose callbacks they are.
        model: its model; no other trial trains it.
        steps: optimizer steps per epoch.
        recorder: takes what the callbacks record.
        warn: shows a warning to the user.

    Attributes:
        why_stepwise: why each step is a call of its own; empty if no callback wants to be called for it.
        inexact: why a repetition may differ; empty if it does not.

    Raises:
        TypeError: it is no list of callbacks.
        ValueError: one of them cannot work here.
    """

    def __init__(
        self, made: object, trial: Trial, model: keras.Model, steps: int, recorder: TrialRecorder, warn: Warn
    ) -> None:
        given = checked_callbacks(made)
        self._recorder, self._warn, self._trial = recorder, warn, trial
        self._last = _LastLogs()
        self._model = model
        self._has_ended = False
        self._ahead: list[str] = []  # hooks of the first step that were called before it was traced
        self._logs: dict[str, Any] = {}  # of the last epoch, as `fit` has them
        with recorder.active():
            self._list = keras.callbacks.CallbackList(
                given, add_history=True, model=model, verbose=0, epochs=trial.train.epochs, steps=steps
            )
            self._last.set_model(model)
            self._list.callbacks.append(self._last)
        train, test = (list(_wanting(given, hooks)) for hooks in (_TRAIN_BATCH, _TEST_BATCH))
        self.why_stepwise = f"callbacks: {train[0]} is called for each step" if train else ""
        self._has_batches, self._has_test_batches = bool(train), bool(test)
        if train and model.steps_per_execution != 1:
            raise ValueError(
                f"{train[0]} is called for each step, and the model is compiled with "
                f"steps_per_execution={model.steps_per_execution}; leave that out"
            )
        own = [type(one).__name__ for one in given if not _is_known(one)]
        self.inexact = f"callbacks: the code of {own[0]} is not examined for hidden random state" if own else ""
        for text in _shared_files(given, recorder):
            warn(text)

    @property
    def stops(self) -> bool:
        """Whether a callback has asked to stop training."""
        return bool(self._model.stop_training)

    @property
    def is_stepwise(self) -> bool:
        """Whether the next call must be a single step: after each, `fit` asks callbacks whether to go on."""
        return self._has_batches or self.stops

    def begin(self) -> None:
        """Before the first step is traced: calls the hooks that come before it in `fit`; they may change the model."""
        self._model.stop_training = False
        self._call("on_train_begin")
        self.begin_epoch(0)
        self.begin_step(0)
        self._ahead = ["turn", "epoch", "step"]

    def begin_turn(self) -> None:
        """Before a turn: training goes on although a callback has ended it."""
        if not self._is_ahead("turn"):
            self._model.stop_training = self._has_ended = False

    def begin_epoch(self, epoch: int) -> None:
        """Before the first step of an epoch, from 0."""
        if not self._is_ahead("epoch"):
            self._call("on_epoch_begin", epoch)

    def begin_step(self, step: int) -> None:
        """Before a step of an epoch, from 0, if a callback wants that."""
        if self._has_batches and not self._is_ahead("step"):
            self._call("on_train_batch_begin", step)

    def end_step(self, step: int, logs: Logs) -> None:
        """After it."""
        if self._has_batches:
            self._call("on_train_batch_end", step, logs)

    def around(self, evaluate: Callable[[BatchHooks | None], Logs]) -> Logs:
        """Calls the hooks of a validation around it; returns its logs.

        Args:
            evaluate: does so, calling hooks for each batch if it gets them.
        """
        self._model.stop_evaluating = False
        self._call("on_test_begin")
        wants = self._has_test_batches or self._model.stop_evaluating  # which `fit` reads after each batch
        logs = evaluate(BatchHooks(self._call, self._model) if wants else None)
        self._call("on_test_end", logs)
        return logs

    def end_epoch(self, epoch: int, logs: Mapping[str, Any]) -> dict[str, float]:
        """After an epoch, from 0; returns the epoch's metrics with what the callbacks have added.

        Args:
            epoch: its number.
            logs: as `fit` has them.
        """
        self._logs = dict(logs)
        self._call("on_epoch_end", epoch, self._logs)
        found, logged = self._numbers(self._last.logs), self._recorder.taken()
        if taken := sorted(found.keys() & logged.keys()):
            raise ValueError(f"log_metric: the epoch has a metric {taken[0]!r} already; give yours another name")
        return found | logged

    def end(self) -> dict[str, float]:
        """After training, with averaged weights in place, once; returns what the callbacks have logged."""
        if self._has_ended:
            return {}
        self._has_ended = True
        self._call("on_train_end", self._logs)
        return self._recorder.taken()

    @property
    def restored_epoch(self) -> int | None:
        """The epoch, from 1, whose weights Keras' EarlyStopping has put in place at the end; None if it has not."""
        stopping = [one for one in self._list.callbacks if isinstance(one, keras.callbacks.EarlyStopping)]
        restored = [one.best_epoch + 1 for one in stopping if one.restore_best_weights and one.best_weights is not None]
        return restored[-1] if restored else None

    def _is_ahead(self, what: str) -> bool:
        """Whether it was done before the first step was traced; true once."""
        if what not in self._ahead:
            return False
        self._ahead.remove(what)
        return True

    def _call(self, hook: str, *arguments: object) -> None:
        with self._recorder.active():
            getattr(self._list, hook)(*arguments)

    def _numbers(self, logs: Mapping[str, Any]) -> dict[str, float]:
        found: dict[str, float] = {}
        for name, value in flat(logs).items():
            try:
                found |= as_numbers({name: value})
            except (TypeError, ValueError):
                kind = type(value).__name__
                self._warn(f"callbacks: {name!r} in logs is a {kind}, and only numbers are recorded as metrics")
        return found


class BatchHooks:
    """Called for each batch of a validation."""

    def __init__(self, call: Callable[..., None], model: keras.Model) -> None:
        self._call, self._model = call, model

    def begin(self, batch: int) -> None:
        """Before a batch, from 0."""
        self._call("on_test_batch_begin", batch)

    def end(self, batch: int, logs: Logs) -> bool:
        """After it; returns whether a callback has asked to stop evaluating."""
        self._call("on_test_batch_end", batch, logs)
        return bool(self._model.stop_evaluating)


class _LastLogs(keras.callbacks.Callback):  # type: ignore[misc]
    """The last callback: has the logs of the last epoch with what the others have added, as `History` has them."""

    def __init__(self) -> None:
        super().__init__()
        self.logs: dict[str, Any] = {}

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """As `keras.callbacks.Callback.on_epoch_end`."""
        self.logs = dict(logs or {})


def checked_callbacks(made: object) -> list[keras.callbacks.Callback]:
    """What an experiment's `callbacks` has returned, as a list.

    Raises:
        TypeError: it is no list of callbacks.
        ValueError: one of them cannot work here.
    """
    listed = keras.tree.flatten(made) if isinstance(made, list | tuple) else [made]
    for one in listed:
        if not isinstance(one, keras.callbacks.Callback):
            what = "None" if made is None else f"a {type(made).__name__} with a {type(one).__name__}"
            what = what if made is None or isinstance(made, list | tuple) else f"a {type(made).__name__}"
            raise TypeError(f"callbacks returned {what}; return a list of keras.callbacks.Callback")
        if getattr(one, "_model", None) is not None:
            raise ValueError(
                f"callbacks returned a {type(one).__name__} that another trial has used; make a new one in callbacks()"
            )
        if isinstance(one, keras.callbacks.BackupAndRestore):
            raise ValueError(
                "callbacks returned a BackupAndRestore; leave it out, because the runner itself brings trials back"
            )
    return list(listed)


def _wanting(given: list[keras.callbacks.Callback], hooks: tuple[str, ...]) -> Iterator[str]:
    """Callbacks that do something for each batch, with the hook."""
    for one in given:
        for hook in hooks:
            if not private.is_default_hook(getattr(one, hook)) and not _is_idle(one):
                yield f"{type(one).__name__}.{hook}"


def _is_idle(one: keras.callbacks.Callback) -> bool:
    """Whether one of Keras' callbacks has hooks for batches that do nothing at its settings."""
    if type(one) is keras.callbacks.ModelCheckpoint:
        return bool(one.save_freq == "epoch")
    if type(one) is keras.callbacks.TensorBoard:
        return one.update_freq == "epoch" and not one.write_steps_per_second and not private.has_profiler(one)
    return type(one) is keras.callbacks.ProgbarLogger  # shows nothing, because `verbose` is 0


def _is_known(one: keras.callbacks.Callback) -> bool:
    """Whether it is one of Keras' own, without code of the user's."""
    return type(one).__module__.startswith("keras.") and type(one) is not keras.callbacks.LambdaCallback


def _shared_files(given: list[keras.callbacks.Callback], recorder: TrialRecorder) -> Iterator[str]:
    """A sentence for each of Keras' callbacks that writes outside of the trial's folder."""
    for one in given:
        attribute = next((_WRITES[kind.__name__] for kind in type(one).__mro__ if kind.__name__ in _WRITES), "")
        written = str(getattr(one, attribute, None) or "") if attribute else ""
        if written and "://" not in written and not Path(written).absolute().is_relative_to(recorder.folder.absolute()):
            yield (
                f"{type(one).__name__} writes to {written}, which all trials share; write to runner.trial_folder(), "
                "which each trial has for itself"
            )
