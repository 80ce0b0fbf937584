"""From config to the worker's environment and TensorFlow's calls, with GPUs that Ray is told of and that do not exist.

Ray, its actors, what it books and the environment are real. Only TensorFlow's configuration is stood in for, since it
would find no GPU; `tests/gpu` has the real one.
"""

from __future__ import annotations

import math
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import runner.fleet.ray.fleet as ray_fleet  # sets Ray's environment, so it comes before Ray
import runner.fleet.ray.workers as ray_workers
from runner.config import load_config
from runner.driver import machines as runner_cluster
from runner.driver import prepare as preparation
from runner.driver import probing
from runner.driver.check import within_memory
from runner.driver.fleets import open_fleet as unstarted_fleet
from runner.errors import FleetError
from runner.fleet.ray.actor import RayWorker
from runner.fleet.ray.fleet import RayFleet
from runner.fleet.ray.session import RaySession
from runner.placement import Gpu, Machine, place_as_ray
from runner.records import Allocation, Checked, Failure, Mps
from runner.testing import FakeFleet
from runner.worker import startup

pytestmark = pytest.mark.ray
ray = ray_workers.ray
NAMES = ("3", "1")  # as CUDA_VISIBLE_DEVICES may have them
LARGE, SMALL = 24_256, 12_256
NONE = Mps(kind="unavailable")
ROOT = Path(__file__).parents[2]


class Recorded:
    """`tf.config` that writes down what it is asked for; sees the GPUs that the environment shows."""

    def __init__(self) -> None:
        self.calls: list[Any] = []
        self.threading = SimpleNamespace(
            set_intra_op_parallelism_threads=lambda n: self.calls.append(("intra", n)),
            set_inter_op_parallelism_threads=lambda n: self.calls.append(("inter", n)),
        )

    def list_physical_devices(self, kind: str) -> list[Any]:
        return [SimpleNamespace(name=f"GPU:{name}") for name in os.environ["CUDA_VISIBLE_DEVICES"].split(",")]

    def LogicalDeviceConfiguration(self, memory_limit: int) -> int:  # noqa: N802
        return memory_limit

    def set_logical_device_configuration(self, device: Any, limits: list[int]) -> None:
        self.calls.append((device.name, limits))


class RecordingWorker(RayWorker):
    """A worker as far as TensorFlow."""

    def start(self, allocation: Allocation) -> Any:
        given = os.environ.get("CUDA_VISIBLE_DEVICES")
        os.environ |= startup.environment(allocation)
        config = Recorded()
        device = startup.apply_limits(SimpleNamespace(config=config), allocation)
        environment = {name: value for name, value in os.environ.items() if name.startswith("CUDA_")}
        return SimpleNamespace(
            pid=device.pid,
            started=device.started,
            device=device,
            calls=config.calls,
            given=given,
            environment=environment,
        )


class ImportingWorker(RayWorker):
    """A real worker that tells how its environment was when TensorFlow was imported."""

    def start(self, allocation: Allocation) -> Any:
        seen: list[str | None] = []

        class Watch:
            @staticmethod
            def find_spec(name: str, *_: Any) -> None:
                if name == "tensorflow":
                    seen.append(os.environ.get("CUDA_VISIBLE_DEVICES"))

        assert "tensorflow" not in sys.modules
        sys.meta_path.insert(0, Watch)  # type: ignore[arg-type]
        device = super().start(allocation)
        return SimpleNamespace(pid=device.pid, started=device.started, device=device, seen=seen)


class CpuWorker(RayWorker):
    """A real worker that has booked a GPU and computes without."""

    def start(self, allocation: Allocation) -> Any:
        return super().start(Allocation(num_cpus=allocation.num_cpus, threads=allocation.threads))


@pytest.fixture(scope="module")
def cluster() -> Iterator[str]:
    """One Ray with two GPUs that do not exist, for all sweeps of this module."""
    ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])
    with RaySession(NAMES, address="local", num_cpus=8, num_gpus=2, include_dashboard=False, log_to_driver=False):
        yield ray.get_runtime_context().gcs_address


@pytest.fixture(autouse=True)
def free_gpus(cluster: str) -> None:
    """Ray hears a moment after a worker's end that its share is free."""
    wait_until_free()


def wait_until_free() -> None:
    deadline = time.monotonic() + 30
    time.sleep(0.2)
    while booked() > 0:
        assert time.monotonic() < deadline, ray.available_resources()
        time.sleep(0.05)


def booked() -> float:
    return 2 - float(ray.available_resources().get("GPU", 0))


class JoinedSession:
    """The module's Ray in place of a fleet's own: to start one for each sweep would take minutes."""

    def __init__(self, gpus: Any, **options: Any) -> None:
        self.gpus, self.options = gpus, options

    def __enter__(self) -> None: ...

    def __exit__(self, *exc: object) -> None: ...

    def check(self) -> None: ...


@pytest.fixture
def planned(cluster: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """A sweep as `sweep` plans it, from a command line and a machine."""
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(ray_fleet, "RaySession", JoinedSession)
    monkeypatch.setattr(preparation, "NEEDS_FILE", tmp_path / "needs.json")

    def plan(*free_mib: int, mps: Mps = NONE, **resources: Any) -> preparation.Prepared:
        gpus = [
            Gpu(id=name, uuid=f"GPU-{name}", name="A", memory_mib=LARGE, free_mib=free)
            for name, free in zip(NAMES, free_mib, strict=False)
        ]
        machine = Machine(cpus=8, memory_mib=64_000, gpus=tuple(gpus), mps=mps, gpu_overhead_mib=500)
        for module in (runner_cluster, probing):
            monkeypatch.setattr(module, "this_machine", lambda: machine)
        settings = [f"resources.{key}={value}" for key, value in resources.items()]
        return preparation.prepare(load_config(None, settings, config_dir=None))

    return plan


@pytest.fixture
def open_fleet(planned: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Opens the fleet of such a sweep, with workers that record."""
    monkeypatch.setattr(ray_workers, "RayWorker", RecordingWorker)
    with ExitStack() as fleets:

        def opened(*free_mib: int, **resources: Any) -> RayFleet:
            prepared = planned(*free_mib, **resources)
            fleet = unstarted_fleet(prepared, prepared.slots)
            assert isinstance(fleet, RayFleet)
            return fleets.enter_context(fleet)

        yield opened


def limits(fleet: RayFleet) -> list[tuple[str, list[Any]]]:
    """For each slot the worker's CUDA_VISIBLE_DEVICES, and the limits that TensorFlow was told."""
    devices = [fleet.devices[slot] for slot in sorted(fleet.devices)]
    for device in devices:
        kept, given = (set(names.split(",")) for names in (device.environment["CUDA_VISIBLE_DEVICES"], device.given))
        assert kept == given, "the worker has what Ray has booked for it"
        assert device.environment["CUDA_DEVICE_ORDER"] == "PCI_BUS_ID"
    return [(device.environment["CUDA_VISIBLE_DEVICES"], device.calls[2:]) for device in devices]


def test_three_thirds_of_one_gpu(open_fleet: Any) -> None:
    fleet = open_fleet(LARGE, num_gpus=0.33)
    assert limits(fleet) == [("3", [("GPU:3", [7_420])])] * 3
    assert booked() == pytest.approx(0.99)
    assert fleet.devices[0].calls[:2] == [("intra", 1), ("inter", 1)]
    assert "CUDA_MPS_ACTIVE_THREAD_PERCENTAGE" not in fleet.devices[0].environment


def test_halves_of_two_gpus(open_fleet: Any) -> None:
    fleet = open_fleet(LARGE, LARGE, num_gpus=0.5)
    assert limits(fleet) == [("3", [("GPU:3", [11_500])])] * 2 + [("1", [("GPU:1", [11_500])])] * 2
    assert booked() == 2


@pytest.mark.slow
def test_two_halves_go_to_two_gpus(open_fleet: Any) -> None:
    fleet = open_fleet(LARGE, LARGE, num_gpus=0.5, max_concurrent=2)
    assert limits(fleet) == [("3", [("GPU:3", [11_500])]), ("1", [("GPU:1", [11_500])])]


def test_a_whole_gpu_for_each_model_and_both_for_one(open_fleet: Any) -> None:
    fleet = open_fleet(LARGE, LARGE, num_gpus=1.0, num_cpus=2.5)
    assert limits(fleet) == [("3", [("GPU:3", [23_500])]), ("1", [("GPU:1", [23_500])])]
    assert fleet.devices[0].calls[:2] == [("intra", 2), ("inter", 2)]
    fleet.__exit__(None, None, None)
    wait_until_free()
    fleet = open_fleet(LARGE, LARGE, num_gpus=2.0)
    assert [calls for _, calls in limits(fleet)] == [[("GPU:3", [23_500]), ("GPU:1", [23_500])]]


@pytest.mark.slow
def test_gpus_of_different_sizes_have_limits_of_their_own(open_fleet: Any) -> None:
    fleet = open_fleet(SMALL, LARGE, num_gpus=0.5)
    assert limits(fleet) == [("3", [("GPU:3", [5_500])])] * 2 + [("1", [("GPU:1", [11_500])])] * 2
    assert [device.device.gpu_memory_mib for device in fleet.devices.values()] == [5_500, 5_500, 11_500, 11_500]


def test_as_many_on_each_gpu_as_its_memory_holds_and_a_worker_comes_back_to_its_own(open_fleet: Any) -> None:
    """Three on one, one on the other: Ray alone would put the fourth anywhere."""
    fleet = open_fleet(LARGE, SMALL, gpu_memory_mib=7_000)
    before = limits(fleet)
    assert before == [("3", [("GPU:3", [7_000])])] * 3 + [("1", [("GPU:1", [7_000])])]
    assert booked() == pytest.approx(1.9999)
    for slots in ([3], [1], [0, 2, 3]):  # of several lost together Ray may swap the places
        fleet.replace(dict.fromkeys(slots))
        assert limits(fleet) == before


def test_mps_is_told_the_same_share(open_fleet: Any) -> None:
    fleet = open_fleet(LARGE, num_gpus=0.25, mps=Mps(kind="foreign"))
    assert [device.environment["CUDA_MPS_ACTIVE_THREAD_PERCENTAGE"] for device in fleet.devices.values()] == ["25"] * 4


def test_without_mps_workers_find_no_daemon(open_fleet: Any) -> None:
    fleet = open_fleet(LARGE, num_gpus=0.5, mps=Mps(kind="off"))
    assert [device.environment["CUDA_MPS_PIPE_DIRECTORY"] for device in fleet.devices.values()] == [os.devnull] * 2


def test_auto_measures_the_models_and_packs_as_many_as_fit(planned: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The probe's process is real; what it measures is host memory here, about 700 MiB."""
    monkeypatch.setattr(ray_workers, "RayWorker", CpuWorker)
    prepared = planned(SMALL, max_concurrent=5, gpu_overhead_mib=1_000)
    assert prepared.to_probe
    measured = probing.probe(prepared)
    assert not measured.to_probe
    needs = [need.memory_mib for need in measured.needs]
    assert all(need is not None and 100 < need < 2_000 for need in needs), needs
    assert [slot.allocation.gpu_memory_mib for slot in measured.slots] == [12_000 // 5 - 1_000] * 5
    assert preparation.prepare(prepared.config).slots == measured.slots, "what is known is not measured again"
    in_turns, through_mps = (planned(SMALL, gpu_overhead_mib=1_000, mps=mps) for mps in (NONE, Mps(kind="foreign")))
    assert through_mps.to_probe, "a process takes other memory through MPS"
    (slot,) = in_turns.slots
    assert slot.allocation.gpu_memory_mib == 11_000
    assert slot.allocation.places == min(8, 12_000 // (math.ceil(max(needs) * 1.15) + 1_000)), "of one worker"


def test_a_ray_of_the_sweeps_own_is_told_of_the_gpus_it_uses_alone(planned: Any) -> None:
    prepared = planned(700, LARGE, num_gpus=0.5)
    session = unstarted_fleet(prepared, prepared.slots)._session  # type: ignore[attr-defined]
    assert (session.gpus, session.options["num_gpus"]) == (("1",), 1)


def test_workers_that_ray_puts_elsewhere_are_refused(open_fleet: Any) -> None:
    @ray.remote(num_gpus=0.6, num_cpus=0)
    class Other:
        def ready(self) -> None: ...

    other = Other.remote()
    ray.get(other.ready.remote())
    with pytest.raises(FleetError, match="were planned for GPUs 3; Ray has put them on 1"):
        open_fleet(LARGE, num_gpus=0.5, max_concurrent=1)
    ray.kill(other)


@pytest.mark.parametrize(
    "asked",
    [
        pytest.param((0.5, 0.25, 0.25, 0.75), marks=pytest.mark.slow),
        pytest.param((0.5, 0.5, 0.3, 0.7), marks=pytest.mark.slow),
        (0.5, 0.75, 0.2, 0.4),
    ],
)
def test_ray_packs_as_it_is_simulated(cluster: str, asked: tuple[float, ...]) -> None:
    workers = []
    found = []
    for share in asked:
        workers.append(ray.remote(RayWorker).options(num_gpus=share, num_cpus=0).remote())
        found.append(tuple(NAMES.index(name) for name in ray.get(workers[-1].gpus.remote(), timeout=30)))
    for worker in workers:
        ray.kill(worker)
    assert found == place_as_ray(asked, 2)


def test_ray_never_places_what_the_simulation_does_not(cluster: str) -> None:
    asked = (0.5, 0.25, 0.75, 0.5)
    assert place_as_ray(asked, 2) is None
    workers, done = [], []
    for share in asked:
        workers.append(ray.remote(RayWorker).options(num_gpus=share, num_cpus=0).remote())
        done, _ = ray.wait([workers[-1].gpus.remote()], timeout=1.5 if len(workers) == len(asked) else 30)
    for worker in workers:
        ray.kill(worker)
    assert not done


def test_without_a_share_gpus_are_hidden_before_tensorflow_is_imported(
    open_fleet: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ray_workers, "RayWorker", ImportingWorker)
    fleet = open_fleet(LARGE, LARGE, num_gpus=0, max_concurrent=1)
    assert fleet.devices[0].seen == ["-1"]
    assert fleet.devices[0].device.visible_devices == "-1"


def test_a_gpu_that_tensorflow_does_not_see_is_an_error(open_fleet: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Here no GPU exists: TensorFlow would train on the CPU without a word."""
    monkeypatch.setattr(ray_workers, "RayWorker", RayWorker)
    with pytest.raises(FleetError, match=r"the slot has GPU 3, TensorFlow sees 0 GPUs; python -m runner doctor"):
        open_fleet(LARGE, num_gpus=1.0)


WIDE = """
import keras, numpy as np
def load_data():
    x = np.ones((64, 1000), "float32")
    return (x, x), (x, x)
def build_model(units=1):
    model = keras.Sequential([keras.layers.Dense(units), keras.layers.Dense(1000)])
    model.compile("adam", "mse")
    return model
"""


@pytest.mark.slow
def test_a_model_beyond_its_host_memory_fails_and_the_next_one_does_not(
    planned: Any, make_trial: Any, tmp_path: Path
) -> None:
    (tmp_path / "wide.py").write_text(WIDE)
    args = {"path": tmp_path / "wide.py", "data_params": (), "model_params": ("units",)}
    large, small = (make_trial(id=str(units), params={"units": units}, **args) for units in (25_000, 10))
    prepared = planned(num_gpus=0, memory_mib=250, max_concurrent=1)
    with unstarted_fleet(prepared, prepared.slots) as fleet:
        refused = fleet.check([large])[large.id]
        assert isinstance(refused, Failure)
        assert refused.kind == "oom"
        assert "OOM when allocating tensor" in refused.message, refused
        assert isinstance(fleet.check([small])[small.id], Checked)


def test_workers_beyond_the_hosts_memory_are_ended(planned: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    prepared = planned()
    assert len(prepared.slots) == 8
    prepared = replace(prepared, machines={"": replace(prepared.machine, free_memory_mib=5_024)})
    fleet = FakeFleet(slots=[slot.index for slot in prepared.slots])
    checked = {"digits": replace(fleet.check(prepared.trials[:1])["000"], memory_mib=1_000.0)}
    assert len(within_memory(prepared, checked, fleet).slots) == 3
    assert fleet.slots == [0, 1, 2]
    asked = replace(prepared, config=planned(max_concurrent=8).config)
    assert within_memory(asked, checked, fleet) is asked


LOGICAL = """
from runner.testing import FakeFleet
from runner.worker import startup
from runner.records import Allocation, Checked, Failure
import tensorflow as tf
class Cpus:
    def __getattr__(self, name):
        if name == "list_physical_devices":
            return lambda kind: tf.config.list_physical_devices("CPU")
        if name == "LogicalDeviceConfiguration":
            return lambda memory_limit: tf.config.LogicalDeviceConfiguration()
        if name == "set_logical_device_configuration":
            return lambda device, limits: tf.config.set_logical_device_configuration(device, limits * 2)
        return getattr(tf.config, name)
share = Allocation(num_cpus=1, num_gpus=0.33, gpus=("0",), gpu_memory_mib=64)
startup.apply_limits(type("tf", (), {"config": Cpus()}), share)
assert len(tf.config.list_logical_devices("CPU")) == 2
"""


def test_a_logical_device_takes_the_configuration() -> None:
    """A real TensorFlow with the CPU in the GPU's place: the configuration is accepted and in force."""
    result = subprocess.run([sys.executable, "-c", LOGICAL], capture_output=True, text=True, check=False, timeout=120)
    assert result.returncode == 0, result.stderr[-2000:]
