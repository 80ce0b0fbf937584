"""Who started a run, and the commit of the experiment's own repository. MLflow's thread only."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from mlflow.tracking.context.git_context import GitRunContext
from mlflow.tracking.context.registry import resolve_tags
from mlflow.utils.git_utils import get_git_branch, get_git_commit, get_git_repo_url
from mlflow.utils.mlflow_tags import (
    MLFLOW_GIT_BRANCH,
    MLFLOW_GIT_COMMIT,
    MLFLOW_GIT_DIRTY,
    MLFLOW_GIT_REPO_URL,
    MLFLOW_SOURCE_NAME,
)

from runner.texts.redaction import redact
from runner.tracking.labels import Code


def context_tags(codes: Sequence[Code]) -> dict[str, str]:
    """User, source and git tags of a sweep's runs.

    MLflow itself would report the repository of the main script, which is this program's and not the experiment's.
    """
    tags = {**resolve_tags(ignore=[GitRunContext]), MLFLOW_SOURCE_NAME: ", ".join(code.path for code in codes)}
    return {name: redact(value) for name, value in (tags | _common(map(_git_tags, codes))).items()}


def _common(each: Iterable[dict[str, str]]) -> dict[str, str]:
    """The tags that all experiments of a mixed sweep share."""
    first, *others = each
    return {name: value for name, value in first.items() if all(other.get(name) == value for other in others)}


def _git_tags(code: Code) -> dict[str, str]:
    """Commit, branch, address, and whether the code differs from the commit; empty if git does not track the file."""
    commit = get_git_commit(code.root)
    changed = None if commit is None else _is_changed(code)
    if commit is None or changed is None:
        return {}
    found = {
        MLFLOW_GIT_COMMIT: commit,
        MLFLOW_GIT_BRANCH: get_git_branch(code.root),
        MLFLOW_GIT_REPO_URL: get_git_repo_url(code.root),
        MLFLOW_GIT_DIRTY: "true" if changed else "false",
    }
    return {name: value for name, value in found.items() if value is not None}


def _is_changed(code: Code) -> bool | None:
    """Whether the code differs from the commit; None if the repository does not track the experiment's file."""
    import git  # comes with MLflow; its import fails if git is not installed

    files = [str(Path(code.root, name)) for name in code.files]
    try:
        repository = git.Repo(code.root, search_parent_directories=True)
        held = repository.git.ls_files("-z", "--", *files).split("\0")[:-1]
        names = {str(Path(repository.working_dir, name).resolve()) for name in held}
        if str(Path(files[0]).resolve()) not in names:
            return None
        return len(held) < len(files) or bool(repository.git.diff("--name-only", "HEAD", "--", *files))
    except (git.GitError, OSError, ValueError):
        return None
