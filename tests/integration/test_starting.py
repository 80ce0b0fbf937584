"""The program is started in a folder with a user's own code, by `python -m runner` and by the command `runner`."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from command_line import environment

FUNCTIONS = "def load_data(): ...\ndef build_model(units: int = 4): ...\n"
SHADOWS = ("json", "random", "logging", "re", "typing", "dataclasses", "pathlib", "click", "ray", "mlflow", "keras")
either_way = pytest.mark.parametrize(
    "start", [["-m", "runner"], ["-P", "-c", "from runner.__main__ import main; main()"]], ids=["module", "command"]
)


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@either_way
def test_files_named_like_modules_of_python_and_libraries_break_no_command(project: Path, start: list[str]) -> None:
    for name in SHADOWS:
        (project / f"{name}.py").write_text(f"raise ImportError('{name}.py of the user')\n", encoding="utf-8")
    (project / "exp.py").write_text(FUNCTIONS, encoding="utf-8")
    ended = subprocess.run(
        [sys.executable, *start, "sweep", "exp.py", "params.unit=1"],
        cwd=project, env=environment(), capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert ended.returncode == 2, ended.stderr
    assert "params.unit: the experiment has no such parameter; did you mean units?" in ended.stderr


@either_way
def test_code_in_the_current_folder_is_found_however_the_program_is_started(project: Path, start: list[str]) -> None:
    (project / "common").mkdir()
    (project / "experiments").mkdir()
    (project / "experiments" / "exp.py").write_text(f"import common\n{FUNCTIONS}", encoding="utf-8")
    ended = subprocess.run(
        [sys.executable, *start, "sweep", "experiments/exp.py", "params.unit=1"],
        cwd=project, env=environment(), capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert "params.unit" in ended.stderr
    assert "common" not in ended.stderr
