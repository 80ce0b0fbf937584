"""The driver's side of the exporter process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Self

import runner

_IN_FLIGHT = 16  # jobs the process holds at a time: their lines fit in the pipe, so that writing never blocks
_END_S = 5.0


class Exporter:
    """One low-priority process that writes MLflow model folders; started at the first job, again if it died.

    Args:
        log: the file that takes what it prints.
    """

    def __init__(self, log: Path) -> None:
        self._log = log
        self._process: subprocess.Popen[bytes] | None = None
        self._in_flight: list[str] = []
        self._answers: dict[str, str | None] = {}
        self._partial = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        if self._process is not None:
            self._process.terminate()  # it holds nothing that could not be written again
            try:
                self._process.wait(_END_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
            self._reap()

    def export(self, job_id: str, model: Path, folder: Path, run_id: str) -> tuple[str | None] | None:
        """Asks once for `model` to be written as an MLflow model into `folder`.

        Returns:
            None while it is on its way; then, once, `(None,)` for done or `(what went wrong,)`.
        """
        self._read_answers()
        if job_id in self._answers:
            return (self._answers.pop(job_id),)
        if job_id not in self._in_flight and len(self._in_flight) < _IN_FLIGHT:
            job = {"id": job_id, "model": str(model.absolute()), "folder": str(folder.absolute()), "run_id": run_id}
            self._send(json.dumps(job).encode() + b"\n")
            self._in_flight.append(job_id)
        return None

    def _send(self, line: bytes) -> None:
        if self._process is None:
            self._process = self._start()
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):  # it has died: the next reading finds its answers at an end
            self._process.stdin.write(line)

    def _start(self) -> subprocess.Popen[bytes]:
        self._log.parent.mkdir(parents=True, exist_ok=True)
        # A niced process may not hold the cores that training needs, nor touch a GPU.
        environment = os.environ | {
            "CUDA_VISIBLE_DEVICES": "-1",
            "KERAS_BACKEND": "tensorflow",
            "TF_CPP_MIN_LOG_LEVEL": "3",
            "TF_NUM_INTRAOP_THREADS": "1",
            "TF_NUM_INTEROP_THREADS": "1",
            "OMP_NUM_THREADS": "1",
            "PYTHONPATH": os.pathsep.join(
                [str(Path(runner.__file__).parents[1]), *filter(None, [os.environ.get("PYTHONPATH")])]
            ),
        }
        with self._log.open("ab") as log:
            process = subprocess.Popen(
                # -P: a file in the working directory must not shadow a package.
                [sys.executable, "-P", "-m", "runner.tracking.exporter"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                bufsize=0,
                env=environment,
                start_new_session=True,  # Ctrl-C is for the driver, which still wants the models
            )
        assert process.stdout is not None
        os.set_blocking(process.stdout.fileno(), False)
        return process

    def _read_answers(self) -> None:
        if self._process is None or self._process.stdout is None:
            return
        while True:
            chunk = self._process.stdout.read(65536)
            if chunk is None:  # nothing more for now
                return
            if chunk == b"":
                self._mourn()
                return
            *lines, self._partial = (self._partial + chunk).split(b"\n")
            for line in lines:
                answer = json.loads(line)
                self._answers[answer["id"]] = answer["error"]
                self._in_flight.remove(answer["id"])

    def _mourn(self) -> None:
        """The process has died over its oldest job, which is answered; the others go to the next one."""
        code = self._reap()
        if self._in_flight:
            self._answers[self._in_flight[0]] = f"the exporter process ended with code {code}; see {self._log}"
        self._in_flight.clear()

    def _reap(self) -> int:
        assert self._process is not None
        code = self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()
        self._process, self._partial = None, b""
        return code
