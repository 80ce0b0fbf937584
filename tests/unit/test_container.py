"""What control groups leave, from files as the kernel writes them."""

from __future__ import annotations

from pathlib import Path

import pytest

from runner.host import cgroups


def group(folder: Path, **files: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name.replace("__", ".")).write_text(text + "\n")


@pytest.fixture
def own(tmp_path: Path) -> Path:
    file = tmp_path / "own"
    file.write_text("4:memory:/job\n3:cpu,cpuacct:/job\n0::/job/step\n")
    return file


GIB = 2**30


def test_without_a_limit_nothing_is_bounded(tmp_path: Path, own: Path) -> None:
    assert (cgroups.memory_left_mib(tmp_path, own), cgroups.cpus(tmp_path, own)) == (None, None)
    group(tmp_path / "job" / "step", memory__max="max", memory__current="5", cpu__max="max 100000")
    group(tmp_path / "memory" / "job", memory__limit_in_bytes="9223372036854771712", memory__usage_in_bytes="5")
    group(tmp_path / "cpu" / "job", cpu__cfs_quota_us="-1", cpu__cfs_period_us="100000")
    assert (cgroups.memory_left_mib(tmp_path, own), cgroups.cpus(tmp_path, own)) == (None, None)


def test_the_tightest_group_around_the_process_counts(tmp_path: Path, own: Path) -> None:
    group(tmp_path, memory__max=str(8 * GIB), memory__current=str(GIB), cpu__max="400000 100000")
    group(tmp_path / "job", memory__max=str(4 * GIB), memory__current=str(GIB), cpu__max="250000 100000")
    group(tmp_path / "job" / "step", memory__max="max", memory__current="1", cpu__max="max 100000")
    group(tmp_path / "job" / "sibling", memory__max="1", memory__current="1", cpu__max="1000 100000")
    assert (cgroups.memory_left_mib(tmp_path, own), cgroups.cpus(tmp_path, own)) == (3_072, 2)


def test_files_that_the_kernel_keeps_in_memory_are_free(tmp_path: Path, own: Path) -> None:
    group(tmp_path / "job", memory__max=str(4 * GIB), memory__current=str(4 * GIB))
    assert cgroups.memory_left_mib(tmp_path, own) == 0
    group(tmp_path / "job", memory__stat=f"anon {GIB}\ninactive_file {2 * GIB}\nactive_file 5")
    assert cgroups.memory_left_mib(tmp_path, own) == 2_048


def test_version_1_counts_too_and_a_part_of_a_cpu_is_one(tmp_path: Path, own: Path) -> None:
    limits = {"memory__limit_in_bytes": str(3 * GIB), "memory__usage_in_bytes": str(2 * GIB)}
    group(tmp_path / "memory" / "job", **limits, memory__stat=f"total_inactive_file {GIB}")
    group(tmp_path / "cpu" / "job", cpu__cfs_quota_us="50000", cpu__cfs_period_us="100000")
    assert (cgroups.memory_left_mib(tmp_path, own), cgroups.cpus(tmp_path, own)) == (2_048, 1)
