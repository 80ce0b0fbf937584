"""The verbs for the author of an experiment, as a user calls them."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

from command_line import Folder, read_journal


def test_a_new_experiment_trains_by_the_commands_in_it(tmp_path: Path) -> None:
    folder = Folder(tmp_path, warm=True)
    assert folder.run("new", "my_model").out.startswith("wrote my_model.py\n")
    text = (tmp_path / "my_model.py").read_text(encoding="utf-8")
    commands = [shlex.split(line, comments=True) for line in re.findall("^python -m runner (.*)$", text, re.MULTILINE)]
    sweeps = [arguments for verb, *arguments in commands if verb == "sweep"]
    counts = []
    for arguments in (sweeps[0], sweeps[2]):
        folder.run("sweep", *arguments, "fleet.kind=local", "train.epochs=4")
        trials = read_journal(folder.sweeps[-1]).trials.values()
        assert {trial.status for trial in trials} == {"complete"}
        assert all(trial.metrics["test_accuracy"] > 0.8 for trial in trials)
        counts.append(len(trials))
    assert counts == [1, 6]
    assert "rank" in folder.run("results").out


def test_an_experiment_is_checked_and_nothing_is_left_behind(tmp_path: Path) -> None:
    folder = Folder(tmp_path, warm=True)
    folder.run("new", "my_model")
    ended = folder.run("check", "my_model.py", "params.units=16,64")
    assert ended.err == ""
    for part in ("my_model units=16\n", "my_model units=64\n", " test ", "364 rows: x float32", "test_accuracy"):
        assert part in ended.out
    assert "a sweep would train 2 trials, ranked by val_loss (minimize)" in ended.out
    found = json.loads(folder.run("check", "my_model.py", "--json").out)
    (setting,) = found["checked"]
    assert setting["settings"]["activation"] == "relu"
    assert setting["details"]["splits"][0]["tensors"][0] == {"name": "x", "dtype": "float32", "shape": [-1, 30]}
    file = tmp_path / "my_model.py"
    text = file.read_text(encoding="utf-8")
    file.write_text(text.replace("Input((30,))", "Input((31,))"), encoding="utf-8")
    refused = folder.run("check", "my_model.py", code=2)
    assert "error: my_model.py:" in refused.err
    assert ": build_model: ValueError" in refused.err
    assert {path.name for path in tmp_path.iterdir()} == {"my_model.py"}
