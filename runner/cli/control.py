"""The verbs that ask something of a sweep that another process runs: `stop`, `pause`, `continue`, `add`, `watch`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import click

from runner.cli.app import make_console, verb

if TYPE_CHECKING:
    from runner.api.requests import Asked


@verb
@click.argument("sweep")
@click.argument("trials", nargs=-1)
def stop(sweep: str, trials: Sequence[str]) -> None:
    """Stops a running sweep after its present round, or only these trials; SWEEP is as for `results`.

    A stopped trial is ranked and exported; `continue` lets it go on.
    """
    from runner.api.catalog import load

    _answered(lambda: load(sweep).stop(*trials))


@verb
@click.argument("sweep")
@click.argument("trials", nargs=-1, required=True)
def pause(sweep: str, trials: Sequence[str]) -> None:
    """Takes trials out of their slots until `continue`; SWEEP is as for `results`."""
    from runner.api.catalog import load

    _answered(lambda: load(sweep).pause(*trials))


@verb
@click.argument("sweep")
@click.argument("trials", nargs=-1, required=True)
def continue_(sweep: str, trials: Sequence[str]) -> None:
    """Lets paused or stopped trials go on; SWEEP is as for `results`.

    A trial that has stopped goes on once the sweep has ended, with `resume`.
    """
    from runner.api.catalog import load

    _answered(lambda: load(sweep).go_on(*trials))


@verb
@click.option("--member", help="The member of a mixed sweep that gets the trials.")
@click.argument("sweep")
@click.argument("what", nargs=-1, required=True, metavar="N | key=value ...")
def add(sweep: str, what: Sequence[str], member: str | None) -> None:
    """Adds N trials of the search, or one setting; SWEEP is as for `results`.

    \b
    python -m runner add latest 20
    python -m runner add latest units=64 learning_rate=0.01
    """  # noqa: D301
    from runner.api.catalog import load

    one = len(what) == 1 and what[0].isdigit()
    click.echo(load(sweep).add(int(what[0]) if one else _values(what), member=member))


@verb
@click.option("--at-epoch", type=click.IntRange(min=1), help="Goes on from the state after this epoch, not the newest.")
@click.argument("sweep")
@click.argument("trial")
@click.argument("what", nargs=-1, metavar="key=value ...")
def clone(sweep: str, trial: str, what: Sequence[str], at_epoch: int | None) -> None:
    """Adds a trial that goes on from the state of another one; SWEEP is as for `results`.

    \b
    python -m runner clone latest 003 learning_rate=0.001
    python -m runner clone latest 003 learning_rate=0.001 --at-epoch 5
    """  # noqa: D301
    from runner.api.catalog import load

    click.echo(load(sweep).clone(trial, _values(what), at_epoch=at_epoch))


@verb
@click.argument("sweep", default="latest")
def watch(sweep: str) -> None:
    """Shows the trials of a sweep that another process runs, until it ends; SWEEP is as for `results`."""
    from runner.api.catalog import load
    from runner.views.watching import watch as show

    show(load(sweep).folder, make_console())


def _answered(ask: Callable[[], Asked]) -> None:
    """Prints the answer to a request; one about a trial that has ended is a mistake of usage."""
    from runner.errors import TrialEndedError

    try:
        click.echo(ask())
    except TrialEndedError as err:
        raise click.UsageError(str(err)) from err


def _values(what: Sequence[str]) -> dict[str, object]:
    """The values of a setting that is written as `key=value`.

    Raises:
        ConfigError: a text is none, or has several values.
    """
    from runner.config.space import Dimension, parse_value
    from runner.errors import ConfigError

    values: dict[str, object] = {}
    for text in what:
        key, separator, value = text.partition("=")
        if not separator:
            raise ConfigError(f"{text!r}: write a number of trials, or a setting as key=value")
        try:
            found = parse_value(value)
        except ValueError as err:
            raise ConfigError(f"{key}: {err}") from err
        if isinstance(found, Dimension):
            raise ConfigError(f"{key}: one value for each name; got {value!r}")
        values[key] = found
    return values
