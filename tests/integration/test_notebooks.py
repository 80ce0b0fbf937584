"""Notebooks, executed by a real kernel: those of `examples/`, and what a person does in one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

pytestmark = pytest.mark.ray
EXAMPLES = Path(__file__).parents[2] / "examples"

SWEEP = """
import os, signal, threading, time
import keras, numpy as np, runner

def load_data():
    x = np.random.default_rng(0).normal(size=(64, 4)).astype("float32")
    return (x, x[:, 0]), (x, x[:, 0])

def build_model(units: int = 4):
    model = keras.Sequential([keras.layers.Input((4,)), keras.layers.Dense(units), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    return model

settings = dict(
    load_data=load_data, build_model=build_model, space={"units": [2, 4]}, resources={"max_concurrent": 1},
    train={"epochs": 100000, "compile": "graph", "steps_per_round": 100},
)

def trains(sweep):
    try:
        return len(sweep.timeline) > 0
    except runner.RunnerError:  # its journal is being made
        return False

def interrupt_once_it_trains():
    while not any(map(trains, runner.sweeps())):
        time.sleep(0.1)
    os.kill(os.getpid(), signal.SIGINT)  # as a notebook's stop button

threading.Thread(target=interrupt_once_it_trains).start()
result = runner.sweep(name="interrupted", **settings)
result.status
"""
BACKGROUND = """
running = runner.sweep(name="background", block=False, **settings)
while running.progress.share == 0 and running.is_running:
    time.sleep(0.1)
during = running.progress
running
"""
STOPPED = """
running.stop()
stopped = running.result(timeout_s=60)
assert not running.is_running and "ended, 0 of 2 trials ended" in repr(running), running
(during.phase, during.trials, during.metric, stopped.status, sorted(stopped.trials["status"]))
"""
WRONG = "runner.sweep(load_data=load_data, build_model=build_model, space={'unit': [1]})"


def executed(notebook: Any, folder: Path, *, allow_errors: bool = False) -> Any:
    resources = {"metadata": {"path": str(folder)}}
    NotebookClient(
        notebook, timeout=280, kernel_name="python3", resources=resources, allow_errors=allow_errors
    ).execute()
    return notebook


def outputs(cell: Any, kind: str) -> list[str]:
    """The texts of a cell's outputs of a MIME type, or of its streams."""
    found = [out["text"] if out["output_type"] == "stream" else out.get("data", {}).get(kind) for out in cell.outputs]
    return [text for text in found if text is not None]


@pytest.fixture(scope="module")
def cells(tmp_path_factory: pytest.TempPathFactory) -> list[Any]:
    code = nbformat.v4.new_code_cell
    notebook = nbformat.v4.new_notebook(cells=[code(text) for text in (SWEEP, BACKGROUND, STOPPED, WRONG)])
    return list(executed(notebook, tmp_path_factory.mktemp("notebook"), allow_errors=True).cells)


def test_an_interrupted_cell_gives_what_was_trained(cells: list[Any]) -> None:
    assert "'killed'" in outputs(cells[0], "text/plain")
    assert not [out for out in cells[0].outputs if out["output_type"] == "error"]


def test_one_table_with_a_bar_is_redrawn_in_place(cells: list[Any]) -> None:
    tables = [html for html in outputs(cells[0], "text/html") if "<progress" in html]
    assert len(tables) == 1
    assert "units" in tables[0]
    assert "0 of 2 trials ended" in tables[0]
    lines = "".join(outputs(cells[0], "stream"))
    assert "to go on with it:  python -m runner resume interrupted-" in lines


def test_a_sweep_in_the_background_leaves_the_notebook_to_its_user(cells: list[Any]) -> None:
    assert any(text.startswith("<running sweep background-") for text in outputs(cells[1], "text/plain"))
    last = outputs(cells[2], "text/plain")[-1]
    assert last == "('training', 2, 'val_loss', 'killed', ['killed', 'killed'])"


def test_a_mistake_is_an_exception_of_the_cell(cells: list[Any]) -> None:
    (error,) = [out for out in cells[3].outputs if out["output_type"] == "error"]
    assert error["ename"] == "ConfigError"
    assert "argument: search.space.unit: the experiment has no such parameter; did you mean units?" in error["evalue"]


@pytest.mark.slow
@pytest.mark.parametrize("name", [path.name for path in sorted(EXAMPLES.glob("*.ipynb"))])
def test_examples_run_and_their_outputs_are_committed(name: str, tmp_path: Path) -> None:
    notebook = nbformat.read(EXAMPLES / name, as_version=4)
    committed = [[out["output_type"] for out in cell.outputs] for cell in notebook.cells if cell.cell_type == "code"]
    assert sum(map(len, committed)) >= 4
    assert len(notebook.cells) <= 8
    again = executed(notebook, tmp_path)
    last = [cell for cell in again.cells if cell.cell_type == "code"][-1]
    assert outputs(last, "text/plain")
    said = "".join(text for cell in again.cells if cell.cell_type == "code" for text in outputs(cell, "text/plain"))
    assert "IProgress" not in said, "of tqdm, which Ray imports"
