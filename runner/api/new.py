"""A new experiment file."""

from __future__ import annotations

from pathlib import Path

from runner.driver.new import new_experiment


def new(name: str) -> Path:
    """Writes a commented experiment file that trains as it is; returns it.

    Args:
        name: of the experiment, whose file goes to `experiments/` if the current folder has that; or the path of a file
            that ends in `.py`.

    Raises:
        ConfigError: the name does not do, the file exists, or it cannot be written.
    """
    return new_experiment(name)
