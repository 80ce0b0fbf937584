"""Where a run comes from: the repository of the experiment, and no other."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from runner.tracking.labels import Code

GIT = "mlflow.source.git."


def git(folder: Path, *arguments: str) -> str:
    who = ("-c", "user.name=a", "-c", "user.email=a@example.org")
    return subprocess.run(
        ["git", *who, *arguments], cwd=folder, check=True, capture_output=True, text=True
    ).stdout.strip()


def tags(folder: Path, *files: str) -> dict[str, str]:
    from runner.tracking.provenance import context_tags

    return context_tags([Code(files[0], str(folder), files)])


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    git(tmp_path, "init", "-q", "-b", "trunk")
    git(tmp_path, "remote", "add", "origin", "https://me:secret@example.org/code.git")
    for name in ("a.py", "b.py"):
        (tmp_path / name).write_text("x = 1\n", encoding="utf-8")
    git(tmp_path, "add", "a.py")
    git(tmp_path, "commit", "-q", "-m", "first")
    return tmp_path


def test_the_programs_own_repository_is_not_the_experiments(tmp_path: Path):
    (tmp_path / "a.py").write_text("x = 1\n", encoding="utf-8")
    found = tags(tmp_path, "a.py")
    assert not [name for name in found if "git" in name]
    assert (found["mlflow.source.name"], found["mlflow.source.type"]) == ("a.py", "LOCAL")


def test_the_experiments_repository_is_named_as_it_is(repository: Path):
    head = git(repository, "rev-parse", "HEAD")
    found = {name.removeprefix(GIT): value for name, value in tags(repository, "a.py").items() if name.startswith(GIT)}
    assert found == {"commit": head, "branch": "trunk", "repoURL": "https://example.org/code.git", "dirty": "false"}
    (repository / "a.py").write_text("x = 2\n", encoding="utf-8")
    assert tags(repository, "a.py")[GIT + "dirty"] == "true"


def test_a_file_that_git_does_not_follow_has_no_commit(repository: Path):
    assert not [name for name in tags(repository, "b.py") if "git" in name]
    assert tags(repository, "a.py", "b.py")[GIT + "dirty"] == "true"


def test_experiments_of_several_repositories_share_only_what_holds_for_all(repository: Path, tmp_path_factory):
    from runner.tracking.provenance import context_tags

    codes = [Code("a.py", str(repository), ("a.py",)), Code("c.py", str(tmp_path_factory.mktemp("none")), ("c.py",))]
    found = context_tags(codes)
    assert not [name for name in found if "git" in name]
    assert found["mlflow.source.name"] == "a.py, c.py"
