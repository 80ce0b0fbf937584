"""Stands in for NVIDIA's MPS daemon and driver library on a machine without a GPU."""

from __future__ import annotations

import sys
from pathlib import Path

_CONTROL = """
import os, pathlib, socket, sys, time
pipes = pathlib.Path(os.environ["CUDA_MPS_PIPE_DIRECTORY"])
if sys.argv[1:] == ["-f"]:
    if "MPS_FAILS" in os.environ:
        sys.exit("no GPU can be used")
    server = os.fork()
    while server == 0:
        time.sleep(1)
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(str(pipes / "control"))
    listening.listen()
    while True:
        talk, _ = listening.accept()
        word = talk.recv(100).decode().split()
        if word == ["quit"]:
            sys.exit() if "MPS_LEAVES_SERVER" in os.environ else os.kill(server, 9)
            sys.exit()
        clients = pipes / "clients"  # stands for what CUDA tells the daemon
        known = clients.read_text() if clients.exists() else ""
        talk.sendall((known if word[0] == "get_client_list" else str(server)).encode())
        talk.close()
asking = socket.socket(socket.AF_UNIX)
try:
    asking.connect(str(pipes / "control"))
except OSError:
    sys.exit("Cannot find MPS control daemon process")
asking.sendall(sys.stdin.readline().encode())
print(asking.recv(1000).decode(), end="")
""".replace("\\\\n", "\\n")
_NVML = """
from types import SimpleNamespace
class NVMLError(Exception): pass
def nvmlInit(): pass
nvmlShutdown = nvmlInit
def nvmlSystemGetDriverVersion(): return "580"
def nvmlDeviceGetCount(): return 1
def nvmlDeviceGetHandleByIndex(index): return index
def nvmlDeviceGetUUID(handle): return "GPU-aaaa"
def nvmlDeviceGetName(handle): return "NVIDIA A10"
def nvmlDeviceGetMigMode(handle): return [0, 0]
def nvmlDeviceGetMemoryInfo(handle): return SimpleNamespace(total=9000 * 2**20, free=8000 * 2**20, used=0)
def nvmlDeviceGetComputeRunningProcesses(handle): return []
nvmlDeviceGetMPSComputeRunningProcesses = nvmlDeviceGetComputeRunningProcesses
"""


def write_control(folder: Path) -> Path:
    """Writes the daemon's program, which also asks it, into a folder for the PATH."""
    program = folder / "nvidia-cuda-mps-control"
    program.write_text(f"#!{sys.executable}\n{_CONTROL}")
    program.chmod(0o755)
    return program


def write_nvml(folder: Path) -> None:
    """Writes a driver library with one GPU into a folder for the PYTHONPATH."""
    (folder / "pynvml.py").write_text(_NVML)
