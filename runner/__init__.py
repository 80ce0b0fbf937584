"""Train many Keras models together on one device: Ray actors stepped in lockstep, logged to MLflow."""

from runner.data import Data

__all__ = ["Data"]
__version__ = "0.1.0"
