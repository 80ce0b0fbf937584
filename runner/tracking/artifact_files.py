"""Artifacts of a store that keeps them as files on this machine: another name of a file instead of a copy of it.

Two names of one inode are safe here: a model's file is written once, under another name, and never changed; whatever
replaces it, in the sweep's folder or in the store, replaces the name.
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
# Another file system; one without hard links, or with no more of them; a file that is another user's.
_NO_LINKS = {errno.EXDEV, errno.EPERM, errno.EMLINK, errno.EOPNOTSUPP, errno.EACCES, errno.ENOSYS}


def folder_of(artifact_uri: str) -> Path | None:
    """The folder in which a run's or a model's artifacts are files; None where they are elsewhere."""
    if urlsplit(artifact_uri).scheme not in ("", "file"):  # MLflow's own repositories may need a package, or a server
        return None
    return Path(LocalArtifactRepository(artifact_uri).artifact_dir)


def link(file: Path, target: Path) -> bool:
    """Makes `target` another name of the file, in the place of whatever has that name.

    Returns:
        False where the file systems do not allow it; then nothing was changed.

    Raises:
        OSError: the disk is full, say.
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
    partial.unlink(missing_ok=True)  # a rename between two names of the same file does nothing
    return True


def write_texts(folder: Path, files: Mapping[str, str]) -> None:
    """Writes text files by their paths in a folder."""
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(shown(text), encoding="utf-8")


@contextmanager
def renamed(file: Path, name: str, staging: Path | None) -> Iterator[Path]:
    """The file under another name, without a copy: an artifact takes its file's name."""
    with tempfile.TemporaryDirectory(dir=staging) as folder:
        path = Path(folder, name)
        path.symlink_to(file.absolute())
        yield path
