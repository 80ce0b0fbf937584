"""What several tests need: trials made by hand, and TensorFlow with the limits of a worker."""

from __future__ import annotations

import gc
import math
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from mlflow_tables import TEMPLATE, copy_tables

from runner.records import Allocation, Source, TrainSettings, Trial

TESTS = Path(__file__).parent
MakeTrial = Callable[..., Trial]
GALLERY = TESTS / "gallery" / "experiment.py"
_BESIDE = {TESTS / "cases.py": ("models.py", "own_steps.py"), GALLERY: ("models/*.py",)}
"""What an experiment's file imports of its folder."""


@pytest.fixture(autouse=True)
def _no_store_of_another_test() -> Iterator[None]:
    """`mlflow.set_tracking_uri` writes to the environment, from which later tests' processes would take it."""
    before = os.environ.get("MLFLOW_TRACKING_URI")
    yield
    if os.environ.get("MLFLOW_TRACKING_URI") != before:
        import mlflow

        mlflow.set_tracking_uri(before)


# By the processor time they take: the last files to begin should be short ones, so that no core waits for another.
LONGEST = (
    *("contract/test_fleets.py", "integration/test_session.py", "integration/test_cli_signals.py"),
    *("gallery/test_gallery.py", "contract/test_callbacks.py", "contract/test_sharing.py"),
    *("integration/test_cli_sweep.py", "contract/test_stacks_in_sweeps.py", "integration/test_mps.py"),
    *("contract/test_snapshots.py", "contract/test_training_equals_fit.py", "contract/test_doc_examples.py"),
    *("contract/test_engines.py", "contract/test_stacks.py", "contract/test_control.py", "contract/test_preflight.py"),
    *("integration/test_notebooks.py", "contract/test_search.py", "integration/test_cli_mistakes.py"),
    *("integration/test_cli_experiment.py", "contract/test_examine.py", "integration/test_cli_review.py"),
    *("integration/test_cli_resume.py", "contract/test_population.py", "contract/test_turns.py"),
    *("integration/test_cli_ui.py", "contract/test_lean_import.py", "integration/test_cli_doctor.py"),
    *("contract/test_out_of_memory.py", "contract/test_callbacks_in_sweeps.py", "contract/test_data_kinds.py"),
    *("contract/test_api.py", "integration/test_tracking.py", "unit/test_report.py", "contract/test_saving.py"),
    *("integration/test_sync.py", "contract/test_pipelines.py", "contract/test_training_rules.py"),
    *("contract/test_results.py", "contract/test_tracking_of_sweeps.py", "integration/test_disk.py"),
    *("integration/test_site.py", "property/test_placement_property.py", "integration/test_cluster.py"),
    *("property/test_config_property.py", "integration/test_faults.py", "integration/test_moved.py"),
)


def pytest_configure() -> None:
    """Collects garbage less often: TensorFlow's objects are many, and each full collection visits all of them."""
    gc.set_threshold(5_000, 20, 20)


def pytest_collection_finish() -> None:
    """Modules and tests stay to the end, so no collection need visit them."""
    gc.freeze()


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Puts the files that take longest first."""
    places = {str(TESTS / name): place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: places.get(str(item.path), len(places)))


@pytest.fixture(scope="session")
def shared_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that all workers of pytest-xdist have in common."""
    own = tmp_path_factory.getbasetemp()
    return own.parent if "PYTEST_XDIST_WORKER" in os.environ else own


@pytest.fixture(scope="session")
def tables(shared_folder: Path) -> Iterator[None]:
    """MLflow's tables are made once, for this process and for commands that start warm."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(TEMPLATE, str(shared_folder / "mlflow-tables.sql"))
        from mlflow.store.db import utils

        patch.setattr(utils, "_initialize_tables", utils._initialize_tables)  # put back at the end
        copy_tables()
        yield


@pytest.fixture(scope="session")
def make_trial() -> MakeTrial:
    """Builds a trial of `tests/cases.py`, or of any other experiment file."""
    return _make_trial


def _make_trial(
    case: str = "functional",
    *,
    id: str = "000",  # noqa: A002
    seed: int = 0,
    path: Path = TESTS / "cases.py",
    params: dict[str, Any] | None = None,
    data_params: tuple[str, ...] | None = None,
    model_params: tuple[str, ...] | None = None,
    **train: Any,
) -> Trial:
    params = {"case": case} if params is None else params
    names = tuple(params)
    files = [path, *(file for name in _BESIDE.get(path, ()) for file in sorted(path.parent.glob(name)))]
    return Trial(
        id=id,
        index=int(id) if id.isdigit() else 0,
        member="test",
        source=Source(
            path=str(path),
            root=str(path.parent.resolve()),
            files=tuple((str(file.relative_to(path.parent)), file.read_text(encoding="utf-8")) for file in files),
        ),
        params=params,
        data_params=names if data_params is None else data_params,
        model_params=names if model_params is None else model_params,
        searched=(),
        train=TrainSettings(**train),
        seed=seed,
    )


@pytest.fixture
def no_turn_is_overdue(monkeypatch: pytest.MonkeyPatch) -> None:
    """Turns of several epochs have them all, however busy this machine is."""
    monkeypatch.setattr("runner.worker.turn_clock.LONGEST_S", math.inf)


@pytest.fixture(scope="session")
def tensorflow() -> Any:
    """TensorFlow in this process with one thread, as a worker with one CPU has it."""
    from runner.worker import startup

    startup.configure(Allocation(num_cpus=1))
    import tensorflow

    return tensorflow
