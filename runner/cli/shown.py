"""How the verbs that train show a sweep, from its context to its results: as text, or as JSON lines."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from functools import cached_property
from typing import TYPE_CHECKING, Literal, Protocol

import click

from runner.cli.app import make_console
from runner.errors import RunnerError, TrackingError
from runner.texts.redaction import without_credentials

if TYPE_CHECKING:
    from rich.console import Console

    from runner.api.contexts import Context
    from runner.api.runs import Outcome

LogFormat = Literal["text", "json"]
_SOME_FAILED = 3


class Shown(Protocol):
    """Shows a sweep."""

    def notes(self, lines: Iterable[str]) -> None:
        """Shows lines of news."""

    def context(self) -> Context:
        """This process: where it shows a sweep, its signals, its environment."""

    def end(self, outcome: Outcome, *, with_times: bool, profile: bool = False) -> int:
        """Shows the results; returns the exit code.

        Args:
            outcome: how the sweep ended.
            with_times: also show how the time was spent; for a resumed sweep it would include the pauses.
            profile: write the timeline too.

        Raises:
            TrackingError: MLflow lacks something.
        """


@contextmanager
def shown(log_format: LogFormat) -> Iterator[Shown]:
    """Entered while a sweep is trained; as JSON, an error is an event too before it is raised."""
    if log_format == "text":
        yield _AsText()
        return
    show = _AsJson()
    try:
        yield show
    except RunnerError as err:
        show.lines.event("error", kind=type(err).__name__, text=str(err), exit_code=err.exit_code)
        raise
    except KeyboardInterrupt:
        show.lines.event("error", kind="Interrupted", text="stopped by a signal", exit_code=None)
        raise


class _AsText:
    @cached_property
    def _console(self) -> Console:
        return make_console()  # not before the config is read, because it imports Rich

    def notes(self, lines: Iterable[str]) -> None:
        for line in lines:
            self._console.print(line, markup=False, highlight=False, soft_wrap=True)

    def context(self) -> Context:
        from runner.api.contexts import context_with
        from runner.views.watchers import Terminal

        return context_with(Terminal(self._console), click.get_current_context().obj)

    def end(self, outcome: Outcome, *, with_times: bool, profile: bool = False) -> int:
        from runner.api.machine import pages_of, ui_address
        from runner.api.result import Result
        from runner.views.results import print_results

        result = Result(outcome.folder)
        uri = result.review.sweep.tracking_uri
        print_results(result.review, self._console)
        overheads = result.overheads if with_times else None
        if overheads is not None:
            for line in (overheads.in_words(), *([str(overheads)] if profile else [])):
                self._console.print(line, markup=False, highlight=False)  # between words, unlike an address
        if profile:
            self.notes([f"timeline:  {result.write_timeline()}"])
        if result.report_file.exists():
            self.notes([f"all figures:  {result.report_file}"])
        self.notes([f"review in the browser:  {_ui_command(without_credentials(uri))}"])
        pages = pages_of(outcome.folder, ui_address(uri))
        if pages is not None:
            self.notes([f"this sweep there:  {pages[0]}"])
        code = _exit_code(outcome)
        if outcome.problem:
            self.notes([outcome.problem])
        return code


class _AsJson:
    def __init__(self) -> None:
        from runner.views.json_lines import JsonLines

        self.lines = JsonLines(click.echo)

    def notes(self, lines: Iterable[str]) -> None:
        for line in lines:
            self.lines.say(line)

    def context(self) -> Context:
        from runner.api.contexts import context_with

        context = context_with(self.lines, click.get_current_context().obj)
        return replace(context, began=self.lines.began)

    def end(self, outcome: Outcome, *, with_times: bool, profile: bool = False) -> int:
        from runner.api.result import Result

        result = Result(outcome.folder)
        overheads = result.overheads if with_times else None
        self.lines.event(
            "sweep_ended",
            summary=result.summary,
            times=None if overheads is None else asdict(overheads),
            report=str(result.report_file) if result.report_file.exists() else None,
            timeline=str(result.write_timeline()) if profile else None,
            problem=outcome.problem or None,
        )
        return _exit_code(outcome)


def _exit_code(outcome: Outcome) -> int:
    if outcome.problem and outcome.is_error:
        raise TrackingError(outcome.problem)
    return _SOME_FAILED if outcome.failed or outcome.paused else 0


def _ui_command(uri: str) -> str:
    default = uri == "sqlite:///mlflow.db"
    return "python -m runner ui" + ("" if default else f" --uri {shlex.quote(uri)}")
