"""Asks whether a daemon of NVIDIA's Multi-Process Service (MPS) serves this user; never starts or changes one."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

CONTROL = "nvidia-cuda-mps-control"
_PIPES = "/tmp/nvidia-mps"  # where the daemon listens, unless CUDA_MPS_PIPE_DIRECTORY is set
_ANSWER_S = 5.0


def is_serving(environ: Mapping[str, str]) -> bool:
    """Whether processes of this environment compute through MPS, and so at the same time.

    CUDA uses the daemon whose pipe it finds. A pipe that a dead daemon left behind does not answer.

    Source: https://docs.nvidia.com/deploy/mps/index.html
    """
    pipes = Path(environ.get("CUDA_MPS_PIPE_DIRECTORY") or _PIPES)
    command = shutil.which(CONTROL, path=environ.get("PATH"))
    if command is None or not (pipes / "control").exists():
        return False
    try:
        asked = subprocess.run(
            [command], input="get_server_list\n", env=dict(environ), capture_output=True, text=True, check=False,
            timeout=_ANSWER_S,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired):
        return False
    return asked.returncode == 0 and "Cannot find MPS control daemon" not in asked.stdout + asked.stderr
