"""`python -m runner`. Imports nothing beyond the standard library until the environment is known to be there."""

from __future__ import annotations

import atexit
import gc
import sys
from importlib.util import find_spec
from pathlib import Path

_NEEDED = ("click", "mlflow", "psutil", "pydantic", "ray", "rich", "tensorflow", "yaml")


def main() -> None:
    """Runs the command line, or says how to make the environment it needs."""
    here = str(Path.cwd())
    if here not in sys.path:  # the command `runner` has not; an experiment's code may be there, in workers too
        sys.path.append(here)
    missing = [name for name in _NEEDED if find_spec(name) is None]
    if missing:
        sys.exit(_advice(missing))
    from runner.cli import cli
    from runner.host.output import survive_lost_readers

    survive_lost_readers()
    # A last collection, over all of the driver's objects, takes 0.8 s; the exit frees the memory.
    atexit.register(gc.freeze)
    cli.main(prog_name="python -m runner")


def _advice(missing: list[str]) -> int:
    python = Path(".venv/bin/python")
    if python.exists():
        instead = f"this clone has its own environment; run: {python} -m runner {' '.join(sys.argv[1:])}".rstrip()
    elif Path("Makefile").exists():
        instead = (
            "run `make sweep` (it sets up .venv and runs the demo), or `make setup`, then .venv/bin/python -m runner"
        )
    else:
        instead = "install it from a clone of its repository: pip install FOLDER_OF_THE_CLONE"
    print(f"runner: {sys.executable} lacks {', '.join(missing)}.\n{instead}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    main()
