"""What several tests need: trials made by hand, and TensorFlow with the limits of a worker."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from runner.records import Allocation, Source, TrainSettings, Trial

TESTS = Path(__file__).parent
MakeTrial = Callable[..., Trial]


@pytest.fixture(autouse=True)
def _no_store_of_another_test() -> Iterator[None]:
    """`mlflow.set_tracking_uri` writes to the environment, from which later tests' processes would take it."""
    before = os.environ.get("MLFLOW_TRACKING_URI")
    yield
    if os.environ.get("MLFLOW_TRACKING_URI") != before:
        import mlflow

        mlflow.set_tracking_uri(before)


@pytest.fixture
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
    files = [path, path.with_name("models.py"), path.with_name("own_steps.py")] if path.name == "cases.py" else [path]
    return Trial(
        id=id,
        index=int(id) if id.isdigit() else 0,
        member="test",
        source=Source(
            path=str(path),
            root=str(path.parent.resolve()),
            files=tuple((file.name, file.read_text(encoding="utf-8")) for file in files),
        ),
        params=params,
        data_params=names if data_params is None else data_params,
        model_params=names if model_params is None else model_params,
        searched=(),
        train=TrainSettings(**train),
        seed=seed,
    )


@pytest.fixture(scope="session")
def tensorflow() -> Any:
    """TensorFlow in this process with one thread, as a worker with one CPU has it."""
    from runner.worker import startup

    startup.configure(Allocation(num_cpus=1))
    import tensorflow

    return tensorflow
