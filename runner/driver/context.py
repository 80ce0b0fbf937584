"""What every stage of a sweep is given: who follows it, who may stop it, and what must not be recorded."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from runner.host.signals import StopRequest
from runner.texts.redaction import redact, secrets_of
from runner.views.watchers import SweepWatcher


@dataclass(frozen=True, kw_only=True, slots=True)
class Context:
    """What every stage of a sweep is given.

    Args:
        watcher: follows the sweep.
        stop: ends it in good order.
        environment: the program's variables, with MLflow's credentials and other secrets.
    """

    watcher: SweepWatcher
    stop: StopRequest = field(default_factory=StopRequest)
    environment: Mapping[str, str] = field(default_factory=dict)

    @property
    def secrets(self) -> Mapping[str, str]:
        """The environment's secrets by name; they are never recorded."""
        return secrets_of(self.environment)

    def masked(self, text: str) -> str:
        """The text without secrets."""
        return redact(text, self.secrets.values())
