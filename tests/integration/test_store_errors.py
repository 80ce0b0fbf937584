"""What a store does besides working, without a real one: answers that are lost, and errors of every kind."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
from small_journal import facts, report, small_sweep

from runner.errors import JournalError, TrackingError
from runner.records import Export, Verdict
from runner.tracking import Projection, connection, sync
from runner.tracking.errors import StoreRefusedError, StoreUnavailableError
from runner.tracking.foreign_errors import mapped
from runner.tracking.ledger import HOME, Ledger
from runner.tracking.mlflow_log import logging_to
from runner.tracking.mlflow_sink import MlflowSink
from runner.tracking.run_ends import Endings

TAGS = {"sweep.id": "s-1", "trial.id": "000"}


class Store(ThreadingHTTPServer):
    """The part of MLflow's REST API that creates runs and models; of each kind the first answer is lost."""

    def __init__(self, lost: str, artifacts: Path) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.lost, self.artifacts = lost, artifacts
        self.runs: list[dict[str, Any]] = []
        self.models: list[dict[str, Any]] = []

    def answer(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        if path == "experiments/get-by-name":
            return {"experiment": {"experiment_id": "1", "name": "x", "lifecycle_stage": "active"}}
        if path == "runs/create":
            self.runs.append(self._run(body))
            return {"run": self.runs[-1]}
        if path == "runs/search":
            return {"runs": self.runs}
        if path == "runs/get":
            return {"run": self.runs[0]}
        if path == "logged-models" and body:
            info = {"model_id": f"m-{len(self.models)}", "experiment_id": "1", "name": body["name"]}
            uri = (self.artifacts / info["model_id"]).as_uri()
            self.models.append({"info": {**info, "tags": body["tags"], "artifact_uri": uri}, "data": {}})
            return {"model": self.models[-1]}
        if path == "logged-models/search":
            return {"models": self.models}
        if path.startswith("logged-models/"):
            return {"model": self.models[0]}
        return {}

    def _run(self, body: dict[str, Any]) -> dict[str, Any]:
        info = {"run_id": f"r-{len(self.runs)}", "experiment_id": "1", "status": "RUNNING", "artifact_uri": "x"}
        return {"info": {**info, "lifecycle_stage": "active"}, "data": {"tags": body["tags"]}}

    def loses(self, path: str) -> bool:
        created = {"runs/create": self.runs, "logged-models": self.models}.get(path)
        return self.lost != "none" and created is not None and len(created) == 1


class _Handler(BaseHTTPRequestHandler):
    server: Store
    protocol_version = "HTTP/1.1"

    def _take(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        path = self.path.partition("?")[0].partition("/mlflow/")[2]
        answer = self.server.answer(path, json.loads(body or b"{}"))
        if self.server.loses(path) and self.server.lost == "closed":
            self.close_connection = True
            return
        content = json.dumps(answer).encode()
        self.send_response(503 if self.server.loses(path) else 200)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_POST = do_PATCH = _take  # noqa: N815

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def serving(lost: str, artifacts: Path) -> Iterator[Store]:
    with Store(lost, artifacts) as store:
        threading.Thread(target=store.serve_forever, daemon=True).start()
        yield store
        store.shutdown()


@pytest.mark.parametrize("lost", ["closed", "503"])
def test_a_creation_whose_answer_is_lost_makes_one_run_and_one_model(tmp_path: Path, monkeypatch, lost: str):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "3")  # the user's wish would double them
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR", "0")
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "MLmodel").write_text("flavors: {}\n", encoding="utf-8")
    file = tmp_path / "m.keras"
    file.write_bytes(b"m")
    monkeypatch.chdir(tmp_path)  # the run's artifacts are in `x`
    with serving(lost, tmp_path / "artifacts") as store:
        sink = MlflowSink(f"http://127.0.0.1:{store.server_port}", "x")
        sink.open()
        with pytest.raises(StoreUnavailableError):
            sink.create_run("000", 1, TAGS, parent="p")
        assert sink.find_runs("s-1") == {"000": "r-0"}
        with pytest.raises(StoreUnavailableError):
            sink.log_model("r-0", "m", folder, file, {}, 1)
        assert sink.log_model("r-0", "m", folder, file, {}, 1) == "m-0"
        assert (len(store.runs), len(store.models)) == (1, 1)


def test_a_servers_runs_end_without_a_word_on_the_terminal(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    with serving("none", tmp_path) as store:
        store.runs.append(store._run({"tags": []}))
        sink = MlflowSink(f"http://127.0.0.1:{store.server_port}", "x")
        sink.open()
        sink.end_run("r-0", "FINISHED", 1)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("model", [b"", b"m"], ids=["weights", "keras"])
def test_a_model_that_is_a_link_is_not_sent(tmp_path: Path, model: bytes):
    folder, mine = tmp_path / "s", tmp_path / "id_rsa"
    mine.write_text("mine", encoding="utf-8")
    with small_sweep(folder, "") as journal:
        export = Export(trial_id="000", model=model, weights=b"w")
        journal.commit({"000": report(0, 0)}, {"000": Verdict(kind="complete")}, {"000": export})
        journal.end("complete")
    linked = folder / "models" / ("000.keras" if model else "000.weights.npz")
    linked.unlink()
    linked.symlink_to(mine)
    with Ledger(folder, HOME) as ledger:
        sink = Mock()
        with pytest.raises(JournalError, match="is a link or leads through one"):
            Endings(folder, ledger, sink).of(ledger.due()[0], ledger.journal.trial("000"), "run")
    assert not sink.method_calls


@pytest.mark.parametrize("name", ["logs", "logs/mlflow.log"])
def test_a_log_that_is_a_link_is_not_appended_to(tmp_path: Path, name: str):
    folder, elsewhere = tmp_path / "s", tmp_path / "elsewhere"
    for new in (folder, elsewhere):
        (new / "logs").mkdir(parents=True)
    (elsewhere / "logs" / "mlflow.log").write_text("mine", encoding="utf-8")
    if name == "logs":
        (folder / "logs").rmdir()
    (folder / name).symlink_to(elsewhere / name)
    with pytest.raises(JournalError, match="is a link or leads through one"), logging_to(folder):
        logging.getLogger("mlflow").warning("x")
    assert (elsewhere / "logs" / "mlflow.log").read_text(encoding="utf-8") == "mine"


def test_mlflows_messages_are_in_the_sweeps_log(tmp_path: Path):
    with logging_to(tmp_path):
        logging.getLogger("mlflow").warning("é")
    assert "WARNING mlflow: é" in (tmp_path / "logs" / "mlflow.log").read_text(encoding="utf-8")
    assert (tmp_path / "logs" / "mlflow.log").stat().st_mode & 0o777 == 0o600


class ClientError(Exception):
    """As an artifact store's client has them: no class that this program knows."""


@pytest.mark.parametrize("error", [ClientError("no credentials"), ImportError("broken"), KeyError("x"), ValueError()])
def test_an_error_of_any_class_within_a_call_is_one_to_try_again(error: Exception):
    with pytest.raises(StoreUnavailableError, match=type(error).__name__), mapped():
        raise error


@pytest.mark.parametrize("wrong", [None, {"x": [{(1, 2): 3}]}], ids=["in its own module", "in Python's library"])
def test_a_mistake_of_this_program_is_not_tried_again(wrong: Any):
    from runner.tracking.labels import _params

    said = r"an error of this program, not of the store \((Attribute|Type)Error: "
    with pytest.raises(StoreRefusedError, match=said), mapped():
        _params(wrong)


@pytest.mark.parametrize(("module", "package"), [("boto3", "boto3"), ("psycopg2", "psycopg2-binary")])
def test_a_package_that_a_store_needs_is_named_with_what_installs_it(module: str, package: str):
    with pytest.raises(StoreRefusedError, match=f"No module named '{module}'.* -m pip install {package}$"), mapped():
        raise ModuleNotFoundError(f"No module named '{module}'", name=module)


def test_what_the_program_itself_says_passes_as_it_is():
    with pytest.raises(JournalError), mapped():
        raise JournalError("x")


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (ModuleNotFoundError("No module named 'psycopg2'", name="psycopg2"), "pip install psycopg2-binary"),
        (ClientError("no access\nto the bucket"), "ClientError: no access"),
    ],
)
def test_a_store_that_cannot_be_used_ends_a_sweep_and_sync_with_what_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, told: str
):
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(connection, "StrictClient", fail)
    journal = small_sweep(tmp_path, "http://127.0.0.1:9")
    journal.commit({"000": report(0, 0, of=facts())}, {}, {})
    with Projection(tmp_path, timeout_s=1.0, on_warning=lambda _: None) as projection:
        journal.end("killed")
    assert projection.problem is not None
    with pytest.raises(TrackingError) as ended:
        sync(tmp_path, None, lambda _: None, deadline_s=0.1)
    for problem in (projection.problem, str(ended.value)):
        assert "lacks 1 metric values and the end of 2 runs" in problem
        assert told in problem
        assert problem.endswith("send them with: python -m runner sync tiny-1")
