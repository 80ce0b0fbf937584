"""Obeys what users ask of a sweep from other processes: at a barrier of a running sweep, or before `resume` begins."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from runner.config import Config
from runner.driver.adder import Adder, request_text
from runner.driver.context import Context
from runner.driver.record import write_config
from runner.driver.resume_state import Asked
from runner.errors import ConfigError
from runner.host.signals import StopRequest
from runner.journal import JournalReader, SqliteJournal, inbox
from runner.journal.inbox import Request
from runner.records import USER, Decision, Failure, Orders, Report, Trial, Verdict
from runner.search.members import Member, resolve_members
from runner.search.proposer import WaveProposer, make_proposer
from runner.views.progress import Progress

_STOPPED = "user: stopped on request"


@dataclass(kw_only=True)
class InboxControl:
    """Reads a running sweep's inbox at its barriers.

    Args:
        folder: the sweep's.
        progress: of its trials.
        adder: makes the trials that join.
        stop: the request to stop the whole sweep.
        say: shows a line to the user.
        save: records the config with a new limit of trials.
        tag: records the tags of a request.
        paused: trials that are paused.
    """

    folder: Path
    progress: Progress
    adder: Adder
    stop: StopRequest
    say: Callable[[str], None]
    save: Callable[[Request], None]
    tag: Callable[[Request], None]
    paused: set[str] = field(default_factory=set)
    _numbers: list[int] = field(default_factory=list)
    _ending: dict[int, str] = field(default_factory=dict)

    def read(self, reports: Mapping[str, Report | Failure]) -> Orders:
        """As `Control.read`."""
        requests = inbox.asked(self.folder)
        # A trial that is to end may need a seat first: its request stays until then.
        self._ending = {one.number: one.trial_id for one in requests if one.kind == "stop" and one.trial_id is not None}
        self._numbers = [one.number for one in requests if one.number not in self._ending]
        ends: dict[str, Verdict] = {}
        pauses: list[str] = []
        continues: list[str] = []
        added = self.adder.joining = []
        decisions: list[Decision] = []
        for request in requests:
            trial_id = request.trial_id
            if request.kind == "tag":
                self.tag(request)
            elif request.kind in ("add", "clone"):
                joined, made = self._added(request, reports)
                added += joined
                decisions += made
            elif trial_id is None:
                self.say(f"{request.kind} was asked for: the sweep ends after this round")
                self.stop.make()
            elif not self._is_open(trial_id):
                self._leave(request)
            elif request.kind == "stop":
                ends[trial_id] = Verdict(kind="stop", reason=_STOPPED, by=USER)
            elif request.kind == "pause" and trial_id not in self.paused:
                pauses.append(trial_id)
                decisions.append(self._decision(request, trial_id))
            elif request.kind == "continue" and trial_id in self.paused:
                continues.append(trial_id)
                decisions.append(self._decision(request, trial_id))
        self.progress.pause(pauses)
        self.paused = (self.paused | set(pauses)) - set(continues) - ends.keys()
        return Orders(
            ends=ends, pauses=tuple(pauses), continues=tuple(continues), added=tuple(added), decisions=tuple(decisions)
        )

    def obeyed(self, verdicts: Mapping[str, Verdict]) -> None:
        """As `Control.obeyed`."""
        done = [number for number, trial_id in self._ending.items() if trial_id in verdicts and verdicts[trial_id].ends]
        if self._numbers or done:
            inbox.remove(self.folder, [*self._numbers, *done])

    def _added(self, request: Request, reports: Mapping[str, Report | Failure]) -> tuple[list[Trial], list[Decision]]:
        try:
            found = self.adder.obey(request, self.folder, reports)
        except ConfigError as err:
            self.say(f"{request_text(request)}: not done: {err}")
            return [], []
        self.save(request)
        return found

    def _is_open(self, trial_id: str) -> bool:
        return trial_id in self.progress.rows and not self.progress.rows[trial_id].has_ended

    def _leave(self, request: Request) -> None:
        """A request about a trial that has ended; one to continue it waits for `resume`."""
        if request.kind == "continue" and request.trial_id in self.progress.rows:
            self._numbers.remove(request.number)
        else:
            self._numbers.append(request.number)
            self.say(f"{request_text(request)}: the trial has ended")

    def _decision(self, request: Request, trial_id: str) -> Decision:
        kind = "pause" if request.kind == "pause" else "continue"
        return Decision(trial_id=trial_id, step=self.progress.rows[trial_id].step, kind=kind, by=USER)  # type: ignore[arg-type]


def make_control(
    folder: Path,
    config: Config,
    members: Sequence[Member],
    proposer: WaveProposer | None,
    progress: Progress,
    context: Context,
    journal: SqliteJournal,
    paused: Iterable[str] = (),
) -> InboxControl:
    """The control of a sweep that is about to run; the arguments are as for `InboxControl` and `Adder`.

    `journal` is the sweep's, open.
    """
    recorded = [config]

    def save(request: Request) -> None:
        recorded[0] = with_limit(recorded[0], request)
        write_config(folder, recorded[0])

    paused = set(paused)
    progress.pause(paused)
    adder = Adder(members=members, progress=progress, proposer=proposer)
    return InboxControl(
        folder=folder,
        progress=progress,
        adder=adder,
        stop=context.stop,
        say=context.watcher.say,
        save=save,
        tag=partial(_tag, journal),
        paused=paused,
    )


def obey_before(
    folder: Path, config: Config, asked: Asked, say: Callable[[str], None]
) -> tuple[Config, Asked, tuple[int, ...]]:
    """Obeys what was asked of a sweep since it ended: adds trials, and lets trials go on.

    The rest waits for the first barrier, except a request to stop the whole sweep, which has stopped.

    Returns:
        The config with its new limits, what `resume` is asked for in all, and the numbers of requests to remove once
        the journal has the trials that go on.
    """
    inbox.remove(folder, _obeyed(folder))
    requests = inbox.asked(folder)
    inbox.remove(folder, [one.number for one in requests if one.kind == "stop" and one.trial_id is None])
    tagging = [one for one in requests if one.kind == "tag"]
    if tagging:  # asked for when the earlier driver had passed its last barrier
        with SqliteJournal(folder, {}) as journal:
            for one in tagging:
                _tag(journal, one)
        inbox.remove(folder, [one.number for one in tagging])
    going_on = [one for one in requests if one.kind == "continue"]
    asked = replace(asked, continued=asked.continued | {str(one.trial_id) for one in going_on})
    config = _add_before(folder, config, [one for one in requests if one.kind in ("add", "clone")], say)
    return config, asked, tuple(one.number for one in going_on)


def _tag(journal: SqliteJournal, request: Request) -> None:
    """Records tags; done twice it changes nothing, so that a driver may die before it removes the request."""
    journal.tag(request.trial_id or "", {key: str(value) for key, value in request.arguments.items()})


def _obeyed(folder: Path) -> list[int]:
    """Requests to add trials that the journal has, and that a driver did not remove because it died then."""
    with JournalReader(folder) as reader:
        recorded = reader.obeyed()
    return [one.number for one in inbox.asked(folder) if one.number in recorded]


def _add_before(folder: Path, config: Config, requests: Sequence[Request], say: Callable[[str], None]) -> Config:
    """Adds the trials that these requests ask for; returns the config with its new limits."""
    if not requests:
        return config
    with JournalReader(folder) as reader:
        sweep, trials = reader.sweep(), [record.trial for record in reader.trials()]
    progress = Progress(trials=trials, metric=sweep.metric, goal=sweep.goal, clock=time.monotonic)
    members = resolve_members(config, {trial.member: trial.source for trial in trials})
    proposer = make_proposer(config.search, members, 0, prefix=bool(config.members))
    adder = Adder(members=members, progress=progress, proposer=proposer)
    for request in requests:
        try:
            added, decisions = adder.obey(request, folder, {})
        except ConfigError as err:
            say(f"{request_text(request)}: not done: {err}")
            continue
        config = with_limit(config, request)
        write_config(folder, config)
        progress.add(added)
        with SqliteJournal(folder, {}) as journal:
            journal.add(added, decisions)
    inbox.remove(folder, [request.number for request in requests])
    return config


def with_limit(config: Config, request: Request) -> Config:
    """The config with the limit of trials that a request asks for; the same if it asks for none."""
    most, name = request.arguments.get("max_trials"), request.arguments.get("member")
    if not isinstance(most, int):
        return config
    if isinstance(name, str) and name in config.members:
        member = config.members[name]
        searched = member.model_copy(update={"search": member.search.model_copy(update={"max_trials": most})})
        return config.model_copy(update={"members": {**config.members, name: searched}})
    return config.model_copy(update={"search": config.search.model_copy(update={"max_trials": most})})
