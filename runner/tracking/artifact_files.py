"""Artifacts of a store that keeps them as files on this machine: hard links instead of copies.

Two names of one inode are safe here: a model's file is written once, under a temporary name, and never changed. A
replacement, in the sweep's folder or in the store, replaces the name.
"""

from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from mlflow.store.artifact.local_artifact_repo import LocalArtifactRepository

from runner.texts.storable import shown

MODEL_FILE = "data/model.keras"  # in the folder of an MLflow model
_LINKING = ".linking."
# Another file system; no hard links there, or no more of them; a file of another user.
_NO_LINKS = {errno.EXDEV, errno.EPERM, errno.EMLINK, errno.EOPNOTSUPP, errno.EACCES, errno.ENOSYS}


def folder_of(artifact_uri: str) -> Path | None:
    """The folder of a run's or a model's artifacts; None if they are not files on this machine."""
    if urlsplit(artifact_uri).scheme not in ("", "file"):  # other repositories of MLflow need packages or a server
        return None
    return Path(LocalArtifactRepository(artifact_uri).artifact_dir)


def link(file: Path, target: Path) -> bool:
    """Makes `target` a hard link to the file; replaces an existing target.

    Returns:
        False if the file system does not allow it; then nothing was changed.

    Raises:
        OSError: the link failed for another reason, such as a full disk.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(_LINKING + target.name)
    partial.unlink(missing_ok=True)
    try:
        os.link(file, partial)
    except OSError as err:
        if err.errno in _NO_LINKS:
            return False
        raise
    partial.replace(target)
    partial.unlink(missing_ok=True)  # renaming one name of a file to another name of it does nothing
    return True


def write_texts(folder: Path, files: Mapping[str, str]) -> None:
    """Writes text files by their paths in a folder."""
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(shown(text), encoding="utf-8")


@contextmanager
def renamed(file: Path, name: str, staging: Path | None) -> Iterator[Path]:
    """The file under another name, without a copy, because an artifact is named like its file."""
    with tempfile.TemporaryDirectory(dir=staging) as folder:
        path = Path(folder, name)
        path.symlink_to(file.absolute())
        yield path
