"""Runs the steps of the trial that holds a seat: a check, or turns with validation at the end of epochs."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial

import keras

from runner.records import Checked, Epoch, Report, Turn, Work
from runner.worker import memory, private
from runner.worker.data.stream_feed import StreamFeed
from runner.worker.details import details_of
from runner.worker.metrics import as_numbers, flat
from runner.worker.programs.base import Logs, as_arrays
from runner.worker.seat import Seat
from runner.worker.startup import peak_memory_mib
from runner.worker.turn_clock import TurnClock, step_time_s
from runner.worker.validation import sizes_of


def check(seat: Seat, until_s: float) -> Checked:
    """Tries one training step and a validation, and times training. The seat is of no further use.

    Args:
        seat: a new one.
        until_s: when a validation of unknown length must have ended, in seconds since the epoch.
    """
    began = time.perf_counter()
    feed, engine = seat.feed, seat.engine
    if isinstance(feed, StreamFeed):
        feed.evaluate_until_s = until_s
    with seat.active():
        _begin_epoch(seat)
        logs = _steps(seat, 1)
        trace_s = seat.trace_s + time.perf_counter() - began
        metrics = _metrics_of_epoch(seat, logs, validates="validation" in feed.splits)
        if seat.callbacks is not None:
            seat.callbacks.end()
        if isinstance(feed, StreamFeed) and "test" in feed.splits:
            feed.check_that_it_ends("test")
        details = details_of(engine.model, feed, dict(metrics))
        step_s = step_time_s(lambda count: as_arrays(engine.program.run(feed.place, 0, count)))
    weights, state = sizes_of(engine.model)
    facts = replace(seat.facts, weights_bytes=weights, state_bytes=state)
    return Checked(
        trial_id=seat.trial.id, facts=facts, metrics=tuple(metrics), step_s=step_s, trace_s=trace_s, details=details
    )


def advance(seat: Seat, work: Work, stopping: Callable[[], bool] = lambda: False) -> Report | None:
    """Runs one turn: a part of an epoch or whole ones, with validation at the end of each that has one.

    Args:
        seat: of the trial.
        work: the order. For an interrupted turn only the rest is run, because the order was obeyed when it began.
        stopping: called between two calls; interrupts the turn if true.

    Returns:
        None for an interrupted turn.
    """
    started, progress, clock = time.time(), seat.progress, seat.clock
    memory.reset_gpu_peak()
    with seat.active() as swap_s:
        if progress.turn_end is None:
            begin_turn(seat, work)
        if work.until is not None:
            progress.turn_end = work.until
        clock.begin(is_limited=work.until is None)
        if seat.callbacks is not None:
            seat.callbacks.begin_turn()
        running = _run(seat, stopping)
        if progress.turn_end is not None:
            return None
        ends = seat.callbacks is not None and has_diverged(running)  # without an export, with which training would end
        logged = seat.callbacks.end() if seat.callbacks is not None and ends else {}
    turn = turn_of(clock, started, swap_s)
    report = report_of(seat, work, turn, running)
    if seat.callbacks is None:
        return report
    files = seat.recorder.files() if seat.recorder is not None and ends else None
    return replace(report, stops=seat.callbacks.stops, logged=logged, files=files)


def turn_of(clock: TurnClock, started_s: float, swap_s: float, share: float = 1.0) -> Turn:
    """The record of a turn that ends now, without the time to make the seat.

    Args:
        clock: of the turn.
        started_s: seconds since the Unix epoch.
        swap_s: seconds of the exchange of variables.
        share: a trial's part of the times, so that those of trials that train together add up.
    """
    return Turn(
        pid=os.getpid(),
        started_s=started_s,
        ended_s=time.time(),
        compute_s=clock.compute_s * share,
        evaluate_s=clock.evaluate_s * share,
        swap_s=swap_s * share,
        memory_mib=peak_memory_mib(),
        gpu_memory_mib=memory.gpu_peak_mib(),
    )


def report_of(seat: Seat, work: Work, turn: Turn, running: Mapping[str, float]) -> Report:
    """The report of a turn that has ended, of a trial without callbacks.

    Args:
        seat: of the trial.
        work: the order.
        turn: without the time to make the seat.
        running: the metrics of the present epoch so far.
    """
    progress = seat.progress
    epochs, progress.epochs = tuple(progress.epochs), []
    progress.round = work.round + 1
    is_first = work.round == 0 or work.clone is not None  # of its model
    return Report(
        trial_id=seat.trial.id,
        round=work.round,
        step=progress.step,
        epoch=seat.epoch,
        running=running,
        epochs=epochs,
        turn=replace(turn, seat_s=seat.seat_s if is_first else 0.0),
        facts=seat.facts if is_first else None,
    )


def has_diverged(metrics: Mapping[str, float]) -> bool:
    """Whether the loss is not finite."""
    return not math.isfinite(metrics.get("loss", 0.0))


def begin_turn(seat: Seat, work: Work) -> None:
    """Obeys an order's wishes about weights and learning rate, and sets where the turn ends. The seat is active."""
    if work.keep_best:
        seat.keep_best()
    if work.learning_rate is not None:
        seat.engine.model.optimizer.learning_rate = work.learning_rate
    if seat.progress.is_cut:
        seat.skip_rest_of_epoch()
    step, length = seat.progress.step, seat.feed.steps_per_epoch
    turn_end = step + seat.trial.train.steps_in_turn(length, step)
    seat.progress.turn_end = turn_end if work.last_epoch is None else min(turn_end, work.last_epoch * length)


def _run(seat: Seat, stopping: Callable[[], bool]) -> dict[str, float]:
    """Makes calls until the turn ends, with its last step or with an epoch, or `stopping` is true.

    Returns:
        The metrics of the epoch so far.
    """
    progress, clock, running = seat.progress, seat.clock, dict[str, float]()
    while progress.turn_end is not None and not stopping():
        logs = _call(seat, progress.turn_end)
        running = private.epoch_logs(seat.engine.model, logs)
        is_over = progress.step >= progress.turn_end
        is_last = progress.step % seat.feed.steps_per_epoch == 0
        if is_last or _is_stopped(seat):
            progress.is_cut = not is_last
            _end_epoch(seat, logs)
            is_over |= has_diverged(running) or clock.is_overdue or _is_stopped(seat)  # the driver must hear of it now
        if is_over:
            progress.turn_end = None
    return running


def _call(seat: Seat, turn_end: int) -> Logs:
    """Runs some steps of one epoch; returns the last one's logs."""
    progress, clock, steps_per_epoch = seat.progress, seat.clock, seat.feed.steps_per_epoch
    began_s = clock.now()
    done = progress.step % steps_per_epoch
    if done == 0:
        _begin_epoch(seat)
    is_single = seat.callbacks is not None and seat.callbacks.is_stepwise
    count = 1 if is_single else min(clock.steps_of_call(), turn_end - progress.step, steps_per_epoch - done)
    steps_began_s = clock.now()
    logs = _steps(seat, count)
    ended_s = clock.now()
    clock.add_call(count, steps_s=ended_s - steps_began_s, whole_s=ended_s - began_s)
    progress.step += count
    return logs


def _steps(seat: Seat, count: int) -> Logs:
    """Runs the trial's next steps; returns the last one's logs when they are done."""
    step, callbacks = seat.progress.step, seat.callbacks
    number = step % seat.feed.steps_per_epoch
    if callbacks is not None:
        callbacks.begin_step(number)
    logs = as_arrays(seat.engine.program.run(seat.feed.place, step, count))
    if callbacks is not None:
        callbacks.end_step(number, logs)
    if step == 0 and seat.engine.model.run_eagerly:  # an eager model has its variables only now
        seat.examine(seat.engine.model)
    return logs


def _is_stopped(seat: Seat) -> bool:
    return seat.callbacks is not None and seat.callbacks.stops


def _begin_epoch(seat: Seat) -> None:
    seat.engine.model.reset_metrics()
    if seat.callbacks is not None:
        seat.callbacks.begin_epoch(seat.epoch)


def _end_epoch(seat: Seat, logs: Logs) -> None:
    """Adds the epoch that has ended, validated if that is due."""
    clock, began_s = seat.clock, seat.clock.now()
    validates = "validation" in seat.feed.splits and seat.epoch % seat.trial.train.validate_every == 0
    rate = _rate(seat.engine.model)  # before callbacks change it for the next epoch
    metrics = _metrics_of_epoch(seat, logs, validates=validates)
    clock.add_validation(clock.now() - began_s)
    seat.progress.epochs.append(Epoch(number=seat.epoch, metrics=metrics, ended_s=time.time(), learning_rate=rate))


def _rate(model: keras.Model) -> float | None:
    """The optimizer's learning rate after its last step, also that of a schedule; None for an optimizer without one."""
    rate = getattr(model.optimizer, "learning_rate", None)
    return None if rate is None else float(rate)


def _metrics_of_epoch(seat: Seat, logs: Logs, *, validates: bool) -> dict[str, float]:
    """What Keras' `History` would hold for the epoch whose last step returned these logs."""
    engine, callbacks = seat.engine, seat.callbacks
    found = private.raw_epoch_logs(engine.model, logs)
    if validates:
        evaluate = partial(engine.evaluation, "validation")
        validation = evaluate() if callbacks is None else callbacks.around(evaluate)
        found |= {f"val_{name}": value for name, value in flat(validation).items()}
    rule, rate = seat.trial.train.reduce_lr_on_plateau, dict[str, float]()
    if rule is not None:  # as Keras' callback adds it to History
        rate = {"learning_rate": float(engine.model.optimizer.learning_rate)}
    if callbacks is None:
        return as_numbers(flat(found)) | rate
    return rate | callbacks.end_epoch(max(seat.epoch - 1, 0), found | rate)
