"""`doctor` on this machine, for real."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor

import pytest
from command_line import Folder


@pytest.mark.ray
def test_doctor_looks_at_every_part_and_leaves_nothing_behind(folder: Folder) -> None:
    with ThreadPoolExecutor() as pool:
        sound = pool.submit(folder.run, "doctor", "--json")
        broken = pool.submit(folder.run, "doctor", "--uri", "http://127.0.0.1:9", code=2)
        findings = {finding["part"]: finding for finding in json.loads(sound.result().out)}
    for part in ("TensorFlow", "MPS", "Ray", "MLflow", "disk of sweeps", "disk of Ray"):
        assert findings[part]["status"] in ("ok", "warn"), findings[part]
    assert "2." in findings["TensorFlow"]["found"]
    assert "started in" in findings["Ray"]["found"]
    assert "will be made by the first sweep" in findings["MLflow"]["found"]
    assert not (folder.path / "mlflow.db").exists()
    assert not (folder.path / "sweeps").exists()

    assert "fail  MLflow" in broken.result().out
    assert "see that the server runs" in broken.result().out
