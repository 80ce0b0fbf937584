"""Files and command line to typed config, and experiments' signatures to members."""

from runner.config import hints
from runner.config.compose import config_to_yaml, load_config
from runner.config.members import Member, resolve_members
from runner.config.metrics import infer_goal
from runner.config.schema import Config

__all__ = ["Config", "Member", "config_to_yaml", "hints", "infer_goal", "load_config", "resolve_members"]
