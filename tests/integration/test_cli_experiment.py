"""The verbs for the author of an experiment, as a user calls them."""

from __future__ import annotations

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
