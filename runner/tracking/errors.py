"""What the tracking store may answer instead of taking what it is sent."""

from __future__ import annotations

from runner.errors import TrackingError


class StoreUnavailableError(TrackingError):
    """The store is down, locked or full: the same request may succeed later."""


class StoreRefusedError(TrackingError):
    """The store will not take this request, now or later (a run was deleted, say); others are not affected."""


class ExperimentDeletedError(StoreRefusedError):
    """The MLflow experiment was deleted by hand: the store takes nothing of the sweep until it is restored."""
