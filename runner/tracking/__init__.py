"""MLflow as a projection of the journal: what is committed there appears in MLflow, once, while training goes on."""

from runner.tracking.projection import Projection, preload
from runner.tracking.sync import sync

__all__ = ["Projection", "preload", "sync"]
