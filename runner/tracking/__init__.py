"""MLflow as a projection of the journal: what is committed there appears in MLflow, once, while training goes on."""

from runner.tracking.projection import Projection, preload

__all__ = ["Projection", "preload"]
