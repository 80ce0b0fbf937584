"""`doctor` on this machine, for real."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner
from command_line import Folder

from runner.cli import cli
from runner.driver import doctor


@pytest.mark.ray
def test_doctor_looks_at_every_part_and_leaves_nothing_behind(folder: Folder) -> None:
    sound = folder.run("doctor", "--json")
    findings = {finding["part"]: finding for finding in json.loads(sound.out)}
    for part in ("TensorFlow", "MPS", "Ray", "MLflow", "disk of sweeps", "disk of Ray"):
        assert findings[part]["status"] in ("ok", "warn"), findings[part]
    assert "2." in findings["TensorFlow"]["found"]
    assert "started in" in findings["Ray"]["found"]
    assert "will be made by the first sweep" in findings["MLflow"]["found"]
    assert not (folder.path / "mlflow.db").exists()
    assert not (folder.path / "sweeps").exists()


def test_doctor_ends_with_exit_code_2_where_a_store_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """MLflow's process is real; TensorFlow's and Ray's, which the test above starts, answer at once."""
    ask = doctor.ask
    sound = {
        "runner.worker.selftest": {"tensorflow": "2.21.0", "keras": "3.15", "cuda": None, "gpus": 99},
        "runner.fleet.ray.selftest": {"ray": "2.60.0", "seconds": 1.0},
    }

    def answer(module: str, *arguments: str) -> doctor.Answer:
        return doctor.Answer(values=sound[module]) if module in sound else ask(module, *arguments)

    monkeypatch.setattr(doctor, "ask", answer)
    broken = CliRunner().invoke(cli, ["doctor", "--uri", "http://127.0.0.1:9"])
    assert broken.exit_code == 2
    assert broken.output.count("fail  ") == 1
    assert "fail  MLflow" in broken.output
    assert "see that the server runs" in broken.output
