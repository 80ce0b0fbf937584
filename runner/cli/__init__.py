"""The command line: parses, calls, prints, and turns every outcome into an exit code.

Heavy imports happen inside the verbs, so that mistakes are reported within a second or two.
"""

from runner.cli import control, doctor, experiment, figures, plan, review, tracking, train
from runner.cli.app import cli

__all__ = ["cli", "control", "doctor", "experiment", "figures", "plan", "review", "tracking", "train"]
