"""The verb `doctor`, which prints what `runner.doctor` finds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from runner.cli.app import echo_json, verb
from runner.cli.tracking import takes_store

if TYPE_CHECKING:
    from runner.api.machine import Finding


@verb
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@takes_store
def doctor(as_json: bool, uri: str | None) -> int:
    """Checks GPUs, TensorFlow, MPS, Ray, MLflow's store and disks, with advice; exit code 2 if a check fails."""
    from runner.api.machine import doctor as examine

    findings = examine(uri)
    if as_json:
        echo_json([asdict(finding) for finding in findings])
        return exit_code(findings)
    width = max(len(finding.part) for finding in findings)
    for finding in findings:
        colour = {"ok": "green", "warn": "yellow", "fail": "red"}[finding.status]
        click.echo(f"{click.style(f'{finding.status:4}', fg=colour)}  {finding.part:{width}}  {finding.found}")
        if finding.advice:
            click.echo(f"{'':{width + 8}}{finding.advice}")
    return exit_code(findings)


def exit_code(findings: Sequence[Finding]) -> int:
    """2 if a part fails, else 0."""
    return 2 if any(finding.status == "fail" for finding in findings) else 0
