"""Files and command line to typed config, and experiments' signatures to members."""

from runner.config.compose import config_to_yaml, load_config
from runner.config.schema import Config

__all__ = ["Config", "config_to_yaml", "load_config"]
