"""What the fork server of `warm.py` imports: all that `python -m runner sweep` does, and nothing of it is used."""

from __future__ import annotations

import os

from runner.records import Allocation
from runner.worker import startup

os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"  # as the command line sets it before it imports MLflow
startup.configure(Allocation(num_cpus=1))


import runner.cli  # noqa: E402
import runner.driver.plan  # noqa: E402
import runner.driver.resume  # noqa: E402
import runner.driver.run  # noqa: E402
import runner.fleet.local  # noqa: E402
import runner.tracking.mlflow_sink  # noqa: E402
import runner.views.results  # noqa: E402
import runner.worker.worker  # noqa: E402, F401
