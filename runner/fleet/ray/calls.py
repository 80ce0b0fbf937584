"""Waits for calls to several workers: collects answers, deaths of workers and timeouts."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import ray
from ray.exceptions import RayError, RayTaskError

from runner.fleet.ray.postmortem import Death
from runner.records import Aside, Failure, FailureKind, Trial

K = TypeVar("K")
Explain = Callable[[int, RayError], Death]
"""Finds the cause of the loss of a slot's worker."""
_POLL_S = 0.25  # signal handlers run and dead workers are noticed between two polls
_AFTER_STOP_S = 3.0  # calls without an answer by then are abandoned: a worker may be building a model
_MIN_WAIT_S = 1.5  # for calls that begin after the stop: exports, snapshots


@dataclass(frozen=True, kw_only=True, slots=True)
class Call:
    """One call to a slot's worker.

    Args:
        future: reference to its answer; None if the slot has no worker.
        limit_s: limit in seconds until the answer, including the worker's earlier calls that are pending.
    """

    slot: int
    future: ray.ObjectRef | None
    limit_s: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Lost:
    """A call whose worker was lost before it answered; fields as in `Failure`."""

    kind: FailureKind
    message: str
    traceback: str = ""
    noticed_s: float = 0.0
    output: str = ""

    def of(self, trial: Trial) -> Failure:
        """The loss as a trial's failure."""
        return Failure(
            trial_id=trial.id,
            kind=self.kind,
            message=self.message,
            traceback=self.traceback,
            noticed_s=self.noticed_s,
            aside=Aside(output=self.output),
        )


def gather(
    calls: Mapping[K, Call],
    end: Callable[[int], object],
    stopped_s: Callable[[], float | None],
    explain: Explain,
) -> dict[K, Any]:
    """Waits for the answers of all calls.

    Args:
        calls: the calls, by any key.
        end: ends a slot's worker reliably; called for workers that died, hang, or lost data that they depend on.
        stopped_s: returns when the fleet was stopped, on the monotonic clock in seconds; None if it was not.
        explain: finds why a slot's worker was lost.

    Returns:
        The answers, `Lost` if the worker was lost; without calls that were abandoned after a stop.
    """
    began_s = time.monotonic()
    answers: dict[K, object] = {}
    pending = dict(calls)
    while pending:
        found = {**_overdue(pending, time.monotonic() - began_s), **_answered(pending, explain)}
        for key, answer in found.items():
            answers[key] = answer.value if isinstance(answer, _Value) else answer
            call = pending.pop(key)
            if isinstance(answer, Lost):
                end(call.slot)
        stopped = stopped_s()
        if stopped is not None and time.monotonic() > max(stopped + _AFTER_STOP_S, began_s + _MIN_WAIT_S):
            break
        if pending:
            first_s = min(call.limit_s for call in pending.values()) - (time.monotonic() - began_s)
            _wait(list(pending.values()), max(0.0, min(first_s, _POLL_S)))
    return answers


def is_pending(futures: Collection[ray.ObjectRef]) -> bool:
    """Whether one of them has no answer yet."""
    return len(_ready(list(futures), 0.0)) < len(futures)


@dataclass(frozen=True, slots=True)
class _Value:
    value: object


def _answered(pending: Mapping[K, Call], explain: Explain) -> dict[K, _Value | Lost]:
    """The answers and losses of calls that are known by now, without waiting."""
    ready = _wait(list(pending.values()), 0.0)
    arrived = {key: call for key, call in pending.items() if call.future in ready}
    found: dict[K, _Value | Lost] = dict.fromkeys(
        (key for key, call in pending.items() if call.future is None),
        Lost(kind="worker", message="the worker had ended before the call", noticed_s=time.time()),
    )
    if not arrived:
        return found
    try:
        values = ray.get([call.future for call in arrived.values()])  # a single call if none is an error
    except RayError:
        return found | {key: _answer(call, explain) for key, call in arrived.items()}
    return found | dict(zip(arrived, map(_Value, values), strict=True))


def _wait(calls: Sequence[Call], timeout_s: float) -> set[ray.ObjectRef]:
    """The futures that resolve within the time; waits for all at once because Ray has a fixed cost for each call."""
    return _ready([call.future for call in calls if call.future is not None], timeout_s)


def _ready(futures: list[ray.ObjectRef], timeout_s: float) -> set[ray.ObjectRef]:
    return set(ray.wait(futures, num_returns=len(futures), timeout=timeout_s)[0]) if futures else set()


def _answer(call: Call, explain: Explain) -> _Value | Lost:
    try:
        return _Value(ray.get(call.future))
    except RayError as err:
        # The error is in the last line if it was raised in a worker, in the first if Ray raised it.
        lines = str(err).strip().splitlines() or [""]
        line = lines[-1] if isinstance(err, RayTaskError) else lines[0]
        message, death = f"{type(err).__name__}: {line}", explain(call.slot, err)
        message = f"{death.cause}; {message}" if death.cause else message
        kind: FailureKind = "oom" if death.of_memory else "disk" if death.of_space else "worker"
        return Lost(kind=kind, message=message, traceback=str(err), noticed_s=time.time(), output=death.output)


def _overdue(pending: Mapping[K, Call], waited_s: float) -> dict[K, Lost]:
    """Calls whose limit has passed, as lost."""
    return {
        key: Lost(
            kind="hang",
            message=f"no answer within {call.limit_s:.0f} s; the worker was killed",
            noticed_s=time.time(),
        )
        for key, call in pending.items()
        if waited_s > call.limit_s
    }
