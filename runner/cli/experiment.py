"""The verb `new`, for the author of an experiment."""

from __future__ import annotations

import shlex

import click

from runner.cli.app import verb


@verb
@click.argument("name", metavar="NAME")
def new(name: str) -> None:
    """Writes a commented experiment file that trains as it is; never overwrites one.

    NAME is the experiment's name, whose file goes to experiments/ if that folder exists, or a path that ends in .py.
    """
    from runner.driver.new import new_experiment

    file = shlex.quote(str(new_experiment(name)))
    click.echo(f"wrote {file}")
    click.echo(f"train it:  python -m runner sweep {file}")
