"""Measures every way to train models that share a GPU, the most important first, within ten minutes. No network.

    python -m benchmarks.gpu                  # gpu.json and gpu.md in $OUT, else in a new temporary folder
    python -m benchmarks.gpu --on-cpu         # rehearsal: every way once, on small data; no figures of a GPU
    python -m benchmarks.gpu --pack DIR       # the repository as one archive with a run.sh, for such a machine

Changes no setting of the device. MPS is measured if the driver has its control program.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import click

from benchmarks.gpu import pack, summary
from benchmarks.gpu.budget import Budget
from benchmarks.gpu.cases import Case, plan
from benchmarks.gpu.figures import Row
from benchmarks.gpu.measuring import END_S, Skipped, in_process, measure
from runner.host.inventory import driver_version, this_machine
from runner.placement import Machine

_PACKAGES = ("tensorflow", "keras", "ray")
_WORKLOADS = click.Choice(tuple(summary.MODELS))


@click.command()
@click.option("--minutes", type=click.FloatRange(min=0, min_open=True), default=10, show_default=True, help="Of all.")
@click.option(
    "--seconds", type=click.FloatRange(min=0, min_open=True), default=3, show_default=True, help="Of each window."
)
@click.option("--repeats", type=click.IntRange(1), default=2, show_default=True, help="Passes, if there is time.")
@click.option("--workload", "workloads", multiple=True, type=_WORKLOADS, help="Only this one; may be given again.")
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), help="Folder of the results.")
@click.option("--on-cpu", is_flag=True, help="Rehearse every way on small data; measures nothing of a GPU.")
@click.option(
    "--pack", "to_pack", type=click.Path(file_okay=False, path_type=Path), help="Only write the archive there."
)
def main(
    minutes: float, seconds: float, repeats: int, workloads: tuple[str, ...], out: Path | None, on_cpu: bool,
    to_pack: Path | None,
) -> None:  # fmt: skip
    """Measures models that share a GPU: tuned fit, turns, stacks, time slicing, MPS."""
    if to_pack is not None:
        click.echo(f"wrote {pack.write(to_pack)}")
        return
    machine = this_machine()
    if not machine.gpus and not on_cpu:
        raise click.ClickException("no NVIDIA GPU here: nothing was measured; --on-cpu rehearses every way on the CPU")
    budget = Budget(minutes * 60 - END_S)  # the last case may have to be ended
    folder = out or Path(os.environ.get("OUT") or tempfile.mkdtemp(prefix="gpu-"))
    seconds = min(seconds, 1.0) if on_cpu else seconds
    about = _about(machine, on_cpu, seconds)
    environment = {} if on_cpu else {"CUDA_VISIBLE_DEVICES": machine.gpus[0].id}
    rows: list[Row] = []
    skipped: list[Skipped] = []
    with tempfile.TemporaryDirectory(prefix="gpu-") as own:
        run = in_process(seconds, Path(own) / "timings.json", environment)
        cases = plan(on_cpu, workloads)
        for found in measure(cases, budget, run, 1 if on_cpu else repeats, _impossible(machine, on_cpu)):
            if isinstance(found, Skipped):
                skipped.append(found)
                click.echo(f"skipped {found.case.label}: {found.why}")
            else:
                rows.append(found)
                click.echo(f"{budget.left_s:4.0f} s left  {_line(found)}")
            summary.write(folder, about, rows, skipped)
    files = summary.write(folder, about, rows, skipped)
    click.echo("\n" + summary.markdown(about, rows, skipped))
    click.echo(f"written to {' and '.join(map(str, files))}")
    if any("error" in row for row in rows):
        raise click.ClickException("some cases failed")


def _about(machine: Machine, on_cpu: bool, seconds: float) -> dict[str, Any]:
    gpu = None if on_cpu else machine.gpus[0]
    return {
        "gpu": None if gpu is None else gpu.name,
        "memory_mib": None if gpu is None else gpu.memory_mib,
        "driver": None if gpu is None else driver_version(),
        "mps": None if gpu is None else f"{machine.mps.kind}: {machine.mps.reason}",
        "cpus": machine.cpus,
        "on_cpu": on_cpu,
        "seconds": seconds,
        "date": time.strftime("%Y-%m-%d"),
        "versions": {name: version(name) for name in _PACKAGES},
    }


def _impossible(machine: Machine, on_cpu: bool) -> Callable[[Case], str | None]:
    def why(case: Case) -> str | None:
        if case.how != "MPS" or machine.mps:
            return None
        return "MPS serves GPUs alone" if on_cpu else f"MPS cannot be had: {machine.mps.reason}"

    return why


def _line(row: Mapping[str, Any]) -> str:
    head = f"{row['workload']} K={row['models']} {row['how']}"
    if "error" in row:
        return f"{head}: {row['error']}"
    joules = row["joules_per_step"]
    energy = "" if joules is None else f", {joules * 1000:.3g} mJ a model-step"
    peak = "" if row["gpu_peak_mib"] is None else f", {row['gpu_peak_mib']:,.0f} MiB"
    rate = f"{summary.number(row['steps_per_s'])} model-steps/s"
    return (
        f"{head}: {rate} ({row['compile']}){energy}{peak}, start {row['start_s']:.3g} s, {row['wall_s']:.0f} s in all"
    )


if __name__ == "__main__":
    main()
