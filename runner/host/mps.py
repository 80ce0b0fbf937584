"""Asks for the state of NVIDIA's Multi-Process Service (MPS) on this machine; starts and changes nothing.

Sources:
    https://docs.nvidia.com/deploy/mps/index.html
    https://docs.nvidia.com/deploy/mps/appendix-tools-and-interface-reference.html
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from runner.placement import Gpu
from runner.records import Mps

CONTROL = "nvidia-cuda-mps-control"
PIPES, LOGS = "CUDA_MPS_PIPE_DIRECTORY", "CUDA_MPS_LOG_DIRECTORY"
_DEFAULT_PIPES = "/tmp/nvidia-mps"  # where the daemon listens, unless PIPES is set
_ANSWER_S = 5.0


def mps_of(environ: Mapping[str, str], gpus: Sequence[Gpu]) -> Mps:
    """The state of MPS for processes of this environment on these GPUs: `own`, `foreign` or `unavailable`.

    CUDA uses the daemon whose pipes it finds. Pipes that a dead daemon left behind do not answer.
    """
    if not gpus:
        return Mps(kind="unavailable", reason="there is no GPU")
    pipes = Path(environ.get(PIPES) or _DEFAULT_PIPES)
    if _ask(pipes, "get_server_list", environ) is not None:
        return Mps(kind="foreign", reason=f"a daemon serves already, with its pipes in {pipes}", pipes=str(pipes))
    if (problem := _problem(environ, gpus, pipes)) is not None:
        return Mps(kind="unavailable", reason=problem)
    return Mps(kind="own", reason="no daemon serves yet")


def clients_of(pipes: str, environ: Mapping[str, str]) -> frozenset[int] | None:
    """Numbers of the processes that compute through the daemon with these pipes; None if it does not answer.

    None too if the daemon is in another container or on the host, since it counts processes otherwise than this one.
    """
    servers = _ask(Path(pipes), "get_server_list", environ)
    if servers is None or not all(Path(f"/proc/{server}").exists() for server in servers):
        return None
    found: set[int] = set()
    for server in servers:
        found |= set(_ask(Path(pipes), f"get_client_list {server}", environ) or ())
    return frozenset(found)


def variables_of(mps: Mps | None) -> dict[str, str]:
    """What workers must find in their environment before CUDA starts: the pipes of the sweep's own daemon."""
    return {PIPES: mps.pipes} if mps is not None and mps.kind == "own" and mps.pipes else {}


def _problem(environ: Mapping[str, str], gpus: Sequence[Gpu], pipes: Path) -> str | None:
    """Why no daemon of this user can serve these GPUs; None if one can."""
    if sliced := [gpu.id for gpu in gpus if gpu.mig]:
        return f"MIG divides GPU {', '.join(sliced)}"
    if shutil.which(CONTROL, path=environ.get("PATH")) is None:
        return f"{CONTROL} is not on the PATH: it belongs to the NVIDIA driver, and containers may lack it"
    used = [path for path in (pipes, pipes / "control") if os.access(path, os.F_OK)]
    if not all(os.access(path, os.R_OK | os.W_OK) for path in used):
        return f"{pipes} belongs to a daemon that does not serve this user"
    return None


def _ask(pipes: Path, question: str, environ: Mapping[str, str]) -> list[int] | None:
    """The numbers that the daemon with these pipes answers; None if none does."""
    command = shutil.which(CONTROL, path=environ.get("PATH"))
    if command is None or not os.access(pipes / "control", os.F_OK):
        return None
    try:
        asked = subprocess.run(
            [command], input=f"{question}\n", env={**environ, PIPES: str(pipes)}, capture_output=True, text=True,
            check=False, timeout=_ANSWER_S,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired):
        return None
    if asked.returncode != 0 or "Cannot find MPS control daemon" in asked.stdout + asked.stderr:
        return None
    return [int(word) for word in asked.stdout.split() if word.isdecimal()]
