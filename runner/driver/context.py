"""The context of a sweep: its watcher, requests to stop it, and the environment with its secrets."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from runner.host.signals import StopRequest
from runner.loop.interfaces import Watcher
from runner.texts.redaction import redact, secrets_of
from runner.views.progress import Progress

if TYPE_CHECKING:
    from runner.fleet.ray.pool import Pool


class SweepWatcher(Protocol):
    """Follows a sweep from its first moment to its last."""

    def say(self, text: str, *, dim: bool = False) -> None:
        """A line of news; `dim` if it only says what happens now."""

    def warn(self, text: str) -> None:
        """A line that the user should know of: something is not as asked for, or may be lost."""

    def rounds(self, progress: Progress) -> AbstractContextManager[Watcher]:
        """Entered before the first round and left after the last; `progress` is updated by what is shown."""

    def waiting(self) -> AbstractContextManager[Callable[[str], None]]:
        """Entered while the sweep waits; what is entered shows what for, as that changes."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Context:
    """Passed to every stage of a sweep.

    Args:
        watcher: is shown the sweep's progress.
        stop: a request to stop the sweep cleanly.
        environment: the program's variables, with MLflow's credentials and other secrets.
        began: called with the folder of a new sweep once there is one.
        pool: has workers that stay warm between sweeps; None to keep none.
    """

    watcher: SweepWatcher
    stop: StopRequest = field(default_factory=StopRequest)
    environment: Mapping[str, str] = field(default_factory=dict)
    began: Callable[[Path], None] = lambda _: None
    pool: Pool | None = None

    @property
    def secrets(self) -> Mapping[str, str]:
        """The environment's secrets by name; they are never recorded."""
        return secrets_of(self.environment)

    def masked(self, text: str) -> str:
        """The text without secrets."""
        return redact(text, self.secrets.values())
