"""What is done to a driver from within: the n-th call at a seam of the program is where the fault strikes.

The program itself knows nothing of this: its functions are wrapped in the process that the suite starts.
"""

from __future__ import annotations

import functools
import json
import os
import random
import signal
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from unittest import mock

STRUCK = Path("struck")  # in the sweep's working directory: the fault has happened
Act = Callable[..., None]


@dataclass(frozen=True, kw_only=True)
class Injection:
    """One fault in one driver.

    Args:
        point: a name of `POINTS`.
        number: at the how many-th call it strikes, from 1.
        seed: of whatever else is left to chance.
        slot: whose worker, where it is a worker's fault.
        kind: what befalls that worker, a signal's name; or the folder that becomes full.
    """

    point: str
    number: int
    seed: int = 0
    slot: int = 0
    kind: str = "SIGKILL"

    def to_json(self) -> str:
        return json.dumps(asdict(self))


@contextmanager
def injected(injection: Injection | None) -> Iterator[None]:
    """Inside, the fault will strike."""
    with ExitStack() as patches:
        if injection is not None:
            POINTS[injection.point](injection, patches)
        yield


def _kill_driver(*_: Any, **__: Any) -> None:
    STRUCK.touch()
    os.kill(os.getpid(), signal.SIGKILL)


def _wrap(patches: ExitStack, owner: Any, name: str, number: int, before: Act | None, after: Act | None) -> None:
    """The `number`-th call of a function, counted over all threads, has something done before or after it."""
    original, lock, calls = getattr(owner, name), threading.Lock(), 0

    @functools.wraps(original)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        nonlocal calls
        with lock:
            calls += 1
            here = calls == number
        if here and before is not None:
            before(*args, **kwargs)
        result = original(*args, **kwargs)
        if here and after is not None:
            after(*args, **kwargs)
        return result

    patches.enter_context(mock.patch.object(owner, name, wrapped))


# --- the driver -------------------------------------------------------------------------------------------------------


def _before_commit(injection: Injection, patches: ExitStack) -> None:
    from runner.journal import SqliteJournal

    _wrap(patches, SqliteJournal, "commit", injection.number, _kill_driver, None)


def _within_commit(injection: Injection, patches: ExitStack) -> None:
    """In the open transaction, some of its rows written."""
    from runner.journal import writer

    _wrap(patches, writer, "apply_verdict", injection.number, _kill_driver, None)


def _after_commit(injection: Injection, patches: ExitStack) -> None:
    from runner.journal import SqliteJournal

    _wrap(patches, SqliteJournal, "commit", injection.number, None, _kill_driver)


def _between_metrics_and_tags(injection: Injection, patches: ExitStack) -> None:
    """MLflow has rows and tags that the ledger does not know of, or a trial's run and model and not yet its tags."""
    from runner.tracking.mlflow_sink import MlflowSink

    if random.Random(injection.seed).random() < 0.5:
        _wrap(patches, MlflowSink, "log", injection.number, None, _kill_driver)
    else:
        _wrap(patches, MlflowSink, "log", injection.number, _kill_driver, None)


def _mid_snapshot(injection: Injection, patches: ExitStack) -> None:
    """A part of a file is written; or both files, and the folder is not yet renamed."""
    from runner.journal import snapshots

    chance = random.Random(injection.seed)

    def write_a_part(path: Path, content: bytes | Path) -> None:
        whole = content.read_bytes() if isinstance(content, Path) else content
        path.write_bytes(whole[: chance.randrange(len(whole))])
        _kill_driver()

    place = chance.random()
    if place < 0.75:
        # Those that write the state, which workers have written to another place, and the manifest.
        name = "put_durably" if place < 0.375 else "write_durably"
        _wrap(patches, snapshots, name, injection.number, write_a_part, None)
    else:
        _wrap(patches, snapshots, "sync_folder", injection.number, _kill_driver, None)


def _while_flushing(injection: Injection, patches: ExitStack) -> None:
    """All is trained, and the rest is on its way to MLflow: its n-th call from there on."""
    from runner.journal import SqliteJournal
    from runner.tracking import connection

    def arm(*_: Any, **__: Any) -> None:
        _wrap(patches, connection, "mapped", injection.number, _kill_driver, None)

    _wrap(patches, SqliteJournal, "end", 1, None, arm)


def _full_disk(injection: Injection, patches: ExitStack) -> None:
    """Nothing fits on the working directory's disk any more, but for a few pages."""
    from runner.journal import SqliteJournal

    def fill(*_: Any, **__: Any) -> None:
        free = os.statvfs(".").f_bavail * os.statvfs(".").f_bsize
        keep = random.Random(injection.seed).randrange(64 * 1024)
        STRUCK.touch()
        Path("filler").write_bytes(b"\0" * max(0, free - keep))

    _wrap(patches, SqliteJournal, "commit", injection.number, fill, None)


def _full_temporary_folder(injection: Injection, patches: ExitStack) -> None:
    """The driver's, Ray's and the workers' temporary files are on a disk of their own, `kind`, which becomes full."""
    from runner.journal import SqliteJournal

    os.environ["TMPDIR"], tempfile.tempdir = injection.kind, None

    def fill(*_: Any, **__: Any) -> None:
        free = os.statvfs(injection.kind).f_bavail * os.statvfs(injection.kind).f_bsize
        STRUCK.touch()
        Path(injection.kind, "filler").write_bytes(b"\0" * free)

    _wrap(patches, SqliteJournal, "commit", injection.number, fill, None)


# --- workers ----------------------------------------------------------------------------------------------------------


def _strike_worker(injection: Injection, most_s: float) -> Act:
    """Sends the worker its signal a moment later, while it works."""

    def strike(fleet: Any, *_: Any) -> None:
        after_s = random.Random(injection.seed).uniform(0.0, most_s)
        number = signal.Signals[injection.kind]
        STRUCK.touch()
        threading.Timer(after_s, os.kill, (fleet.devices[injection.slot].pid, number)).start()

    return strike


def _worker_mid_step(injection: Injection, patches: ExitStack) -> None:
    from runner.fleet.ray.fleet import RayFleet

    _wrap(patches, RayFleet, "advance", injection.number, _strike_worker(injection, most_s=0.015), None)


def _worker_mid_snapshot(injection: Injection, patches: ExitStack) -> None:
    from runner.fleet.ray.fleet import RayFleet

    _wrap(patches, RayFleet, "snapshot", injection.number, _strike_worker(injection, most_s=0.006), None)


def _process_of_ray(name: str, injection: Injection, patches: ExitStack) -> None:
    """A process of Ray's own dies, a moment later, while workers work."""
    import psutil
    from command_line import ask_each

    from runner.fleet.ray.fleet import RayFleet

    def strike(*_: Any) -> None:
        family = ask_each(psutil.Process().children(recursive=True), lambda process: (process, process.name()))
        (victim,) = [process for process, its_name in family if its_name == name]
        STRUCK.touch()
        threading.Timer(random.Random(injection.seed).uniform(0.0, 0.015), victim.kill).start()

    _wrap(patches, RayFleet, "advance", injection.number, strike, None)


# --- searches ---------------------------------------------------------------------------------------------------------


def _before_an_act(injection: Injection, patches: ExitStack) -> None:
    """The journal has a decision about several trials, and nothing has acted on it: the n-th barrier of that kind."""
    from runner.loop.lockstep import Loop

    original, left = Loop._act, injection.number

    @functools.wraps(original)
    def wrapped(loop: Any, barrier: Any) -> None:
        nonlocal left
        left -= bool(barrier.clones or barrier.compared or barrier.added)
        if left == 0:
            _kill_driver()
        original(loop, barrier)

    patches.enter_context(mock.patch.object(Loop, "_act", wrapped))


def _while_an_order_waits(injection: Injection, patches: ExitStack) -> None:
    """A user asks for a clone at the n-th barrier; what it strikes is the driver, at the moment `kind`."""
    from runner.driver.control import InboxControl
    from runner.journal import SqliteJournal, inbox
    from runner.journal.inbox import Request

    def ask(control: Any, *_: Any) -> None:
        point = {"learning_rate": 0.002}
        inbox.ask(control.folder, [Request(kind="clone", trial_id="000", arguments={"point": point, "epoch": 1})])
        if injection.kind == "asked":
            _kill_driver()
        if injection.kind == "decided":
            _wrap(patches, SqliteJournal, "commit", 1, _kill_driver, None)
        if injection.kind == "recorded":
            _wrap(patches, SqliteJournal, "commit", 1, None, _kill_driver)

    _wrap(patches, InboxControl, "read", injection.number, ask, None)


POINTS: dict[str, Callable[[Injection, ExitStack], None]] = {
    "before commit": _before_commit,
    "within commit": _within_commit,
    "after commit": _after_commit,
    "between metrics and tags": _between_metrics_and_tags,
    "mid-snapshot": _mid_snapshot,
    "while flushing": _while_flushing,
    "full disk": _full_disk,
    "temporary folder full": _full_temporary_folder,
    "worker mid-step": _worker_mid_step,
    "worker mid-snapshot": _worker_mid_snapshot,
    "before an act": _before_an_act,
    "while an order waits": _while_an_order_waits,
    "raylet": functools.partial(_process_of_ray, "raylet"),
    "gcs_server": functools.partial(_process_of_ray, "gcs_server"),
}
