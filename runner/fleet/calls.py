"""Calls to several workers at once: what each has answered, which worker died over it, which took too long."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import ray
from ray.exceptions import RayError

from runner.records import Failure, FailureKind, Trial

K = TypeVar("K")
_POLL_S = 0.25  # a signal's handler runs between two polls
_AFTER_STOP_S = 3.0  # what has not answered then is given up: it may be building a model


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

    def of(self, trial: Trial) -> Failure:
        """The same as one trial's failure."""
        return Failure(
            trial_id=trial.id,
            kind=self.kind,
            message=self.message,
            traceback=self.traceback,
            noticed_s=self.noticed_s,
        )


def gather(
    calls: Mapping[K, Call],
    end: Callable[[int], object],
    stopped_s: Callable[[], float | None],
    want_of_memory: Callable[[int, RayError], str | None],
) -> dict[K, Any | Lost]:
    """Waits for all answers.

    Args:
        calls: what is waited for.
        end: ends a slot's worker for certain; called for those that died, hang, or lost what they depend on.
        stopped_s: when the fleet was told to stop, on the monotonic clock; None where it was not.
        want_of_memory: what says that a slot's worker was lost for want of memory; None where nothing does.

    Returns:
        The answers; none for calls that were given up after a stop.
    """
    began_s = time.monotonic()
    answers: dict[K, Any | Lost] = {}
    pending = dict(calls)
    while pending:
        for key, call in list(pending.items()):
            answer = _answer(call, time.monotonic() - began_s, want_of_memory)
            if answer is not None:
                answers[key] = answer
                del pending[key]
            if isinstance(answer, Lost):
                end(call.slot)
        stopped = stopped_s()
        if stopped is not None and time.monotonic() > max(stopped, began_s) + _AFTER_STOP_S:
            break
        if pending:
            first_s = min(call.limit_s for call in pending.values()) - (time.monotonic() - began_s)
            ray.wait([call.future for call in pending.values()], timeout=max(0.0, min(first_s, _POLL_S)))
    return {key: answer.value if isinstance(answer, _Value) else answer for key, answer in answers.items()}


@dataclass(frozen=True, slots=True)
class _Value:
    value: Any


def _answer(call: Call, waited_s: float, want_of_memory: Callable[[int, RayError], str | None]) -> _Value | Lost | None:
    """What has come of a call; None where nothing has yet."""
    if call.future is None:
        return Lost(kind="worker", message="its worker had ended before", noticed_s=time.time())
    ready, _ = ray.wait([call.future], timeout=0)
    if ready:
        try:
            return _Value(ray.get(call.future))
        except RayError as err:
            first_line = (str(err).strip().splitlines() or [""])[0]
            message, hunger = f"{type(err).__name__}: {first_line}", want_of_memory(call.slot, err)
            kind: FailureKind = "worker" if hunger is None else "oom"
            message = message if hunger is None else f"{hunger}; {message}"
            return Lost(kind=kind, message=message, traceback=str(err), noticed_s=time.time())
    if waited_s > call.limit_s:
        message = f"no answer within {call.limit_s:.0f} s; its worker was killed"
        return Lost(kind="hang", message=message, noticed_s=time.time())
    return None
