"""The command line: parses, calls, prints, and turns every outcome into an exit code.

Heavy imports happen inside the verbs, so that mistakes are told within a second or two.
"""

from runner.cli import review, stores, train
from runner.cli.app import cli

__all__ = ["cli", "review", "stores", "train"]
