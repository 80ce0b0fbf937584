"""What a machine was used for over some seconds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class Sample:
    """One sample of the use of a machine.

    Args:
        taken_ms: milliseconds since the Unix epoch.
        values: means since the sample before, by MLflow's names of system metrics, such as
            `cpu_utilization_percentage`.
    """

    taken_ms: int
    values: Mapping[str, float]
