"""What the answers of workers say about seats, failures and lost workers, and what is done about these."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TypeVar

from runner.loop.interfaces import Journal
from runner.loop.replacements import Replacements
from runner.loop.stack_sizes import StackSizes
from runner.loop.trial_life import TrialLife, is_lost, is_out_of_memory, is_refused
from runner.records import Export, Failure, Incident, Report, Work

A = TypeVar("A")
Round = Mapping[int, tuple[Work, ...]]
Answers = Mapping[str, Report | Export | Failure | None]


class Losses:
    """Takes answers; replaces workers that are lost.

    Args:
        lives: of the live trials, by id.
        journal: records every incident, and smaller stacks.
        workers: replaces workers.
        sizes: of the stacks, which are halved if memory runs out.
        max_failures: how often a trial may lose its worker before it fails.
        stopping: true once the sweep shall stop.
        warn: shows a warning to the user.

    Attributes:
        live: the orders of the present round.
    """

    def __init__(
        self,
        lives: Mapping[str, TrialLife],
        journal: Journal,
        workers: Replacements,
        sizes: StackSizes,
        *,
        max_failures: int,
        stopping: Callable[[], bool],
        warn: Callable[[str], None],
    ) -> None:
        self._lives, self._journal, self._workers, self._sizes = lives, journal, workers, sizes
        self._max_failures, self._stopping, self._warn = max_failures, stopping, warn
        self.live: Round = {}

    def take(self, work: Round, answers: Answers, one_by_one: bool) -> None:
        """Updates seats and failures from these answers, and replaces workers that were lost."""
        lost: dict[int, list[Work]] = {}
        for slot, items in work.items():
            for item in items:
                self._take_one(item, answers)
            lost[slot] = [item for item in items if is_lost(answers.get(item.trial.id))]
            if short := [item for item in lost[slot] if self._is_short_stack(item, answers)]:
                self._halve(short)
                self._unseat(slot)
            elif lost[slot]:
                # If only some trials of a call are lost, their own answers say so.
                certain = one_by_one or len(items) == 1 or len(lost[slot]) < len(items)
                self._lose(slot, lost[slot], certain, answers)
                self._tell(lost[slot], answers[lost[slot][0].trial.id])
        self._replace({slot: items for slot, items in lost.items() if items}, answers)

    def _take_one(self, item: Work, answers: Answers) -> None:
        answer, life = answers.get(item.trial.id), self._lives[item.trial.id]
        if not isinstance(answer, Failure):
            life.seated |= item.trial.id in answers
        elif is_refused(answer):
            life.snapshots_refused = True
            what = "it" if life.clone is None else "everything that led to its state"
            self._warn(f"trial {item.trial.id}: {answer.message}; {what} is trained again from its beginning")
        elif not answer.lost_worker:
            life.failed = True
        if isinstance(answer, Failure) and answer.kind == "disk":
            life.disk_problem = answer.message

    def _lose(self, slot: int, lost: Sequence[Work], certain: bool, answers: Answers) -> None:
        """Records that the slot's worker is gone, with every seat in it.

        If trials are restored one after another, the first without an answer caused the loss. If they advance in one
        call, the cause is unknown until they are restored one after another.
        """
        if certain:
            guilty = lost[0]
            self._lives[guilty.trial.id].lose_worker(is_out_of_memory(answers[guilty.trial.id]), self._max_failures)
        self._unseat(slot)

    def _unseat(self, slot: int) -> None:
        for item in self.live[slot]:
            self._lives[item.trial.id].seated = False

    def _is_short_stack(self, item: Work, answers: Answers) -> bool:
        """Whether memory ran out in a turn of a stack; not in one that has had its report, nor in an export after it.

        Those sizes are known to fit, and the numbers of a turn that was reported must not change.
        """
        if item.idle or item.models == 1 or not is_out_of_memory(answers[item.trial.id]):
            return False
        return item.until is None and self._lives[item.trial.id].orders[-1].until is None

    def _halve(self, short: Sequence[Work]) -> None:
        """Lets trials repeat the turn in smaller stacks, for which memory may suffice."""
        decisions = self._sizes.halved(short)
        self._journal.add((), decisions)
        self._sizes.take(decisions, {item.trial.id: item.trial for item in short})
        for was, now in dict.fromkeys((item.models, self._sizes.of(item.trial)) for item in short):
            what = f"in stacks of {now}" if now > 1 else "one by one"
            self._warn(f"a stack of {was} models ran out of memory: its trials repeat the turn {what}")
        for item in short:
            life, halved = self._lives[item.trial.id], replace(item, stack=self._sizes.of(item.trial), is_whole=True)
            life.orders[-1], life.tried_together = halved, False
        self.live = self._sizes.applied(self.live)

    def _replace(self, lost: Mapping[int, Sequence[Work]], answers: Answers) -> None:
        """Starts new workers for these slots, with larger shares if they ran out of memory and more is free."""
        short = [
            slot
            for slot, items in lost.items()
            if any(is_out_of_memory(answers[i.trial.id]) and not self._lives[i.trial.id].failed for i in items)
        ]
        growth = self._workers.grow(short, self.live)
        try:
            if lost and not self._stopping():
                growth = self._workers.start(list(lost), growth)
        finally:
            for slot in short:
                for item in lost[slot]:
                    self._lives[item.trial.id].remedy = self._workers.remedy(slot, growth)
            for item in (item for items in lost.values() for item in items):
                self._note(item, answers[item.trial.id])
        if not self._stopping():
            for slot in lost.keys() & growth.allocations.keys():
                self._journal.resize(slot, growth.allocations[slot])

    def _tell(self, lost: Sequence[Work], failure: object) -> None:
        """Tells the user why a table stands still for a while."""
        assert isinstance(failure, Failure)
        if self._stopping() or all(self._lives[item.trial.id].failed for item in lost):
            return
        first, many = lost[0], len(lost) > 1
        who = f"{len(lost)} trials, {first.trial.id} among them, have" if many else f"trial {first.trial.id} has"
        what = "out of memory" if failure.kind == "oom" else failure.message.rstrip(".")
        self._warn(f"{who} lost the worker ({what}); a new one repeats what is missing")

    def _note(self, item: Work, failure: object) -> None:
        explained = self.explained(item.trial.id, failure)
        assert isinstance(explained, Failure)
        incident = Incident(
            trial_id=item.trial.id,
            round=item.round,
            kind=explained.kind,
            message=explained.message,
            noticed_s=explained.noticed_s,
        )
        self._journal.note(incident)

    def explained(self, trial_id: str, answer: A) -> A:
        """The answer; if it ran out of memory, with what has been done about it."""
        remedy = self._lives[trial_id].remedy
        if not isinstance(answer, Failure) or answer.kind != "oom" or not remedy:
            return answer
        return replace(answer, message=f"{answer.message} ({remedy})")
