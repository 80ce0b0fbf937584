"""Calls to several workers at once: what each has answered, which worker died over it, which took too long."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import ray
from ray.exceptions import RayError, RayTaskError

from runner.fleet.ray.postmortem import Death
from runner.records import Aside, Failure, FailureKind, Trial

K = TypeVar("K")
Explain = Callable[[int, RayError], Death]
"""Why a slot's worker was lost."""
_POLL_S = 0.25  # a signal's handler runs, and a dead worker is noticed, between two polls
_AFTER_STOP_S = 3.0  # what has not answered then is given up: it may be building a model
_AT_LEAST_S = 1.5  # for what is asked for later: models, snapshots


@dataclass(frozen=True, kw_only=True, slots=True)
class Call:
    """One call to a slot's worker.

    Args:
        future: of its answer; None where the slot has no worker.
        limit_s: most seconds until the answer, those of earlier calls to the same worker included.
    """

    slot: int
    future: Any
    limit_s: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Lost:
    """The worker is gone, and with it the answer; as `Failure`."""

    kind: FailureKind
    message: str
    traceback: str = ""
    noticed_s: float = 0.0
    output: str = ""

    def of(self, trial: Trial) -> Failure:
        """The same as one trial's failure."""
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
) -> dict[K, Any | Lost]:
    """Waits for all answers.

    Args:
        calls: what is waited for.
        end: ends a slot's worker for certain; called for those that died, hang, or lost what they depend on.
        stopped_s: when the fleet was told to stop, on the monotonic clock; None where it was not.
        explain: why a slot's worker was lost.

    Returns:
        The answers; none for calls that were given up after a stop.
    """
    began_s = time.monotonic()
    answers: dict[K, Any | Lost] = {}
    pending = dict(calls)
    while pending:
        found = {**_overdue(pending, time.monotonic() - began_s), **_answered(pending, explain)}
        for key, answer in found.items():
            answers[key] = answer.value if isinstance(answer, _Value) else answer
            call = pending.pop(key)
            if isinstance(answer, Lost):
                end(call.slot)
        stopped = stopped_s()
        if stopped is not None and time.monotonic() > max(stopped + _AFTER_STOP_S, began_s + _AT_LEAST_S):
            break
        if pending:
            first_s = min(call.limit_s for call in pending.values()) - (time.monotonic() - began_s)
            _wait(list(pending.values()), max(0.0, min(first_s, _POLL_S)))
    return answers


@dataclass(frozen=True, slots=True)
class _Value:
    value: Any


def _answered(pending: Mapping[K, Call], explain: Explain) -> dict[K, _Value | Lost]:
    """What has come of the calls so far."""
    ready = _wait(list(pending.values()), 0.0)
    there = {key: call for key, call in pending.items() if call.future in ready}
    found: dict[K, _Value | Lost] = dict.fromkeys(
        (key for key, call in pending.items() if call.future is None),
        Lost(kind="worker", message="its worker had ended before", noticed_s=time.time()),
    )
    if not there:
        return found
    try:
        values = ray.get([call.future for call in there.values()])  # one call where none of them is an error
    except RayError:
        return found | {key: _answer(call, explain) for key, call in there.items()}
    return found | dict(zip(there, map(_Value, values), strict=True))


def _wait(calls: Sequence[Call], timeout_s: float) -> set[Any]:
    """The futures that are there within the time; one call for all of them, as Ray's cost is by the call."""
    futures = [call.future for call in calls if call.future is not None]
    return set(ray.wait(futures, num_returns=len(futures), timeout=timeout_s)[0]) if futures else set()


def _answer(call: Call, explain: Explain) -> _Value | Lost:
    try:
        return _Value(ray.get(call.future))
    except RayError as err:
        # Of an error in a worker the last line is the error itself, of one of Ray's own the first.
        lines = str(err).strip().splitlines() or [""]
        line = lines[-1] if isinstance(err, RayTaskError) else lines[0]
        message, death = f"{type(err).__name__}: {line}", explain(call.slot, err)
        message = f"{death.cause}; {message}" if death.cause else message
        kind: FailureKind = "oom" if death.of_memory else "disk" if death.of_space else "worker"
        return Lost(kind=kind, message=message, traceback=str(err), noticed_s=time.time(), output=death.output)


def _overdue(pending: Mapping[K, Call], waited_s: float) -> dict[K, Lost]:
    """Calls whose time is over."""
    return {
        key: Lost(
            kind="hang",
            message=f"no answer within {call.limit_s:.0f} s; its worker was killed",
            noticed_s=time.time(),
        )
        for key, call in pending.items()
        if waited_s > call.limit_s
    }
