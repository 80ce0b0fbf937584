"""Every setting of a grid, trained once by a real sweep, with the validation loss of every epoch."""

from __future__ import annotations

import json
import math
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from runner.journal import JournalReader

EPOCHS = 27
METRIC = "val_loss"
ROOT = Path(__file__).parents[2]
RATES = [round(10 ** (-3 + place / 2.5), 6) for place in range(8)]
REST: dict[str, list[float]] = {"dropout": [0.0, 0.4], "learning_rate": RATES}
TASKS = {
    "digits": ROOT / "experiments" / "digits_mlp.py",
    "tabular": Path(__file__).parent / "tabular.py",
    "mnist": ROOT / "experiments" / "mnist_cnn.py",
}
SPACES: dict[str, dict[str, list[float]]] = {
    "digits": {"units": [4, 8, 16, 32], **REST},
    "tabular": {"units": [4, 8, 16, 32], **REST},
    "mnist": {"filters": [2, 4, 8, 16], **REST},
}
MORE = {"mnist": ["train.steps_per_epoch=20"]}


@dataclass(frozen=True)
class Table:
    """One task.

    Args:
        task: its name.
        losses: by setting, `str(sorted items)`, the validation loss of each epoch.
    """

    task: str
    losses: dict[str, list[float]]

    @property
    def space(self) -> dict[str, list[float]]:
        """The values of each parameter."""
        return SPACES[self.task]

    @property
    def best(self) -> float:
        """The lowest loss of any setting at any epoch."""
        return self._lowest[0]

    @property
    def spread(self) -> float:
        """From the best to the median of the settings' best: a regret of 1 is what a setting at random has to lose."""
        return self._lowest[len(self._lowest) // 2] - self.best

    @property
    def _lowest(self) -> list[float]:
        return sorted(min(filter(math.isfinite, curve), default=math.inf) for curve in self.losses.values())

    def loss(self, params: dict[str, object], epoch: int) -> float:
        """The validation loss of a setting after an epoch, from 1; infinite once it has diverged."""
        curve = self.losses[key_of(self.task, params)]
        value = curve[epoch - 1] if epoch <= len(curve) else math.inf
        return value if math.isfinite(value) else math.inf


def key_of(task: str, params: dict[str, object]) -> str:
    """A setting as a key."""
    return json.dumps([(name, params[name]) for name in SPACES[task]])


def read_table(task: str, folder: Path) -> Table:
    """The table of a task, from a file if it was trained before."""
    file = folder / f"grid-{task}.json"
    if not file.exists():
        file.write_text(json.dumps(_train(task)))
    return Table(task, json.loads(file.read_text()))


def arguments(task: str) -> list[str]:
    """The command line of the full grid, without what concerns the search."""
    space = [f"params.{name}={','.join(map(str, values))}" for name, values in SPACES[task].items()]
    own = MORE.get(task, [])
    return [str(TASKS[task]), *space, f"search.metric={METRIC}", f"train.epochs={EPOCHS}", f"name={task}", *own]


def _train(task: str) -> dict[str, list[float]]:
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "runner", "sweep", *arguments(task), "search.max_trials=64"]
        subprocess.run(command, cwd=folder, check=True, stdout=subprocess.DEVNULL)
        (sweep,) = (Path(folder) / "sweeps").iterdir()
        with JournalReader(sweep) as reader:
            params = {trial.id: key_of(task, dict(trial.trial.params)) for trial in reader.trials()}
            rows = [row for row in reader.metrics() if row.key == METRIC]
    found: dict[str, list[float]] = {key: [] for key in params.values()}
    for row in sorted(rows, key=lambda row: row.step):
        found[params[row.trial]].append(row.value)
    return found
