"""Estimates the disk space of a sweep and checks that it is free: models, snapshots, MLflow's copies."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from runner.config import Config
from runner.driver.clean import mib
from runner.driver.prepare import Prepared
from runner.errors import PlacementError
from runner.journal.snapshots import GENERATIONS
from runner.records import Facts, Trial
from runner.tracking.addresses import sqlite_file

_DESCRIPTION = 64 * 1024  # bytes of a model file beyond its values


@dataclass(frozen=True, kw_only=True, slots=True)
class Size:
    """Disk space of one trial, bytes.

    Args:
        model: its `.keras` file and its weights, or its weights alone.
        snapshot: its state, including the best weights if they are kept.
    """

    model: int
    snapshot: int


@dataclass(frozen=True, kw_only=True, slots=True)
class DiskPlan:
    """Space that a sweep needs on the disk of its folder.

    Args:
        models: sizes of the models that exist at the same time, largest first in each member.
        snapshots: number that exist at the same time, including those being written.
        snapshot_bytes: size of the largest.
        is_complete: all models were measured; otherwise the first trial of the member stands for them.
        has_callbacks: trials have callbacks, and nothing tells how much these write.
    """

    models: tuple[int, ...]
    snapshots: int
    snapshot_bytes: int
    is_complete: bool
    has_callbacks: bool = False

    @property
    def total_bytes(self) -> int:
        """Total space, bytes."""
        return sum(self.models) + self.snapshots * self.snapshot_bytes

    def __str__(self) -> str:
        parts = [f"{len(self.models)} models × {mib(max(self.models, default=0))}"]
        if len(set(self.models)) > 1:
            parts = [f"{len(self.models)} models of at most {mib(max(self.models))}, {mib(sum(self.models))}"]
        parts.append(f"{self.snapshots} snapshots × {mib(self.snapshot_bytes)}")
        return f"{' + '.join(parts)} = {mib(self.total_bytes)}"


def plan_disk(prepared: Prepared, facts: Mapping[str, Facts]) -> DiskPlan:
    """The maximum that the sweep needs at any moment.

    Args:
        prepared: the sweep.
        facts: of each member's first trial.
    """
    keep, live = prepared.config.keep, prepared.at_once
    models: list[int] = []
    snapshots: list[int] = []
    for sizes in _sizes(prepared, facts).values():
        largest = sorted((size.model for size in sizes), reverse=True)
        if isinstance(keep.models, int):
            largest = largest[: keep.models + live]  # new ones are written before old ones are removed
        models += [] if keep.models == "none" else largest
        snapshots += [size.snapshot for size in sizes]
    if keep.models == "all":  # later trials are taken to be as large as the largest that is known
        models += [max(models, default=0)] * (prepared.most_trials - len(prepared.trials))
    compares = prepared.config.search.stop is not None
    if prepared.config.schedule == "rotate" or prepared.config.search.compares:
        live = prepared.most_trials  # at most
    # Losers of a comparison keep theirs, as they may go on.
    kept = prepared.most_trials if keep.snapshots or compares else min(live, prepared.most_trials)
    return DiskPlan(
        models=tuple(models),
        snapshots=GENERATIONS * kept + min(len(prepared.slots), kept),
        snapshot_bytes=max(snapshots, default=0),
        is_complete=all(need.state_bytes is not None for need in prepared.needs),
        has_callbacks=any(trial.has_callbacks for trial in prepared.trials),
    )


def check_room(plan: DiskPlan, prepared: Prepared, root: Path) -> None:
    """Refuses a sweep that does not fit on the disk.

    Args:
        plan: the space it needs.
        prepared: the sweep.
        root: folder of all sweeps.

    Raises:
        PlacementError: with the sum, and what would fit.
    """
    free = free_bytes(root)
    if plan.total_bytes > free:
        raise PlacementError(f"{plan} > {mib(free)} free in {root}/; {_advice(plan, prepared, free)}")
    elsewhere = other_store(prepared.config, root)
    copies = sum(plan.models)
    if elsewhere is not None and copies > free_bytes(elsewhere):
        raise PlacementError(
            f"MLflow's copies of {len(plan.models)} models, {mib(copies)} > {mib(free_bytes(elsewhere))} free in "
            f"{elsewhere}; set keep.models to a number or to none, or free room there"
        )


def other_store(config: Config, root: Path) -> Path | None:
    """The folder of MLflow's sqlite store if it is on another file system than the sweeps; else None."""
    file = sqlite_file(config.tracking.uri)
    if file is None:
        return None
    here, there = _existing(root), _existing(file.parent)
    return None if os.stat(here).st_dev == os.stat(there).st_dev else there


def free_bytes(folder: Path) -> int:
    """Free bytes for this user on the file system of the folder, which need not exist yet."""
    return shutil.disk_usage(_existing(folder)).free


def lines(plan: DiskPlan, root: Path) -> Iterator[str]:
    """The plan as text."""
    if plan.total_bytes == 0:
        yield "disk: unknown, as nothing says how large the models are"
        return
    yield f"disk: {plan}, of {mib(free_bytes(root))} free in {root}/"
    if not plan.is_complete:
        yield "  all models are taken to be as large as the first of their member (plan --probe measures each)"
    if plan.has_callbacks:
        yield "  what callbacks write into runner.trial_folder() comes on top; clean --files N removes it"


def _sizes(prepared: Prepared, facts: Mapping[str, Facts]) -> dict[str, list[Size]]:
    """Disk space of each trial, by member."""
    found: dict[str, list[Size]] = {}
    for need in prepared.needs:
        first = facts[need.trial.member]
        weights = first.weights_bytes if need.weights_bytes is None else need.weights_bytes
        state = first.state_bytes if need.state_bytes is None else need.state_bytes
        size = _size(need.trial, weights, state, first.loadable)
        found.setdefault(need.trial.member, []).extend([size] * need.trials)
    return found


def _size(trial: Trial, weights: int, state: int, loadable: bool) -> Size:
    if state == 0:
        return Size(model=0, snapshot=0)
    stopping = trial.train.early_stopping
    best = weights if stopping is not None and stopping.restore_best else 0
    return Size(model=weights + (state + _DESCRIPTION if loadable else 0), snapshot=state + best)


def _advice(plan: DiskPlan, prepared: Prepared, free: int) -> str:
    """Settings that would fit: fewer models, none, or fewer trials at the same time."""
    rest = free - plan.snapshots * plan.snapshot_bytes
    members = len({trial.member for trial in prepared.trials})
    largest = max(plan.models, default=1)
    fitting = rest // largest // members - prepared.at_once
    if prepared.config.keep.snapshots:
        return "set keep.snapshots=false, or free room there"
    if fitting > 0:
        return f"keep.models={fitting} fits; or free room there"
    if rest >= 0:
        return "keep.models=none fits; or free room there"
    return "not even the snapshots fit; free room there, or set resources.max_concurrent lower"


def _existing(folder: Path) -> Path:
    folder = folder.absolute()
    return folder if folder.exists() else _existing(folder.parent)
