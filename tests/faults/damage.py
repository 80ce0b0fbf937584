"""Snapshots that are not what they were: always noticed, and the one before is used."""

from __future__ import annotations

import random
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path

from faults.injection import Injection
from faults.lab import LOCAL, Lab, Trouble, Try
from faults.project import Project, sweep_arguments
from runner.journal import JournalReader
from runner.journal.snapshots import FOLDER, SnapshotStore

FLIPS = 1000
_TRIALS = ("000", "001")  # both live in the rounds after which the driver is killed
_ROUNDS = (8, 11)
Damage = Callable[[Path, random.Random], None]


def damaged(how: str) -> Callable[[Lab, int], Try]:
    """The driver is killed, a trial's newest snapshot damaged, and the sweep resumed."""

    def attempt(lab: Lab, seed: int) -> Try:
        began_s, chance, wanted = time.monotonic(), random.Random(seed), lab.reference()
        project, trouble = lab.project(), Trouble()
        newest = _killed_with_snapshots(lab, project, chance)
        if newest is not None:
            DAMAGES[how](newest, chance)
            _resume(lab, project, newest, trouble)
        return lab.judge(seed, project, trouble, began_s, wanted=wanted, struck=newest is not None)

    return attempt


def bits_flipped(lab: Lab, seed: int) -> Try:
    """Each of many bits is flipped alone, and noticed; the last one stays, and the sweep is resumed."""
    began_s, chance, wanted = time.monotonic(), random.Random(seed), lab.reference()
    project, trouble = lab.project(), Trouble()
    newest = _killed_with_snapshots(lab, project, chance)
    if newest is not None:
        unnoticed = _flip_many(project, newest, chance)
        trouble.expect(not unnoticed, f"{len(unnoticed)} flipped bits were not noticed: {unnoticed[:3]}")
        _resume(lab, project, newest, trouble)
    made = lab.judge(seed, project, trouble, began_s, wanted=wanted, struck=newest is not None)
    return made.standing_for(FLIPS)


def _killed_with_snapshots(lab: Lab, project: Project, chance: random.Random) -> Path | None:
    """The newest snapshot of a trial that has two; None where the sweep was too fast for that."""
    injection = Injection(point="after commit", number=chance.randint(*_ROUNDS))
    code = lab.fork(project, sweep_arguments(*LOCAL), injection)
    trial = chance.choice(_TRIALS)
    found = sorted((project.sweep / FOLDER / trial).glob("[0-9]*"))
    return found[-1] if code == -signal.SIGKILL and len(found) == 2 else None


def _resume(lab: Lab, project: Project, damaged: Path, trouble: Trouble) -> None:
    code = lab.fork(project, ["resume"])
    trouble.expect(code == 0, f"resume ended with {code}")
    if damaged.exists():
        told = f"{damaged}: this snapshot is not used" if damaged.is_absolute() else ""
        said = f"{damaged.relative_to(project.path)}: this snapshot is not used"
        trouble.expect(said in project.log or told in project.log, "nobody was told of the damaged snapshot")


def _flip_many(project: Project, newest: Path, chance: random.Random) -> list[tuple[str, int]]:
    """Flips bit after bit; returns those that were not noticed."""
    with JournalReader(project.sweep) as reader:
        trial = reader.trial(newest.parent.name).trial
    told: list[str] = []
    store = SnapshotStore(project.sweep, {}, told.append)
    whole = store.newest(trial, at_most=1 << 30)
    assert whole is not None
    assert whole.round == int(newest.name)
    unnoticed = []
    for number in range(FLIPS):
        file = chance.choice(sorted(newest.iterdir()))
        content = file.read_bytes()
        place = chance.randrange(8 * len(content))
        flipped = bytearray(content)
        flipped[place // 8] ^= 1 << place % 8
        file.write_bytes(flipped)
        told.clear()
        found = store.newest(trial, at_most=1 << 30)
        if len(told) != 1 or found is None or found.round >= whole.round:
            unnoticed.append((file.name, place))
        if number < FLIPS - 1:
            file.write_bytes(content)
    return unnoticed


def _remove(snapshot: Path, chance: random.Random) -> None:
    target = chance.choice([snapshot, *sorted(snapshot.iterdir())])
    if target.is_dir():
        shutil.rmtree(target)
    else:
        target.unlink()


def _truncate(snapshot: Path, chance: random.Random) -> None:
    file = chance.choice(sorted(snapshot.iterdir()))
    file.write_bytes(file.read_bytes()[: chance.randrange(file.stat().st_size)])


def _replace(snapshot: Path, chance: random.Random) -> None:
    """The newest snapshot of the sibling takes its place, under its name."""
    (other,) = [name for name in _TRIALS if name != snapshot.parent.name]
    foreign = max((snapshot.parents[1] / other).glob("[0-9]*"))
    shutil.rmtree(snapshot)
    shutil.copytree(foreign, snapshot)


DAMAGES: dict[str, Damage] = {"missing": _remove, "truncated": _truncate, "foreign": _replace}
