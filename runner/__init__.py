"""Train many Keras models together on one device: Ray actors stepped in lockstep, logged to MLflow."""

import sys

# `python -m runner` puts the current folder before Python's own library, so that a json.py there would break every
# import. From here on it is last. While Python looks for the module to run, the first argument is "-m".
if getattr(sys, "argv", [])[:1] == ["-m"] and not sys.flags.safe_path:
    sys.path.append(sys.path.pop(0))

from runner.data import Data

__all__ = ["Data"]
__version__ = "0.2.0"
