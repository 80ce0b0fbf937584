"""Code of the pages, run as a reader would run it: in a folder of its own, with short epochs and few trials."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from pages import ROOT, blocks, page, write_files

import runner

PAGES = ("docs/python.md", "docs/coming-from.md", "docs/your-project.md")
QUICK = """\
fleet: {kind: local}
tracking: {uri: "sqlite:///mlflow.db"}
train: {steps_per_epoch: 2, compile: graph}
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, tables: None) -> Path:
    """A reader's folder, with the files that pages show."""
    folder = tmp_path_factory.mktemp("reader")
    shutil.copytree(ROOT / "experiments", folder / "experiments", ignore=shutil.ignore_patterns("__pycache__"))
    write_files(folder)
    (folder / "conf" / "config.yaml").write_text(QUICK, encoding="utf-8")
    return folder


@pytest.fixture(autouse=True)
def in_its_folder(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sweep = runner.sweep

    def short(experiment: str, *overrides: str, **sections: Any) -> runner.Result:
        fewer = ("search.max_trials=4",) if "max_trials" in sections.get("search", {}) else ()
        return sweep(experiment, *overrides, *fewer, **sections)

    monkeypatch.setattr(runner, "sweep", short, raising=False)
    monkeypatch.chdir(folder)


def examples(name: str) -> list[str]:
    """A page's Python for this program; other tools' code and files do not import it."""
    return [block for block in blocks(page(name), "python") if block.startswith("import runner\n")]


@pytest.mark.parametrize("name", PAGES)
def test_the_python_of_a_page_runs(name: str) -> None:
    namespace: dict[str, Any] = {"__name__": "example"}
    assert examples(name)
    for number, code in enumerate(examples(name), 1):
        exec(compile(code, f"{name}, block {number}", "exec"), namespace)
        assert namespace["result"].status == "complete"
