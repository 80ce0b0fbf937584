"""Sweeps of real models in this process, copied from the disk after each barrier, and gone on with from such a copy."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from barriers import AtBarriers

from runner.config import load_config
from runner.driver.context import Context
from runner.driver.resume import resume
from runner.driver.resume_state import Asked
from runner.driver.run import run
from runner.journal import JournalReader
from runner.views.watchers import Silent

EXPERIMENT = Path(__file__).parents[1] / "experiments" / "digits_mlp.py"


def photographer(root: Path) -> AtBarriers:
    """Copies what is on the disk after each barrier, as a driver leaves it that is killed there.

    Without what MLflow's thread is making for the store just then, which a new driver throws away.
    """
    ignore = shutil.ignore_patterns("staging", "*.unfinished*")
    return AtBarriers(lambda number: shutil.copytree(root, root.with_name(f"killed-{number:02}"), ignore=ignore))


def moments(root: Path) -> list[Path]:
    """The copies of a sweep's folder, in order."""
    return sorted(root.parent.glob("killed-*"))


@dataclass(frozen=True)
class Result:
    """What a sweep came to: its trials and decisions, every metric, all weights."""

    trials: list[tuple[object, ...]]
    decisions: list[tuple[object, ...]]
    metrics: dict[tuple[str, str, int], float]
    weights: dict[str, list[Any]]

    @classmethod
    def of(cls, folder: Path) -> Result:
        with JournalReader(folder) as reader:
            records = reader.trials()
            assert reader.sweep().status == "complete"
            trials = [(one.id, one.settings, one.status, one.reason) for one in records]
            made = [
                (d.trial_id, d.step, d.kind, d.by, d.reason, str(dict(d.arguments)))
                for one in records
                for d in reader.decisions(one.id)
            ]
            metrics = {(row.trial, row.key, row.step): row.value for row in reader.metrics()}
        weights = {}
        for one in (one for one in records if one.weights is not None):
            with np.load(folder / str(one.weights)) as arrays:
                weights[one.id] = [arrays[name].tolist() for name in arrays.files]
        return cls(trials, made, metrics, weights)


def sweep(root: Path, settings: Sequence[str], watcher: Silent | None = None, experiment: Path = EXPERIMENT) -> Path:
    """Runs a sweep under this folder; returns the sweep's own folder."""
    config = load_config(str(experiment), [*settings, f"tracking.uri=sqlite:///{root}/m.db"], config_dir=None)
    return run(config, Context(watcher=watcher or Silent()), root=root / "sweeps").folder


def photographed_sweep(factory: pytest.TempPathFactory, settings: Sequence[str]) -> tuple[Path, Result]:
    """A sweep that nothing disturbs, photographed at each of its moments: its root, and what it came to."""
    root = factory.mktemp("undisturbed") / "root"
    root.mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        folder = sweep(root, settings, photographer(root))
    return root, Result.of(folder)


def resumed(moment: Path, undisturbed_root: Path) -> Path:
    """The sweep of a moment, gone on with; it has a store of its own, as it was then."""
    (folder,) = (moment / "sweeps").iterdir()
    config = folder / "config.yaml"
    config.write_text(config.read_text().replace(str(undisturbed_root), str(moment)))
    resume(folder, Asked(), Context(watcher=Silent()))
    return folder


def is_fresh(moment: Path, undisturbed_root: Path) -> bool:
    """Whether nobody has gone on with this moment yet."""
    return str(undisturbed_root) in next((moment / "sweeps").iterdir()).joinpath("config.yaml").read_text()
