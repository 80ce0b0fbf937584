"""Code of the pages, run as a reader would run it: in a folder of its own, with short epochs and few trials."""

from __future__ import annotations

import doctest
import linecache
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from pages import ROOT, blocks, page, write_files

import runner

PAGES = ("docs/python.md", "docs/coming-from.md", "docs/your-project.md", "docs/recipes.md", "docs/report.md")
OF_A_SWEEP = ("docs/recipes.md", "docs/report.md")  # begin with one that has ended
QUICK = """\
fleet: {kind: local}
tracking: {uri: "sqlite:///mlflow.db"}
train: {steps_per_epoch: 2, compile: graph}
"""


def reader(folder: Path) -> Path:
    """Makes a reader's folder, with the files that pages show."""
    shutil.copytree(ROOT / "experiments", folder / "experiments", ignore=shutil.ignore_patterns("__pycache__"))
    write_files(folder)
    (folder / "conf" / "config.yaml").write_text(QUICK, encoding="utf-8")
    return folder


@pytest.fixture(autouse=True)
def few_trials(monkeypatch: pytest.MonkeyPatch) -> None:
    sweep = runner.sweep

    def short(*arguments: Any, **sections: Any) -> Any:
        arguments = arguments or (None,)
        fewer = ["search.max_trials=4"] if "max_trials" in sections.get("search", {}) else []
        if sections.get("block") is False:
            fewer.append("fleet.kind=ray")  # the background is no place for a fleet of this process
        return sweep(*arguments, *fewer, **sections)

    monkeypatch.setattr(runner, "sweep", short, raising=False)


@pytest.fixture(scope="module")
def with_a_sweep(tmp_path_factory: pytest.TempPathFactory, tables: None) -> Path:
    """A reader's folder in which the example of `runner.sweep` has run."""
    folder = reader(tmp_path_factory.mktemp("reader"))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        runner.sweep("experiments/digits_mlp.py", space={"units": [32, 64]}, train={"epochs": 2})
    return folder


def examples(name: str) -> list[str]:
    """A page's Python for this program; the code of other tools, and files, do not import it."""
    return [block for block in blocks(page(name), "python") if "import runner\n" in block]


@pytest.mark.ray
@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow) if name == "docs/coming-from.md" else name for name in PAGES]
)
def test_the_python_of_a_page_runs(
    name: str, tmp_path: Path, with_a_sweep: Path, monkeypatch: pytest.MonkeyPatch, tables: None
) -> None:
    monkeypatch.chdir(with_a_sweep if name in OF_A_SWEEP else reader(tmp_path))
    namespace: dict[str, Any] = {"__name__": "example"}
    assert examples(name)
    for number, code in enumerate(examples(name), 1):
        place = f"{name}, block {number}"
        linecache.cache[place] = (len(code), None, code.splitlines(keepends=True), place)  # as a notebook's cell has it
        exec(compile(code, place, "exec"), namespace)
        assert namespace["result"].status == "complete"


@pytest.mark.parametrize("name", re.findall(r"auto\w+:: runner\.(\w+)(?:\(\))?\n", page("docs/api.md")))
def test_the_example_of_a_docstring_runs(name: str, with_a_sweep: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(with_a_sweep)
    lines: list[str] = []
    found = doctest.DocTestFinder(recurse=False).find(getattr(runner, name), name, globs={"runner": runner})
    for test in found:
        doctest.DocTestRunner(verbose=False).run(test, out=lines.append)
    assert not lines, "".join(lines)
    assert any(test.examples for test in found) or ">>>" not in (getattr(runner, name).__doc__ or "")
