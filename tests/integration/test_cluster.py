"""The same sweep on a Ray cluster of two nodes: processes on loopback, each node with a folder of its own."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from command_line import Folder, Record, make_folder, read_journal

import runner.fleet.ray.fleet  # noqa: F401  sets Ray's environment, so it comes before Ray

from ray.cluster_utils import Cluster  # isort: skip

from runner.errors import FleetError
from runner.fleet.ray.auth import private_cluster
from runner.fleet.ray.cluster import survey
from runner.fleet.ray.patches import lean
from runner.host.processes import is_running

pytestmark = pytest.mark.ray
EXPERIMENT = """
import keras, numpy as np
from widths import WIDTH
def load_data():
    x = np.random.default_rng(0).normal(size=(200, 6)).astype("float32")
    return (x, x[:, 0]), (x, x[:, 0])
def build_model(units=4):
    model = keras.Sequential([keras.layers.Dense(units * WIDTH), keras.layers.Dropout(0.5), keras.layers.Dense(1)])
    model.compile("adam", "mse")
    return model
"""
SETTINGS = ("params.units=4,8", "train.epochs=3", "train.steps_per_round=3", "train.compile=graph")


@dataclass(frozen=True)
class Nodes:
    """A running cluster: its address, and the folder in which its second node was started."""

    address: str
    folder: Path


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nodes]:
    folder, before = tmp_path_factory.mktemp("second node"), Path.cwd()
    with private_cluster() as options, lean(), pytest.MonkeyPatch.context() as patch:
        # `Cluster` also writes its address into Ray's default folder, which it does not make.
        patch.setenv("RAY_TMPDIR", str(tmp_path_factory.mktemp("default")))
        Path(os.environ["RAY_TMPDIR"], "ray").mkdir()
        cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "temp_dir": options["_temp_dir"]})
        patch.undo()
        try:
            os.chdir(folder)
            cluster.add_node(num_cpus=1)
            os.chdir(before)
            yield Nodes(cluster.address, folder)
        finally:
            os.chdir(before)
            cluster.shutdown()


def train(folder: Folder, *settings: str) -> Record:
    (folder.path / "widths.py").write_text("WIDTH = 2\n")
    (folder.path / "small.py").write_text(EXPERIMENT)
    with folder.start("sweep", "small.py", *SETTINGS, *settings) as running:
        running.read_until("starting workers", 60.0)
        if "fleet.kind=local" not in settings:  # what workers cannot find here must have come through Ray
            (folder.path / "widths.py").unlink()
            (folder.path / "small.py").unlink()
        running.finish()
    return read_journal(folder.sweeps[-1])


@pytest.mark.slow
def test_a_sweep_on_two_nodes_gives_the_numbers_of_this_machine_and_leaves_nothing_there(
    nodes: Nodes, tmp_path: Path
) -> None:
    folders = [make_folder(tmp_path / name, warm=True) for name in ("here", "there")]
    there = train(folders[1], f"fleet.address={nodes.address}")
    assert {trial.status for trial in there.trials.values()} == {"complete"}
    assert len({trial.allocation.node for trial in there.trials.values() if trial.allocation}) == 2
    pids = {turn.turn.pid for turn in there.turns}
    assert len(pids) == 2
    assert not any(map(is_running, pids)), "the end of workers is confirmed on their nodes"

    here = train(folders[0], "fleet.kind=local", "resources.max_concurrent=2")
    assert there.rows == here.rows
    weights = [{p.name: p.read_bytes() for p in (f.sweeps[-1] / "models").glob("*.npz")} for f in folders]
    assert len(weights[0]) == 2
    assert weights[0] == weights[1]

    assert list(nodes.folder.iterdir()) == [], "only the driver writes journal and MLflow's store"
    assert {path.name for path in folders[1].path.iterdir()} >= {"sweeps", "mlflow.db"}


def test_a_node_that_cannot_run_this_program_is_named(nodes: Nodes) -> None:
    def ask() -> None:
        raise ModuleNotFoundError("No module named 'runner'")

    with pytest.raises(FleetError, match=r"node 127\.0\.0\.1 \(\w{8}\) cannot run this program .*docs/cluster\.md"):
        survey(nodes.address, ask)


def test_more_models_than_the_nodes_hold_are_refused(nodes: Nodes, folder: Folder) -> None:
    ended = folder.run(
        "plan", "experiment=digits", f"fleet.address={nodes.address}", "resources.max_concurrent=3", code=2
    )
    assert "resources.max_concurrent=3: 2 models fit on the cluster (1 on " in ended.err
