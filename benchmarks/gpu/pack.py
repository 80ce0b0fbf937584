"""Packs the repository for a machine without network: its tracked files and a script that runs all that needs a GPU."""

from __future__ import annotations

import io
import subprocess
import tarfile
from pathlib import Path

from benchmarks.workloads import ROOT

NAME = "lockstep-runner"
SCRIPT = Path(__file__).with_name("run.sh")


def write(folder: Path, root: Path = ROOT) -> Path:
    """Writes `lockstep-runner-gpu.tar.gz` into a folder, and returns it.

    The archive holds one folder with every tracked file as it is on the disk, `run.sh`, and `COMMIT`, the commit's
    name, marked if files differ from it.

    Args:
        folder: is made.
        root: a clone.

    Raises:
        RuntimeError: `root` is no clone.
    """
    names = sorted(filter(None, _git(root, "ls-files", "-z").split("\0")))
    commit = _git(root, "describe", "--always", "--dirty", "--abbrev=12").strip()
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{NAME}-gpu.tar.gz"
    with tarfile.open(file, "w:gz") as archive:
        for name in names:
            if (root / name).exists():  # it may be removed and not committed
                archive.add(root / name, f"{NAME}/{name}", recursive=False)
        _add(archive, "run.sh", SCRIPT.read_bytes(), 0o755)
        _add(archive, "COMMIT", f"{commit}\n".encode(), 0o644)
    return file


def _add(archive: tarfile.TarFile, name: str, content: bytes, mode: int) -> None:
    entry = tarfile.TarInfo(f"{NAME}/{name}")
    entry.size, entry.mode = len(content), mode
    archive.addfile(entry, io.BytesIO(content))


def _git(root: Path, *arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=root, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{root}: only a clone of the repository can be packed: {done.stderr.strip()}")
    return done.stdout
