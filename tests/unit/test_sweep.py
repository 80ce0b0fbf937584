"""What a sweep does before its first round, and in which order."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from runner.config import load_config
from runner.driver import check as check_
from runner.driver import fleets
from runner.driver import run as sweep
from runner.driver.context import Context
from runner.views.watchers import Silent

EXPERIMENT = Path(__file__).parents[2] / "experiments" / "digits_mlp.py"


class Enough(Exception):  # noqa: N818
    """The sweep has come as far as a test looks."""


@pytest.mark.parametrize(
    ("kind", "known", "order"),
    [
        ("ray", True, ["workers", "import of MLflow", "check", "decided"]),
        ("ray", False, ["workers", "check", "decided", "import of MLflow"]),
        ("local", True, ["workers", "check", "decided"]),
    ],
    ids=["beside a check that times nothing", "after a check that times steps", "not where models are in this process"],
)
def test_when_mlflow_is_imported(
    kind: str, known: bool, order: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    done: list[str] = []

    @contextmanager
    def fleet(prepared: Any, slots: Any, *_: Any) -> Iterator[None]:
        done.append("workers")
        yield

    def check(prepared: Any, of: Any) -> dict[str, Any]:
        done.append("check")
        return {}

    def decide(trials: Any, *_: Any) -> Any:
        done.append("decided")
        return trials

    def enough(*_: Any) -> None:
        raise Enough

    auto = SimpleNamespace(is_known=lambda trials: known, check=None, decide=decide)
    monkeypatch.setattr(fleets, "open_fleet", fleet)
    monkeypatch.setattr(check_, "auto_settings", lambda *_: auto)
    monkeypatch.setattr(check_, "check_members", check)
    monkeypatch.setattr(check_, "within_memory", lambda prepared, *_: prepared)
    monkeypatch.setattr(check_, "preload", lambda uri: done.append("import of MLflow"))
    monkeypatch.setattr(check_, "choose_metric", enough)
    config = load_config(str(EXPERIMENT), [f"fleet.kind={kind}"], config_dir=None)
    with pytest.raises(Enough):
        sweep.run(config, Context(watcher=Silent()), root=tmp_path)
    assert done == order


@pytest.mark.parametrize(
    ("kind", "passed", "done"),
    [("ray", False, ["look"]), ("ray", True, ["end"]), ("local", False, ["end"])],
    ids=["new code", "code that has passed a check", "models in this process"],
)
def test_a_process_of_its_own_looks_at_new_code_while_workers_start(
    kind: str, passed: bool, done: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    called: list[str] = []
    preflight = SimpleNamespace(
        look=lambda tried, with_gpus: called.append("look"), check=None, end=lambda: called.append("end")
    )

    def enough(*_: Any) -> None:
        raise Enough

    monkeypatch.setattr(fleets, "open_fleet", enough)
    monkeypatch.setattr(sweep, "has_passed_before", lambda prepared: passed)
    config = load_config(str(EXPERIMENT), [f"fleet.kind={kind}"], config_dir=None)
    with pytest.raises(Enough):
        sweep.run(config, Context(watcher=Silent()), root=tmp_path, preflight=preflight)  # type: ignore[arg-type]
    assert called == done
