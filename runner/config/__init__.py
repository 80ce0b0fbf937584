"""Files and command line to one typed config."""

from runner.config import hints
from runner.config.load import config_to_yaml, load_config, recording_problems
from runner.config.schema import Config

__all__ = ["Config", "config_to_yaml", "hints", "load_config", "recording_problems"]
