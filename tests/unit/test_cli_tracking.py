"""Which store `sync`, `ui` and `doctor` use, and what they say of an address that cannot be read."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner
from small_journal import small_sweep

from runner import tracking
from runner.cli import cli
from runner.driver import doctor
from runner.tracking import ui

EXPERIMENT = str(Path(__file__).parents[2] / "experiments" / "digits_mlp.py")
RECORDED, GIVEN = "postgresql://host/db", "postgresql://me:hunter22@host/db"


@pytest.fixture
def asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The stores that are asked, in a folder with one sweep."""
    found: list[str] = []

    def send(folder: Path, uri: str, **_: object) -> str:
        found.append(uri)
        return "MLflow"

    def examine(uri: str, _: object) -> list[doctor.Finding]:
        found.append(uri)
        return [doctor.Finding(part="MLflow", status="ok", found="")]

    monkeypatch.setattr(tracking, "sync", send)
    monkeypatch.setattr(ui, "serve", lambda _, environment, __: found.append(environment["MLFLOW_BACKEND_STORE_URI"]))
    monkeypatch.setattr(doctor, "examine", examine)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sweeps").mkdir()
    with small_sweep(tmp_path / "sweeps" / "tiny-1", RECORDED) as journal:
        journal.end("killed")
    return found


@pytest.mark.parametrize("verb", [["sync", "tiny-1"], ["ui", "--port", "47113"], ["doctor"]], ids=lambda verb: verb[0])
def test_the_variable_gives_the_credentials_of_the_sweeps_store(verb: list[str], asked: list[str]) -> None:
    for given, used in ((GIVEN, GIVEN), ("postgresql://me:hunter22@other/db", RECORDED), ("", RECORDED)):
        ended = CliRunner().invoke(cli, verb, env={"MLFLOW_TRACKING_URI": given})
        assert (ended.exit_code, asked.pop()) == (0, used), ended.output
        assert "hunter22" not in ended.output


@pytest.mark.parametrize("uri", ["sqlite:mlflow.db", "http://[::1"])
@pytest.mark.parametrize(
    "verb",
    [
        ["sync", "tiny-1", "--tracking-uri={}"],
        ["ui", "--uri={}"],
        ["doctor", "--uri={}"],
        ["plan", EXPERIMENT],
        ["sweep", EXPERIMENT, "tracking.required=false"],
    ],
    ids=lambda verb: verb[0],
)
def test_an_address_that_cannot_be_read_is_a_line_and_not_a_traceback(
    verb: list[str], uri: str, asked: list[str]
) -> None:
    ended = CliRunner().invoke(cli, [word.format(uri) for word in verb], env={"MLFLOW_TRACKING_URI": uri})
    assert ended.exit_code == 2, ended.output
    assert f"tracking.uri={uri}: not the address of a s" in ended.output
    assert asked == []


def test_the_server_keeps_the_users_filters_of_warnings() -> None:
    kept = ui.server_environment("sqlite:///a.db", {"PYTHONWARNINGS": "error"})["PYTHONWARNINGS"]
    assert kept.startswith("error,ignore:starlette")
    assert ui.server_environment("sqlite:///a.db", {})["PYTHONWARNINGS"].startswith("ignore:starlette")
