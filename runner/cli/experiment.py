"""The verbs for the author of an experiment: `new` and `check`."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import click

from runner.cli.app import echo_json, make_console, takes_config, verb, wanted


@verb
@click.argument("name", metavar="NAME")
def new(name: str) -> None:
    """Writes a commented experiment file that trains as it is; never overwrites one.

    NAME is the experiment's name, whose file goes to experiments/ if that folder exists, or a path that ends in .py.
    """
    from runner.api.new import new as write

    file = shlex.quote(str(write(name)))
    click.echo(f"wrote {file}")
    click.echo(f"try it:    python -m runner check {file}")
    click.echo(f"train it:  python -m runner sweep {file}")


@verb
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@takes_config
def check(arguments: Sequence[str], config_dir: Path | None, config_name: str, as_json: bool) -> None:
    """Tries an experiment for some seconds: data, model, a step, export, speed, memory. Records nothing.

    Takes the arguments of `sweep`. If they search, the first setting is tried and the last.
    """
    from runner.api.check import check_experiment
    from runner.views.examined import print_examined

    found = check_experiment(wanted(arguments, config_dir, config_name))
    if as_json:
        echo_json(asdict(found))
    else:
        print_examined(found, make_console())
