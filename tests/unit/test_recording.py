from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

import runner
from runner.errors import JournalError
from runner.journal import files_of
from runner.journal.trial_files import put_files
from runner.recording import recording


class Recorder:
    def __init__(self, folder: Path) -> None:
        self.folder, self.metrics = folder, dict[str, float]()

    def log_metric(self, name: str, value: float) -> None:
        self.metrics[name] = value


class Figure:
    def savefig(self, path: Path) -> None:
        path.write_text("png")


class Page:
    def write_html(self, path: Path, include_plotlyjs: bool) -> None:
        path.write_text(f"html {include_plotlyjs}")

    def write_image(self, path: Path) -> None:
        path.write_text("image")


def content(folder: Path) -> dict[str, str]:
    return {path.relative_to(folder).as_posix(): path.read_text() for path in folder.rglob("*") if path.is_file()}


def test_outside_of_a_sweep_nothing_is_recorded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.txt").write_text("a")
    runner.log_metric("f1", 0.5)
    runner.log_artifact("a.txt", "b.txt")
    runner.log_figure("f", Figure())
    assert runner.trial_folder() == tmp_path
    assert content(tmp_path) == {"a.txt": "a"}


def test_what_is_recorded_goes_to_the_trial_whose_callbacks_run(tmp_path: Path) -> None:
    folder, outside = tmp_path / "trial", tmp_path / "outside"
    folder.mkdir()
    (outside / "d").mkdir(parents=True)
    (outside / "a.txt").write_text("a")
    (outside / "d" / "e.txt").write_text("e")
    recorder = Recorder(folder)
    with recording(recorder):
        runner.log_metric("f1", 0.25)
        runner.log_metric("f1", True)
        runner.log_artifact(outside / "a.txt")
        runner.log_artifact(outside / "a.txt", "sub/b.txt")
        runner.log_artifact(outside / "d")
        runner.log_artifact(folder / "a.txt")  # is there already
        with pytest.raises(ValueError, match="has the trial's own folder in it"):
            runner.log_artifact(tmp_path)
        for name, figure in (
            ("f", Figure()),
            ("g/h.pdf", Figure()),
            ("p", Page()),
            ("p.svg", Page()),
            ("lr0.001", Figure()),
        ):
            runner.log_figure(name, figure)
        assert runner.trial_folder() == folder
    assert recorder.metrics == {"f1": 1.0}
    assert content(folder) == {
        "a.txt": "a", "sub/b.txt": "a", "d/e.txt": "e", "f.png": "png", "g/h.pdf": "png", "p.html": "html True",
        "p.svg": "image", "lr0.001.png": "png",
    }  # fmt: skip
    assert runner.trial_folder() == Path.cwd()


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: runner.log_metric("a", "x"), TypeError, "log_metric: the value of 'a' must be a number; got 'x'"),  # type: ignore[arg-type]
        (lambda: runner.log_metric("", 1), TypeError, "log_metric: the name must be a text; got ''"),
        (lambda: runner.log_artifact("nowhere"), FileNotFoundError, "log_artifact: no such file: nowhere"),
        (lambda: runner.log_figure("f", SimpleNamespace()), TypeError, "must be a figure of matplotlib or plotly; got"),
    ],
)
def test_mistakes_are_found_outside_of_a_sweep_too(call: object, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call()  # type: ignore[operator]


@pytest.mark.parametrize("name", ["../a.txt", "/a.txt", "a/../../b"])
def test_nothing_is_written_outside_of_the_trials_folder(name: str, tmp_path: Path) -> None:
    (tmp_path / "trial").mkdir()
    with recording(Recorder(tmp_path / "trial")), pytest.raises(ValueError, match="relative path without"):
        runner.log_figure(name, Figure())


def test_files_by_value_replace_those_of_the_trial_and_links_are_left_out(tmp_path: Path) -> None:
    put_files(tmp_path, "000", (("a.txt", b"a"), ("sub/b.bin", b"\0")))
    put_files(tmp_path, "000", (("sub/b.bin", b"\1"),))
    (tmp_path / "files" / "000" / "link").symlink_to("/etc/hostname")
    assert files_of(tmp_path, "000") == [("sub/b.bin", tmp_path / "files" / "000" / "sub" / "b.bin")]
    assert files_of(tmp_path, "001") == []
    with pytest.raises(JournalError, match="is a link or leads through one"):
        put_files(tmp_path, "000", (("../../x", b""),))
