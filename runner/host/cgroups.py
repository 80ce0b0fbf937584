"""Memory and CPUs that a container's or control group's limits leave to this process (cgroups, versions 1 and 2).

Sources:
    https://docs.kernel.org/admin-guide/cgroup-v2.html
    https://docs.kernel.org/admin-guide/cgroup-v1/memory.html
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

_GROUPS = Path("/sys/fs/cgroup")
_OWN = Path("/proc/self/cgroup")
_MIB = 1024 * 1024
_UNLIMITED = 1 << 60  # version 1 writes a number this large if there is no limit


def memory_left_mib(groups: Path = _GROUPS, own: Path = _OWN) -> int | None:
    """Memory that the tightest enclosing group leaves, MiB; None if no group has a limit.

    Page cache that the kernel can drop at once does not count as used.
    """
    left = [_left(folder, "memory.max", "memory.current", "inactive_file") for folder in _around(groups, own, "")]
    left += [
        _left(folder, "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
        for folder in _around(groups / "memory", own, "memory")
    ]
    return min((value for value in left if value is not None), default=None)


def cpus(groups: Path = _GROUPS, own: Path = _OWN) -> int | None:
    """Whole CPUs that the tightest enclosing quota allows, at least one; None if there is no quota."""
    quotas = [_quota(_text(folder / "cpu.max").split()) for folder in _around(groups, own, "")]
    quotas += [
        _quota([_text(folder / f"cpu.cfs_{name}_us") for name in ("quota", "period")])
        for folder in _around(groups / "cpu", own, "cpu")
    ]
    return min((value for value in quotas if value is not None), default=None)


def _around(root: Path, own: Path, controller: str) -> Iterator[Path]:
    """The folders of this process' group and of its ancestors, as far as its namespace shows them."""
    for line in _text(own).splitlines():
        _, controllers, path = line.split(":", 2)
        if controller in controllers.split(","):
            inside = root / path.lstrip("/")
            yield from (inside, *inside.parents[: len(Path(path).parts) - 1])


def _left(folder: Path, limit: str, used: str, droppable: str) -> int | None:
    try:
        most, taken = int(_text(folder / limit)), int(_text(folder / used))
    except ValueError:  # no such group, or "max"
        return None
    if most >= _UNLIMITED:
        return None
    lines = dict(line.split() for line in _text(folder / "memory.stat").splitlines())
    return max(0, most - taken + int(lines.get(droppable, 0))) // _MIB


def _quota(quota_and_period: list[str]) -> int | None:
    try:
        quota, period = map(int, quota_and_period)
    except ValueError:  # no such group, or "max"
        return None
    return max(1, math.floor(quota / period)) if quota > 0 and period > 0 else None


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8").strip()
    except OSError:
        return ""
