"""The verb `doctor`, which prints what `driver.doctor` finds."""

from __future__ import annotations

import json
from dataclasses import asdict

import click

from runner.cli.app import verb
from runner.cli.tracking import store_to_use, takes_store


@verb
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@takes_store
def doctor(as_json: bool, uri: str | None) -> int:
    """Checks GPUs, TensorFlow, MPS, Ray, MLflow's store and disks, with advice; exit code 2 if a check fails."""
    from runner.driver.doctor import examine, exit_code
    from runner.review.catalog import SWEEPS

    findings = examine(store_to_use(uri), SWEEPS)
    if as_json:
        click.echo(json.dumps([asdict(finding) for finding in findings], indent=2))
        return exit_code(findings)
    width = max(len(finding.part) for finding in findings)
    for finding in findings:
        colour = {"ok": "green", "warn": "yellow", "fail": "red"}[finding.status]
        click.echo(f"{click.style(f'{finding.status:4}', fg=colour)}  {finding.part:{width}}  {finding.found}")
        if finding.advice:
            click.echo(f"{'':{width + 8}}{finding.advice}")
    return exit_code(findings)
