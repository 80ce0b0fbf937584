"""Decides which trial has a turn in which slot. Pure state without clock or processes."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Collection, Container, Iterable, Mapping, Sequence
from dataclasses import replace

from runner.loop.interfaces import Policy
from runner.records import Clone, Slot, Trial, Verdict, Work, cloned

Place = tuple[int, int]  # (number within the slot, slot)


class Schedule:
    """Queues trials in order; a place that becomes free takes the next trial, which starts at its own round 0.

    With one place per slot, trials queue. With more, they rotate: a worker gives its trials their turns one after
    another, so that all of them advance together. A trial stays in its slot, because its state lives there, unless it
    waits for others while a queued trial needs its place, or the losers of a comparison have left slots unequal.

    Args:
        trials: in the order in which they begin.
        slots: for the trials.
        live: how many trials live at once, at least; None for one in each place of the slots' shares.
        begun: next turns of trials that an earlier driver has trained.
        policy: compares trials; None if none waits for another.
        paused: trials that have no turn until they go on.
    """

    def __init__(
        self,
        trials: Iterable[Trial],
        slots: Sequence[Slot],
        live: int | None = None,
        begun: Mapping[str, Work] | None = None,
        policy: Policy | None = None,
        paused: Container[str] = (),
    ) -> None:
        begun = begun or {}
        works = [begun.get(trial.id) or Work(trial=trial, round=0) for trial in trials]
        self._queue = deque(work for work in works if work.trial.id not in paused)
        self._paused = {work.trial.id: work for work in works if work.trial.id in paused}
        self._policy = policy
        least = math.ceil((live or len(slots)) / len(slots))
        places = {slot.index: max(least, slot.allocation.places) for slot in slots}
        # Place by place over all slots, so that the first trials spread over the slots.
        self._live: dict[Place, Work | None] = {
            (place, slot): None for place in range(max(places.values())) for slot in places if place < places[slot]
        }
        self._away: dict[str, Work] = {}

    def add(self, trials: Iterable[Trial]) -> None:
        """Appends trials to the queue."""
        self._queue.extend(Work(trial=trial, round=0) for trial in trials)

    def has_work(self) -> bool:
        """True until every trial has ended or is paused."""
        return bool(self._queue or self._away) or any(work is not None for work in self._live.values())

    @property
    def queued(self) -> int:
        """How many trials without a place will get one."""
        return len(self._queue) + len(self._away)

    def next_round(self, ending: Iterable[str] = ()) -> dict[int, tuple[Work, ...]]:
        """The order of every live trial, by slot; fills free places first.

        Args:
            ending: trials that end as soon as they have a seat.

        Returns:
            Nothing if all others wait for trials that are paused.
        """
        ending = set(ending)
        for trial_id in [i for i, work in self._paused.items() if i in ending and work.round > 0]:
            self._queue.appendleft(self._paused.pop(trial_id))
        for trial_id in [i for i in reversed(self._away) if i in ending or not self._is_waiting(i)]:
            self._queue.appendleft(self._away.pop(trial_id))
        self._fill(ending)
        turns: dict[int, tuple[Work, ...]] = {}
        for (_, slot), work in self._live.items():
            if work is not None:
                turns[slot] = (*turns.get(slot, ()), self._order(work, work.trial.id in ending))
        if not ending and all(order.idle for orders in turns.values() for order in orders):
            if self._paused:
                return {}
            raise RuntimeError(f"every trial waits for another: {', '.join(self.unfinished())}")
        return turns

    def pause(self, trial_ids: Iterable[str]) -> dict[int, tuple[Trial, ...]]:
        """Takes trials out of the sweep until they go on; returns those that had a place, by slot."""
        wanted = set(trial_ids)
        placed = {place: work for place, work in self._live.items() if work is not None and work.trial.id in wanted}
        self._live |= dict.fromkeys(placed, None)
        others = [work for work in (*self._queue, *self._away.values()) if work.trial.id in wanted]
        self._queue = deque(work for work in self._queue if work.trial.id not in wanted)
        self._away = {trial_id: work for trial_id, work in self._away.items() if trial_id not in wanted}
        self._paused |= {work.trial.id: work for work in (*placed.values(), *others) if work is not None}
        return _trials_of(placed)

    def go_on(self, trial_ids: Iterable[str]) -> None:
        """Puts paused trials in front of the queue."""
        for trial_id in reversed([trial_id for trial_id in trial_ids if trial_id in self._paused]):
            self._queue.appendleft(self._paused.pop(trial_id))

    @property
    def slots(self) -> int:
        """The number of slots that are used, those without a trial included."""
        return len({slot for _, slot in self._live})

    def paused(self) -> tuple[str, ...]:
        """Trials that are paused."""
        return tuple(self._paused)

    def unfinished(self) -> tuple[str, ...]:
        """Trials that have a place, wait for one, or wait for others."""
        live = [work.trial.id for work in self._live.values() if work is not None]
        return (*live, *self._away, *self._paused, *(work.trial.id for work in self._queue))

    def live(self) -> dict[int, tuple[Trial, ...]]:
        """Trials that have begun and not ended, by slot, without those that wait without a place."""
        return _trials_of(self._live)

    def standing(self) -> list[Trial]:
        """Trials that have a place, had one, or wait for their first; not those that are paused."""
        works = [*self._live.values(), *self._away.values(), *self._queue]
        return [work.trial for work in works if work is not None]

    def unbegun(self, trial_ids: Collection[str]) -> tuple[str, ...]:
        """Those of these trials that have not begun, paused or not."""
        if not trial_ids:
            return ()  # without a look at the whole queue, which may be long
        waiting = (*self._queue, *self._paused.values())
        return tuple(work.trial.id for work in waiting if work.round == 0 and work.trial.id in trial_ids)

    def close(self, slots: Iterable[int]) -> None:
        """Removes the places of slots that are not used any more; no trial is in them."""
        closed = set(slots)
        self._live = {place: work for place, work in self._live.items() if place[1] not in closed or work is not None}

    def apply(self, verdicts: Mapping[str, Verdict]) -> None:
        """Removes trials that ended, and turns the other verdicts into the trials' next orders."""
        seated = {work.trial.id for work in self._live.values() if work is not None}
        for place, work in self._live.items():
            if work is not None and work.trial.id in verdicts:
                self._live[place] = next_turn(work, verdicts[work.trial.id])
        ended = {trial_id for trial_id, verdict in verdicts.items() if verdict.ends}
        if self.unbegun(ended - seated):
            self._queue = deque(work for work in self._queue if work.trial.id not in ended)
            self._paused = {trial_id: work for trial_id, work in self._paused.items() if trial_id not in ended}

    def clone(self, clones: Mapping[str, Clone]) -> dict[str, Work]:
        """Lets trials go on from the states of others with their next turns, which it returns by trial.

        They may have a place or wait for one.
        """
        turns: dict[str, Work] = {}

        def following(work: Work) -> Work:
            if work.trial.id in clones:
                work = turns[work.trial.id] = cloned_turn(work, clones[work.trial.id])
            return work

        if clones:
            self._live = {place: None if work is None else following(work) for place, work in self._live.items()}
            self._away = {trial_id: following(work) for trial_id, work in self._away.items()}
            self._paused = {trial_id: following(work) for trial_id, work in self._paused.items()}
            self._queue = deque(map(following, self._queue))
        return turns

    def give_way(self) -> dict[int, tuple[Trial, ...]]:
        """Takes trials out of their places, by slot, because others need these.

        A trial that waits gives way to a queued one. If a slot has two trials more than another, because those of the
        other have lost, one of them moves.
        """
        if self._policy is None:
            return {}
        leaving: dict[Place, Work | None] = {}
        free = sum(work is None for work in self._live.values())
        waiting = [place for place, work in self._live.items() if work is not None and self._is_waiting(work.trial.id)]
        for place in waiting[: max(0, len(self._queue) - free)]:
            leaving[place] = self._take(place)
        while not self._queue and (surplus := self._surplus()) is not None:
            leaving[surplus] = self._take(surplus)
        return _trials_of(leaving)

    def _take(self, place: Place) -> Work:
        work = self._live[place]
        assert work is not None
        self._live[place] = None
        self._away[work.trial.id] = work
        return work

    def _surplus(self) -> Place | None:
        """The last trial of a slot that has two more than another, counting those that will be seated.

        None with callbacks, because it would be repeated from its beginning.
        """
        busy = {slot: 0 for _, slot in self._live}
        for (_, slot), work in self._live.items():
            busy[slot] += work is not None
        moving = sum(not self._is_waiting(trial_id) for trial_id in self._away)
        most, least = max(busy, key=lambda slot: busy[slot]), min(busy, key=lambda slot: busy[slot])
        if busy[most] - busy[least] - moving < 2:
            return None
        movable = [
            place
            for place, work in self._live.items()
            if place[1] == most and work is not None and not work.trial.has_callbacks
        ]
        return movable[-1] if movable else None

    def _fill(self, ending: Container[str]) -> None:
        """Gives queued trials free places, in the slots with the fewest trials; those that must wait need none."""
        busy = {slot: 0 for _, slot in self._live}
        for (_, slot), work in self._live.items():
            busy[slot] += work is not None
        free = [place for place, work in self._live.items() if work is None]
        while self._queue and free:
            work = self._queue.popleft()
            if work.trial.id not in ending and self._is_waiting(work.trial.id):
                self._away[work.trial.id] = work
                continue
            place = min(free, key=lambda place: (busy[place[1]], place))
            free.remove(place)
            busy[place[1]] += 1
            self._live[place] = work

    def _order(self, work: Work, is_ending: bool) -> Work:
        if self._policy is None:
            return replace(work, idle=True) if is_ending else work
        trial_id = work.trial.id
        if is_ending or self._policy.is_waiting(trial_id):
            return replace(work, idle=True)
        return replace(work, last_epoch=self._policy.limit(trial_id))

    def _is_waiting(self, trial_id: str) -> bool:
        return self._policy is not None and self._policy.is_waiting(trial_id)


def live_within(budget_mib: float, parameters: int, trials: int) -> int:
    """The number of trials whose states fit into host memory.

    Args:
        budget_mib: memory for them, MiB.
        parameters: weights of the largest model.
        trials: how many there are.

    Returns:
        At least 1. Assumes four values per weight: the weight, two of the optimizer, and the best weight so far.
    """
    state_mib = 4 * 4 * parameters / 2**20
    return max(1, min(trials, math.floor(budget_mib / state_mib) if state_mib else trials))


def next_turn(work: Work, verdict: Verdict) -> Work | None:
    """The order that follows a turn and its verdict; None if the trial ends."""
    if verdict.ends:
        return None
    return Work(
        trial=work.trial,
        round=work.round + 1,
        keep_best=verdict.keep_best,
        learning_rate=verdict.learning_rate,
        stack=work.stack,
    )


def cloned_turn(work: Work, clone: Clone) -> Work:
    """A trial's next turn, which begins with the state of another trial instead of its own."""
    trial = cloned(work.trial, clone)
    return Work(trial=trial, round=work.round, clone=clone, stack=work.stack, is_whole=work.is_whole)


def _trials_of(places: Mapping[Place, Work | None]) -> dict[int, tuple[Trial, ...]]:
    """The trials in these places, by slot."""
    found: dict[int, tuple[Trial, ...]] = {}
    for (_, slot), work in places.items():
        if work is not None:
            found[slot] = (*found.get(slot, ()), work.trial)
    return found
