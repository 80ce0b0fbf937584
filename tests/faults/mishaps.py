"""The experiment's own code goes wrong in one trial: it hangs, its loss is not finite, it asks for too much memory."""

from __future__ import annotations

import math
import random
import struct
import time
from dataclasses import replace

from faults.lab import LOCAL, Lab, Trouble, Try, run_process
from faults.outcome import Outcome, Row
from faults.project import Project, sweep_arguments

_VICTIM = "001"
_STEPS = (70, 124)  # beyond what the check before the sweep tries, and after the first validation
_TURN = 8  # steps
_IMPATIENT = ("fleet.turn_timeout_s=5", "fleet.first_turn_timeout_s=90")
_SOME_FAILED = 3


def hang(lab: Lab, seed: int) -> Try:
    """A step sleeps forever, once: the worker is killed at its deadline, and the turn repeated by another."""
    began_s, trouble, settings = time.monotonic(), Trouble(), _settings("hang")
    wanted, project = lab.reference(*settings), lab.project()
    _arm(project, random.Random(seed).randint(*_STEPS))
    code = run_process(project, sweep_arguments(*settings, *_IMPATIENT), trouble)
    trouble.expect(code == 0, f"the sweep ended with {code}")
    return lab.judge(seed, project, trouble, began_s, wanted=wanted, struck=not _armed(project))


def out_of_memory(lab: Lab, seed: int) -> Try:
    """A step asks, once, for more than `resources.memory_mib`; where its trial fails it is resumed where it failed."""
    began_s, trouble, settings = time.monotonic(), Trouble(), (*_settings("oom"), "resources.memory_mib=2000")
    wanted, project = lab.reference(*settings), lab.project()
    _arm(project, random.Random(seed).randint(*_STEPS))
    code = run_process(project, sweep_arguments(*settings), trouble)
    if code == _SOME_FAILED:
        code = run_process(project, ["resume", "--retry-failed"], trouble)
    trouble.expect(code == 0, f"the sweep ended with {code}")
    return lab.judge(seed, project, trouble, began_s, wanted=wanted, victims={_VICTIM}, struck=not _armed(project))


def not_finite(lab: Lab, seed: int) -> Try:
    """The weights become NaN at a step: that trial is stopped with its rows kept, and stays so when resumed."""
    began_s, trouble, settings = time.monotonic(), Trouble(), _settings("diverge")
    undisturbed, project = lab.reference(*settings), lab.project()
    step = _in_mid_epoch(random.Random(seed).randint(*_STEPS))
    _arm(project, step)
    for verb in (sweep_arguments(*LOCAL, *settings), ["resume"]):
        code = lab.fork(project, verb)
        trouble.expect(code == 0, f"{verb[0]} ended with {code}")
    wanted = _diverged(undisturbed, project.outcome(), step, trouble)
    return lab.judge(seed, project, trouble, began_s, wanted=wanted, victims={_VICTIM}, struck=True)


def _score(got: Outcome) -> dict[Row, list[bytes]]:
    """What ranks the victim in MLflow: the metric of its best epoch, whose weights it has kept; nothing for none."""
    best = got.ends[_VICTIM][2]
    if not isinstance(best, int):
        return {}
    values = {"score": got.journal[_VICTIM, "val_loss", best], "best_epoch": struct.pack("<d", best)}
    return {(_VICTIM, name, best): [value] for name, value in values.items()}


def _settings(mishap: str) -> tuple[str, ...]:
    return "params.learning_rate=0.001", f"params.mishap=none,{mishap}"


def _arm(project: Project, step: int) -> None:
    (project.path / "MISHAP").write_text(str(step), encoding="utf-8")


def _armed(project: Project) -> bool:
    return (project.path / "MISHAP").exists()


def _in_mid_epoch(step: int) -> int:
    """The step, moved off the turn that ends an epoch."""
    return step if step % 32 <= 32 - _TURN else step - _TURN


def _diverged(undisturbed: Outcome, got: Outcome, step: int, trouble: Trouble) -> Outcome:
    """What is wanted: the victim's rows are the undisturbed ones up to the turn with the step, and that turn's."""
    last = math.ceil(step / _TURN) * _TURN
    ended = [row for row in got.journal if row[0] == _VICTIM and row[1].startswith("round/") and row[2] == last]
    trouble.expect({row[1] for row in ended} == {"round/loss", "round/accuracy"}, f"the last turn has {ended}")
    loss = got.journal.get((_VICTIM, "round/loss", last), struct.pack("<d", 0.0))
    trouble.expect(math.isnan(struct.unpack("<d", loss)[0]), "the last turn's loss is finite")
    status, reason, *_ = got.ends[_VICTIM]
    trouble.expect(status == "stopped" and str(reason).startswith("diverged:"), f"it ended as {status}: {reason}")
    tags = dict(got.runs[_VICTIM][0][1])
    trouble.expect(tags.get("diverged") == "true", f"its run has {tags}")

    def is_before(row: tuple[str, str, int]) -> bool:
        return row[2] < last if row[1].startswith("round/") else row[2] <= step // 32

    journal = {r: v for r, v in undisturbed.journal.items() if r[0] == _VICTIM and is_before(r)}
    mlflow = {r: v for r, v in undisturbed.mlflow.items() if r in journal} | _score(got)
    of_victim = replace(
        got,
        journal={**journal, **{row: got.journal[row] for row in ended}},
        mlflow={**mlflow, **{row: [got.journal[row]] for row in ended}},
    )
    wanted = undisturbed.with_trial(_VICTIM, of_victim)
    return replace(wanted, ends={**wanted.ends, "": got.ends[""]}, runs={**wanted.runs, "": got.runs[""]})
