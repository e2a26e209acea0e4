import gc
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from npstyle.engine.bind import bind
from npstyle.engine.objective import StyleObjective
from npstyle.engine.threads import use_threads
from npstyle.errors import InputError
from npstyle.networks.network import configure
from npstyle.run.settings import Settings
from npstyle.tiles.cluster.cluster import connect
from npstyle.tiles.objective import TiledObjective
from tests.numeric import relative_error
from tests.sequences import VGG_LIKE, sequence
from tests.tiles.test_objective import SIZE, TOLERANCE, regions

LOSSES = Settings(
    content_layers={"conv3_1": 1.0},
    style_layers={"conv1_1": 1.0, "conv2_1": 0.5, "conv3_2": 2.0},
    tv_weight=1e-2,
).losses()
TILE = 16
"""Longest side of a tile; the pictures have six tiles."""

TASKS = ["grams_of_tile", "gradient_of_tile"]


@pytest.fixture(autouse=True)
def hard_limit():
    """Fail a test that hangs: after two minutes, which are enough on the busiest machine."""

    def give_up(_number, _frame):
        raise TimeoutError("the test hangs")

    before = signal.signal(signal.SIGALRM, give_up)
    signal.alarm(120)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.fixture
def no_garbage_collection():
    """Make a test fail that relies on the garbage collector to release futures."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.fixture(scope="module")
def two():
    """A cluster of two worker processes."""
    pytest.importorskip("distributed", reason="the extra `cluster` is not installed")
    with connect("local:2") as cluster:
        yield cluster


@pytest.fixture
def pictures(rng):
    return [rng.uniform(0, 255, (*size, 3)) for size in (SIZE, (31, 22), SIZE)]


def on_one_machine_and_on(cluster, bound, pictures):
    return [
        TiledObjective(bound, *pictures[:2], LOSSES, TILE, cluster=where)
        for where in (None, cluster)
    ]


def targets_of(objective):
    """Return the futures of the content targets."""
    return list(objective._elsewhere._targets.values())


def check_equal(found, expected, tolerance=1e-12):
    assert found.parts == pytest.approx(expected.parts, rel=tolerance)
    assert found.loss == pytest.approx(expected.loss, rel=tolerance)
    assert relative_error(found.gradient, expected.gradient) <= tolerance
    assert found.gradient.dtype == np.float64


def stall(folder, function, *arguments):
    """Call a function; the first caller in a folder writes its process ID there and waits."""
    mine = Path(folder) / f"{os.getpid()}"
    mine.write_text(f"{os.getpid()}")
    try:
        os.link(mine, Path(folder) / "stalled")
    except FileExistsError:
        return function(*arguments)
    end = time.monotonic() + 40
    while time.monotonic() < end and not (Path(folder) / "go").exists():
        time.sleep(0.05)
    (Path(folder) / "resumed").touch()
    return function(*arguments)


@contextmanager
def one_straggler(monkeypatch, folder, task, then=lambda pid: None):
    """Stall the first tile of a pass, and call `then` with the process ID of its worker."""
    from npstyle.tiles.cluster import worker as cluster_worker

    folder.mkdir()
    slow = partial(stall, str(folder), getattr(cluster_worker, task))

    def wait():
        while not (folder / "stalled").exists():
            time.sleep(0.02)
        then(int((folder / "stalled").read_text()))

    with monkeypatch.context() as patch:
        patch.setattr(f"npstyle.tiles.cluster.tiles.{task}", slow)
        thread = threading.Thread(target=wait, daemon=True)
        thread.start()
        try:
            yield
        finally:
            (folder / "go").touch()
            thread.join(20)


def received(folder, array):
    """Return an array of the weights that another process sent, and make a note of it."""
    with (folder / str(os.getpid())).open("a") as file:
        file.write("once ")
    return array


class Traced(np.ndarray):
    """An array that leaves a note in each process that receives it."""

    folder = None

    def __reduce__(self):
        return received, (Traced.folder, np.asarray(self))


def traced(bound, folder):
    """Return the network with one array of weights that leaves notes."""
    Traced.folder = folder
    first = replace(bound.layers[0], kernel=bound.layers[0].kernel.view(Traced))
    return replace(bound, layers=(first, *bound.layers[1:]))


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_the_cluster_and_one_machine_agree_on_the_loss_terms_and_the_gradient(
    two, rng, pictures, dtype
):
    bound = bind(configure(sequence(rng, VGG_LIKE), "max", dtype, "replicate"))
    photo, painting, pixels = pictures
    style = regions(photo, painting)
    whole = StyleObjective(bound, photo, style, LOSSES)(pixels)
    here, there = (
        TiledObjective(bound, photo, style, LOSSES, TILE, cluster=where) for where in (None, two)
    )
    expected = here(pixels)
    for _ in range(2):  # the second time, the workers have the content targets
        found = there(pixels)
        check_equal(found, expected, TOLERANCE[dtype] / 10)
        check_equal(found, whole, TOLERANCE[dtype])
    assert there(photo).parts["content conv3_1"] == 0


def test_the_loss_has_the_same_bits_for_one_worker_two_workers_and_no_cluster(
    two, rng, pictures, monkeypatch
):
    bound = bind(sequence(rng, VGG_LIKE))
    here, by_both = on_one_machine_and_on(two, bound, pictures)
    found = by_both(pictures[2])
    one = min(two.client.nthreads())
    submit = two.client.submit
    monkeypatch.setattr(
        two.client,
        "submit",
        lambda *given, **options: submit(*given, **options | {"workers": [one]}),
    )
    by_one = TiledObjective(bound, *pictures[:2], LOSSES, TILE, cluster=two)
    assert by_one(pictures[2]).parts == found.parts == here(pictures[2]).parts
    check_equal(by_one(pictures[2]), here(pictures[2]))
    assert set(two.client.who_has(targets_of(by_one)).values()) == {(one,)}


@pytest.mark.parametrize("route", ["plain", "fast"])
def test_a_bound_network_is_sent_without_the_zeros_of_its_outline(two, rng, route):
    from distributed.protocol.pickle import dumps

    from npstyle.tiles.cluster.worker import LoadedNetwork

    bound = bind(sequence(rng, [("conv", 3, 1, 1, 64), ("conv", 3, 1, 1, 64)]), route=route)
    arrays = [vars(layer).get("kernel", vars(layer).get("filters")) for layer in bound.layers]
    size = sum(array.nbytes for array in arrays if array is not None)
    assert size < len(dumps(LoadedNetwork(bound))) < 1.1 * size
    losses = Settings(content_layers={}, style_layers={"conv1_1": 1.0, "conv1_2": 1.0}).losses()
    pictures = [rng.uniform(0, 255, (20, 24, 3)) for _ in range(3)]
    here, there = (
        TiledObjective(bound, *pictures[:2], losses, TILE, cluster=where) for where in (None, two)
    )
    check_equal(there(pictures[2]), here(pictures[2]))


def test_a_picture_of_one_tile_agrees_with_one_machine(two, rng, pictures):
    bound = bind(sequence(rng, VGG_LIKE))
    here, there = (
        TiledObjective(bound, *pictures[:2], LOSSES, 48, cluster=where) for where in (None, two)
    )
    check_equal(there(pictures[2]), here(pictures[2]))


def test_a_worker_may_die_and_each_worker_receives_the_weights_once(
    two, rng, pictures, monkeypatch, tmp_path
):
    here, there = on_one_machine_and_on(
        two, traced(bind(sequence(rng, VGG_LIKE)), tmp_path), pictures
    )
    expected, before = here(pictures[2]), there(pictures[2])
    pids = set(two.client.run(os.getpid).values())
    for task in TASKS:
        with one_straggler(
            monkeypatch, tmp_path / task, task, lambda pid: os.kill(pid, signal.SIGKILL)
        ):
            found = there(pictures[2])
        assert found.parts == before.parts
        check_equal(found, expected)
        check_equal(there(pictures[2]), expected)
        two.client.wait_for_workers(2, timeout=60)
        pids |= set(two.client.run(os.getpid).values())
    assert len(pids) == 4
    notes = {int(path.name): path.read_text() for path in tmp_path.iterdir() if path.is_file()}
    assert notes == dict.fromkeys(pids, "once ")


@pytest.mark.parametrize("task", TASKS)
def test_a_straggler_does_not_hold_up_the_step(two, rng, pictures, monkeypatch, tmp_path, task):
    here, there = on_one_machine_and_on(two, bind(sequence(rng, VGG_LIKE)), pictures)
    before = there(pictures[2])
    for durations in (there._elsewhere._gram_durations, there._elsewhere._gradient_durations):
        durations.extend([0.0] * 99)  # so that a busy machine does not raise the median
    with one_straggler(monkeypatch, tmp_path / "slow", task):
        found = there(pictures[2])
        assert (tmp_path / "slow" / "stalled").exists()
        assert not (tmp_path / "slow" / "resumed").exists()
        assert two._stragglers
    assert found.parts == before.parts
    check_equal(found, here(pictures[2]))
    while two._stragglers:
        time.sleep(0.05)


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("noted", [False, True], ids=["raised", "noted by use_threads"])
def test_ctrl_c_releases_all_unfinished_tasks(
    two, rng, pictures, monkeypatch, tmp_path, no_garbage_collection, noted, task
):
    here, there = on_one_machine_and_on(two, bind(sequence(rng, VGG_LIKE)), pictures)
    there(pictures[2])
    kept = len(targets_of(there))
    # A shell makes processes in the background ignore Ctrl-C.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)

    def press(_pid):
        os.kill(os.getpid(), signal.SIGINT)

    with one_straggler(monkeypatch, tmp_path / "slow", task, press):
        with use_threads(1) if noted else nullcontext(), pytest.raises(KeyboardInterrupt):
            there(pictures[2])
        assert not (tmp_path / "slow" / "resumed").exists()
        while len(two.client.futures) > kept or any(two.client.processing().values()):
            time.sleep(0.05)
    signal.signal(signal.SIGINT, before)
    check_equal(there(pictures[2]), here(pictures[2]))


def test_lost_content_targets_are_recomputed(two, rng, pictures):
    here, there = on_one_machine_and_on(two, bind(sequence(rng, VGG_LIKE)), pictures)
    there(pictures[2])
    two.client.cancel(targets_of(there)[::2])
    check_equal(there(pictures[2]), here(pictures[2]))


@contextmanager
def dask(*arguments):
    """Run `dask scheduler` or `dask worker` on the loopback interface."""
    command = [sys.executable, "-m", "dask", *arguments, "--host", "127.0.0.1", "--no-dashboard"]
    root = str(Path(__file__).resolve().parents[3])
    with subprocess.Popen(command, cwd=root, stderr=subprocess.DEVNULL) as process:
        try:
            yield process
        finally:
            process.kill()


def test_a_scheduler_that_hangs_or_dies_is_reported_in_one_sentence(
    rng, pictures, monkeypatch, tmp_path
):
    pytest.importorskip("distributed", reason="the extra `cluster` is not installed")
    file = tmp_path / "scheduler.json"
    bound = bind(sequence(rng, VGG_LIKE))
    where = "--scheduler-file", str(file)
    with (
        dask("scheduler", "--port", "0", *where) as scheduler,
        dask("worker", "--no-nanny", "--nthreads", "1", *where),
    ):
        while not file.exists():
            time.sleep(0.05)
        monkeypatch.setattr("npstyle.tiles.cluster.cluster.CONNECT_TIMEOUT", 100)
        with connect(str(file)) as cluster:
            here, there = on_one_machine_and_on(cluster, bound, pictures)
            check_equal(there(pictures[2]), here(pictures[2]))
            for number, timeout in ((signal.SIGSTOP, 2), (signal.SIGKILL, 100)):
                monkeypatch.setattr("npstyle.tiles.cluster.cluster.SCHEDULER_TIMEOUT", timeout)
                with (
                    one_straggler(
                        monkeypatch,
                        tmp_path / number.name,
                        "gradient_of_tile",
                        lambda _pid, number=number: scheduler.send_signal(number),
                    ),
                    pytest.raises(InputError, match="the scheduler does not answer any more"),
                ):
                    there(pictures[2])
                scheduler.send_signal(signal.SIGCONT)
                if number == signal.SIGSTOP:
                    cluster._last_answer = time.monotonic()


def test_an_unusable_cluster_is_reported_with_its_address(two, monkeypatch):
    from distributed import LocalCluster

    for address, message in (
        ("somewhere", "neither host:port nor a scheduler file nor local:N"),
        ("local:none", "give a number of workers, as in local:2"),
        ("127.0.0.1:9", "no scheduler answers there"),
    ):
        monkeypatch.setattr("npstyle.tiles.cluster.cluster.CONNECT_TIMEOUT", 0.5)
        with (
            pytest.raises(InputError, match=f"^--cluster {address}: .*{message}"),
            connect(address),
        ):
            pass
    with LocalCluster(n_workers=0, host="127.0.0.1", dashboard_address=None) as empty:
        address = empty.scheduler_address
        with pytest.raises(InputError, match="the scheduler has no workers"), connect(address):
            pass
    monkeypatch.setattr("npstyle.tiles.cluster.cluster.CONNECT_TIMEOUT", 10)
    monkeypatch.setattr("npstyle.tiles.cluster.cluster.__version__", "9.9.9")
    address = two.client.scheduler.address
    with pytest.raises(InputError, match=r"here is version 9.9.9, .* install the same"):
        connect(address).__enter__()


def test_a_hanging_worker_is_not_mistaken_for_a_lost_scheduler(two, monkeypatch):
    monkeypatch.setattr("npstyle.tiles.cluster.cluster.VERSION_TIMEOUT", 2)
    hanging = next(iter(two.client.run(os.getpid).values()))
    os.kill(hanging, signal.SIGSTOP)
    try:
        with pytest.raises(InputError, match="not every worker answers within 2 s"):
            connect(two.client.scheduler.address).__enter__()
    finally:
        os.kill(hanging, signal.SIGCONT)


def test_without_dask_the_message_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(InputError, match=r"--cluster: .*npstyle\[cluster\]"), connect("local:2"):
        pass
