"""MLflow as a projection of the journal: what is committed there appears in MLflow, once, while training goes on."""

from runner.tracking.importing import preload
from runner.tracking.projection import Projection
from runner.tracking.store_check import StoreCheck
from runner.tracking.sync import sync

__all__ = ["Projection", "StoreCheck", "preload", "sync"]
