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

from npstyle.engine.objective import build_objective
from npstyle.engine.threads import use_threads
from npstyle.errors import InputError
from npstyle.networks.network import configure
from npstyle.run.settings import Settings
from npstyle.tiles.cluster.cluster import connect
from npstyle.tiles.objective import TiledObjective
from tests.numeric import relative_error
from tests.sequences import VGG_LIKE, sequence
from tests.tiles.test_objective import SIZE, TOLERANCE, regions

SETTINGS = Settings(
    content_layers={"conv3_1": 1.0},
    style_layers={"conv1_1": 1.0, "conv2_1": 0.5, "conv3_2": 2.0},
    tv_weight=1e-2,
)
TILE = 16
"""Six of them."""

PASSES = ["grams_of_tile", "gradient_of_tile"]


@pytest.fixture(autouse=True)
def hard_limit():
    """Whatever hangs fails: a test may take two minutes on the busiest machine."""

    def give_up(_number, _frame):
        raise TimeoutError("the test hangs")

    before = signal.signal(signal.SIGALRM, give_up)
    signal.alarm(120)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.fixture
def no_garbage_collection():
    """Who leaves it to the garbage collection to let go is found out."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.fixture(scope="module")
def two():
    """Two worker processes."""
    pytest.importorskip("distributed", reason="the extra `cluster` is not installed")
    with connect("local:2") as cluster:
        yield cluster


@pytest.fixture
def pictures(rng):
    return [rng.uniform(0, 255, (*size, 3)) for size in (SIZE, (31, 22), SIZE)]


def on_one_machine_and_on(cluster, network, pictures):
    return [
        TiledObjective(network, *pictures[:2], SETTINGS, TILE, cluster=where)
        for where in (None, cluster)
    ]


def targets_of(objective):
    """The futures of the content's targets."""
    return list(objective._elsewhere._targets.values())


def check_equal(found, expected, tolerance=1e-12):
    assert found.parts == pytest.approx(expected.parts, rel=tolerance)
    assert found.loss == pytest.approx(expected.loss, rel=tolerance)
    assert relative_error(found.gradient, expected.gradient) <= tolerance
    assert found.gradient.dtype == np.float64


def dawdle(folder, function, *arguments):
    """Do it; who is first in a folder leaves his number there and waits until he is let go."""
    mine = Path(folder) / f"{os.getpid()}"
    mine.write_text(f"{os.getpid()}")
    try:
        os.link(mine, Path(folder) / "dawdler")
    except FileExistsError:
        return function(*arguments)
    end = time.monotonic() + 40
    while time.monotonic() < end and not (Path(folder) / "go").exists():
        time.sleep(0.05)
    (Path(folder) / "went").touch()
    return function(*arguments)


@contextmanager
def one_dawdler(monkeypatch, folder, passed, then=lambda pid: None):
    """The first tile of a pass dawdles; `then` is called with its worker's number."""
    from npstyle.tiles.cluster import worker as cluster_worker

    folder.mkdir()
    slow = partial(dawdle, str(folder), getattr(cluster_worker, passed))

    def wait():
        while not (folder / "dawdler").exists():
            time.sleep(0.02)
        then(int((folder / "dawdler").read_text()))

    with monkeypatch.context() as patch:
        patch.setattr(f"npstyle.tiles.cluster.tiles.{passed}", slow)
        thread = threading.Thread(target=wait, daemon=True)
        thread.start()
        try:
            yield
        finally:
            (folder / "go").touch()
            thread.join(20)


def arrived(folder, array):
    """An array of the weights, in a process that has it from another."""
    with (folder / str(os.getpid())).open("a") as file:
        file.write("once ")
    return array


class Traced(np.ndarray):
    """An array that leaves a note in each process it comes to."""

    folder = None

    def __reduce__(self):
        return arrived, (Traced.folder, np.asarray(self))


def traced(network, folder):
    """The network, with one array of weights that leaves notes."""
    Traced.folder = folder
    first = replace(network.layers[0], kernel=network.layers[0].kernel.view(Traced))
    return replace(network, layers=(first, *network.layers[1:]))


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_the_cluster_gives_one_machines_loss_terms_and_gradient(two, rng, pictures, dtype):
    network = configure(sequence(rng, VGG_LIKE), "max", dtype, "replicate")
    photo, painting, pixels = pictures
    style = regions(photo, painting)
    whole = build_objective(network, photo, style, SETTINGS)(pixels)
    here, there = (
        TiledObjective(network, photo, style, SETTINGS, TILE, cluster=where)
        for where in (None, two)
    )
    expected = here(pixels)
    for _ in range(2):  # the second time with the content's targets where they are
        found = there(pixels)
        check_equal(found, expected, TOLERANCE[dtype] / 10)
        check_equal(found, whole, TOLERANCE[dtype])
    assert there(photo).parts["content conv3_1"] == 0


def test_one_worker_gives_the_same_loss_to_the_last_bit(two, rng, pictures, monkeypatch):
    network = sequence(rng, VGG_LIKE)
    here, by_both = on_one_machine_and_on(two, network, pictures)
    found = by_both(pictures[2])
    one = min(two.client.nthreads())
    submit = two.client.submit
    monkeypatch.setattr(
        two.client,
        "submit",
        lambda *given, **options: submit(*given, **options | {"workers": [one]}),
    )
    by_one = TiledObjective(network, *pictures[:2], SETTINGS, TILE, cluster=two)
    assert by_one(pictures[2]).parts == found.parts
    check_equal(by_one(pictures[2]), here(pictures[2]))
    assert set(two.client.who_has(targets_of(by_one)).values()) == {(one,)}


def test_a_picture_that_is_one_tile(two, rng, pictures):
    network = sequence(rng, VGG_LIKE)
    here, there = (
        TiledObjective(network, *pictures[:2], SETTINGS, 48, cluster=where) for where in (None, two)
    )
    check_equal(there(pictures[2]), here(pictures[2]))


def test_a_worker_may_die_and_the_weights_come_once_to_each(
    two, rng, pictures, monkeypatch, tmp_path
):
    here, there = on_one_machine_and_on(two, traced(sequence(rng, VGG_LIKE), tmp_path), pictures)
    expected, before = here(pictures[2]), there(pictures[2])
    pids = set(two.client.run(os.getpid).values())
    for passed in PASSES:
        with one_dawdler(
            monkeypatch, tmp_path / passed, passed, lambda pid: os.kill(pid, signal.SIGKILL)
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


@pytest.mark.parametrize("passed", PASSES)
def test_a_straggler_does_not_hold_the_step_up(two, rng, pictures, monkeypatch, tmp_path, passed):
    here, there = on_one_machine_and_on(two, sequence(rng, VGG_LIKE), pictures)
    before = there(pictures[2])
    there._elsewhere._gram_durations.extend([0.0] * 99)
    there._elsewhere._gradient_durations.extend(
        [0.0] * 99
    )  # however busy this machine was just now
    with one_dawdler(monkeypatch, tmp_path / "slow", passed):
        found = there(pictures[2])
        assert (tmp_path / "slow" / "dawdler").exists()
        assert not (tmp_path / "slow" / "went").exists()
        assert two._stragglers
    assert found.parts == before.parts
    check_equal(found, here(pictures[2]))
    while two._stragglers:
        time.sleep(0.05)


@pytest.mark.parametrize("passed", PASSES)
@pytest.mark.parametrize("noted", [False, True], ids=["raised", "noted by backend.threads"])
def test_ctrl_c_takes_back_what_is_not_done(
    two, rng, pictures, monkeypatch, tmp_path, no_garbage_collection, noted, passed
):
    here, there = on_one_machine_and_on(two, sequence(rng, VGG_LIKE), pictures)
    there(pictures[2])
    kept = len(targets_of(there))
    # Where the tests run in the background, a shell has the whole process ignore Ctrl-C.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)

    def press(_pid):
        os.kill(os.getpid(), signal.SIGINT)

    with one_dawdler(monkeypatch, tmp_path / "slow", passed, press):
        with use_threads(1) if noted else nullcontext(), pytest.raises(KeyboardInterrupt):
            there(pictures[2])
        assert not (tmp_path / "slow" / "went").exists()
        while len(two.client.futures) > kept or any(two.client.processing().values()):
            time.sleep(0.05)
    signal.signal(signal.SIGINT, before)
    check_equal(there(pictures[2]), here(pictures[2]))


def test_what_the_cluster_has_lost_is_made_again(two, rng, pictures):
    here, there = on_one_machine_and_on(two, sequence(rng, VGG_LIKE), pictures)
    there(pictures[2])
    two.client.cancel(targets_of(there)[::2])
    check_equal(there(pictures[2]), here(pictures[2]))


@contextmanager
def dask(*arguments):
    """`dask scheduler` or `dask worker`, without a network."""
    command = [sys.executable, "-m", "dask", *arguments, "--host", "127.0.0.1", "--no-dashboard"]
    root = str(Path(__file__).resolve().parents[3])
    with subprocess.Popen(command, cwd=root, stderr=subprocess.DEVNULL) as process:
        try:
            yield process
        finally:
            process.kill()


def test_a_scheduler_that_hangs_or_is_lost_is_one_sentence(rng, pictures, monkeypatch, tmp_path):
    pytest.importorskip("distributed", reason="the extra `cluster` is not installed")
    file = tmp_path / "scheduler.json"
    network = sequence(rng, VGG_LIKE)
    where = "--scheduler-file", str(file)
    with (
        dask("scheduler", "--port", "0", *where) as scheduler,
        dask("worker", "--no-nanny", "--nthreads", "1", *where),
    ):
        while not file.exists():
            time.sleep(0.05)
        monkeypatch.setattr("npstyle.tiles.cluster.cluster.CONNECT_TIMEOUT", 100)
        with connect(str(file)) as cluster:
            here, there = on_one_machine_and_on(cluster, network, pictures)
            check_equal(there(pictures[2]), here(pictures[2]))
            for number, silence in ((signal.SIGSTOP, 2), (signal.SIGKILL, 100)):
                monkeypatch.setattr("npstyle.tiles.cluster.cluster.SCHEDULER_TIMEOUT", silence)
                with (
                    one_dawdler(
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


def test_a_cluster_that_cannot_be_used_is_named(two, monkeypatch):
    from distributed import LocalCluster

    for address, says in (
        ("somewhere", "neither host:port nor a scheduler file nor local:N"),
        ("local:none", "give a number of workers, as in local:2"),
        ("127.0.0.1:9", "no scheduler answers there"),
    ):
        monkeypatch.setattr("npstyle.tiles.cluster.cluster.CONNECT_TIMEOUT", 0.5)
        with pytest.raises(InputError, match=f"^--cluster {address}: .*{says}"), connect(address):
            pass
    with LocalCluster(n_workers=0, host="127.0.0.1", dashboard_address=None) as nobody:
        address = nobody.scheduler_address
        with pytest.raises(InputError, match="the scheduler has no workers"), connect(address):
            pass
    monkeypatch.setattr("npstyle.tiles.cluster.cluster.CONNECT_TIMEOUT", 10)
    monkeypatch.setattr("npstyle.tiles.cluster.cluster.__version__", "9.9.9")
    address = two.client.scheduler.address
    with pytest.raises(InputError, match=r"here is version 9.9.9, .* install the same"):
        connect(address).__enter__()


def test_a_worker_that_hangs_is_not_taken_for_a_lost_scheduler(two, monkeypatch):
    monkeypatch.setattr("npstyle.tiles.cluster.cluster.VERSION_TIMEOUT", 2)
    hanging = next(iter(two.client.run(os.getpid).values()))
    os.kill(hanging, signal.SIGSTOP)
    try:
        with pytest.raises(InputError, match="not every worker answers within 2 s"):
            connect(two.client.scheduler.address).__enter__()
    finally:
        os.kill(hanging, signal.SIGCONT)


def test_without_dask_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(InputError, match=r"--cluster: .*npstyle\[cluster\]"), connect("local:2"):
        pass
