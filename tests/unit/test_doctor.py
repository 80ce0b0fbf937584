"""What is found is judged: ok, warn or fail, and what to do."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from runner.driver import doctor
from runner.driver.doctor import Answer, Finding
from runner.placement import Gpu, Machine
from runner.records import Mps

GPU = Gpu(id="0", uuid="GPU-a", name="NVIDIA A10", memory_mib=23_028, free_mib=22_500)
WITH_GPU = Machine(cpus=8, memory_mib=64_000, gpus=(GPU,))
WITHOUT = Machine(cpus=2, memory_mib=24_000)
TENSORFLOW = {"tensorflow": "2.21.0", "keras": "3.15", "cuda": "12.5.1", "cudnn": "9", "gpus": 1}


def test_a_gpu_is_shown_with_its_free_memory_and_driver() -> None:
    (finding,) = doctor.judge_gpus(WITH_GPU, "560.35")
    assert (finding.part, finding.status) == ("GPU 0", "ok")
    assert finding.found == "NVIDIA A10, 22500 of 23028 MiB free, driver 560.35"


def test_a_busy_gpu_and_hidden_gpus_are_warnings_and_no_gpu_is_fine() -> None:
    busy = Machine(cpus=8, memory_mib=1, gpus=(Gpu(id="0", uuid="a", name="A", memory_mib=100, free_mib=40),))
    assert [f.status for f in doctor.judge_gpus(busy, "560")] == ["warn"]
    assert [f.status for f in doctor.judge_gpus(WITHOUT, "560")] == ["warn"]
    assert [f.status for f in doctor.judge_gpus(WITHOUT, None)] == ["ok"]


@pytest.mark.parametrize(
    ("machine", "changed", "status", "advice"),
    [
        (WITH_GPU, {}, "ok", ""),
        (WITHOUT, {"gpus": 0}, "ok", ""),
        (WITH_GPU, {"gpus": 0}, "fail", "brings the CUDA libraries"),
        (WITH_GPU, {"gpus": 0, "cuda": None}, "fail", "built with CUDA"),
    ],
)
def test_tensorflow_must_see_the_gpus(machine: Machine, changed: dict[str, object], status: str, advice: str) -> None:
    (finding,) = doctor.judge_tensorflow(machine, Answer(values=TENSORFLOW | changed))
    assert finding.status == status
    assert advice in finding.advice


def test_a_driver_that_does_not_answer_fails() -> None:
    (finding,) = doctor.judge_gpus(WITHOUT, None, "Driver/library version mismatch")
    assert (finding.status, finding.found) == ("fail", "the NVIDIA driver: Driver/library version mismatch")


def test_mps_is_told_and_never_a_failure() -> None:
    states = [Mps(kind="own"), Mps(kind="foreign", reason="R"), Mps(kind="unavailable", reason="MIG divides GPU 0")]
    found = [doctor.judge_mps(replace(WITH_GPU, mps=state)) for state in states] + [doctor.judge_mps(WITHOUT)]
    assert [finding.status for finding in found] == ["ok", "ok", "warn", "ok"]
    assert "starts a daemon of its own" in found[0].found
    assert found[1].found.startswith("R: ")
    assert "MIG divides GPU 0" in found[2].found


def test_what_does_not_answer_fails_with_its_last_words() -> None:
    silent = Answer(values=None, problem="ImportError: no such thing")
    for finding in (*doctor.judge_tensorflow(WITHOUT, silent), doctor.judge_ray(silent)):
        assert (finding.status, finding.found) == ("fail", "ImportError: no such thing")
        assert finding.advice


def test_a_module_that_dies_or_babbles_is_an_answer_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "dies.py").write_text("raise ValueError('broken')")
    (tmp_path / "babbles.py").write_text("print('hello')")
    (tmp_path / "works.py").write_text("print('noise'); print('{\"a\": 1}')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    assert doctor.ask("dies") == Answer(values=None, problem="ValueError: broken")
    assert doctor.ask("babbles") == Answer(values=None, problem="exit code 0")
    assert doctor.ask("works") == Answer(values={"a": 1})


def test_a_store_that_is_to_be_made_needs_a_folder_to_write_to(tmp_path: Path) -> None:
    assert doctor.examine_store(f"sqlite:///{tmp_path}/mlflow.db").status == "ok"
    assert doctor.examine_store(f"sqlite+pysqlite:///{tmp_path}/odd%20name/mlflow.db").status == "fail"
    finding = doctor.examine_store(f"sqlite:///{tmp_path}/missing/mlflow.db")
    assert (finding.status, "tracking.uri" in finding.advice) == ("fail", True)


def test_credentials_of_a_store_are_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    uri = "postgresql://me:hunter2@db/mlflow"
    for answer in (Answer(values=None, problem=f"no route to {uri}"), Answer(values={"mlflow": "3.0"})):
        monkeypatch.setattr(doctor, "ask", lambda *_, answer=answer: answer)
        found = doctor.examine_store(uri).found
        assert "postgresql://db/mlflow" in found
        assert "hunter2" not in found


def test_disks_are_judged_by_the_folder_that_will_hold_what_is_written(tmp_path: Path) -> None:
    finding = doctor.judge_disk("disk", tmp_path / "not" / "yet" / "there")
    assert str(tmp_path) in finding.found
    assert "not" not in finding.found.removeprefix(str(tmp_path))


@pytest.mark.parametrize(
    ("total", "free", "status"),
    [(100_000, 50_000, "ok"), (100_000, 4_000, "warn"), (4_000, 1_000, "warn"), (4_000, 100, "fail")],
)
def test_a_full_disk_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, total: int, free: int, status: str
) -> None:
    usage = type("usage", (), {"total": total * 2**20, "free": free * 2**20})
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda _: usage)
    assert doctor.judge_disk("disk", tmp_path).status == status


@pytest.mark.parametrize(("free", "status"), [(8_000, "ok"), (64, "warn")])
def test_little_shared_memory_is_a_warning(free: int, status: str) -> None:
    assert doctor.judge_shared_memory(free).status == status


def test_the_exit_code_is_2_where_something_fails() -> None:
    from runner.cli.doctor import exit_code

    parts = [Finding(part="a", status=status, found="") for status in ("ok", "warn")]  # type: ignore[arg-type]
    assert exit_code(parts) == 0
    assert exit_code([*parts, Finding(part="b", status="fail", found="")]) == 2
