"""The predicted memory agrees with the allocations that tracemalloc measures."""

import re
import subprocess
import sys
import tracemalloc

import numpy as np
import pytest

from npstyle.engine.bind import bind
from npstyle.engine.memory import evaluation_bytes, forward_bytes, with_gaps
from npstyle.engine.passes import forward, prepare
from npstyle.errors import InputError
from npstyle.networks.network import configure, load_network
from npstyle.run.settings import Settings
from npstyle.run.strategy import run_bytes
from npstyle.search.memory import vectors_held
from npstyle.tiles.cut import cut
from npstyle.tiles.memory import largest_tile, tile_bytes
from tests.numeric import make_objective, make_tiled

pytestmark = pytest.mark.usefixtures("own_malloc")

SIZE = (240, 320)


def peak_of(function):
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        tracemalloc.reset_peak()
        function()
        return tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("pooling", ["avg", "max", "l2"])
@pytest.mark.parametrize("fast", [False, True])
def test_counts_of_forward_and_evaluation_are_those_of_the_arrays(rng, pooling, fast, monkeypatch):
    # Small strips, so that the workspaces do not hide the arrays that are counted.
    monkeypatch.setattr("npstyle.engine.cpu.conv.STRIP_BYTES", 1 << 16)
    monkeypatch.setattr("npstyle.engine.cpu.winograd.STRIP_BYTES", 1 << 16)
    network = configure(load_network("builtin"), pooling, np.float32)
    settings = Settings()
    names = [*settings.content_layers, *settings.style_layers]
    network = bind(network, names, route="fast" if fast else "plain")
    image = rng.uniform(-100, 100, (*SIZE, 3)).astype(np.float32)
    cache = prepare(network, image, names)

    def run():
        for _, F in forward(network, cache):
            del _, F

    measured = peak_of(run)
    assert forward_bytes(network, names, SIZE) == pytest.approx(measured, rel=0.1)

    photo = rng.uniform(0, 255, (*SIZE, 3))
    objective = make_objective(
        network,
        photo,
        photo,
        content_layers=settings.content_layers,
        style_layers=settings.style_layers,
    )
    objective(rng.uniform(0, 255, (*SIZE, 3)))
    measured = image.nbytes + objective.arena.used
    assert evaluation_bytes(network, names, SIZE) == pytest.approx(measured, rel=0.15)


@pytest.mark.parametrize("pooling", ["avg", "max"])
def test_the_count_of_a_tile_is_that_of_its_arrays_whatever_the_picture(rng, pooling):
    settings = Settings()
    names = [*settings.content_layers, *settings.style_layers]
    network = bind(configure(load_network("builtin"), pooling, np.float32), names, route="fast")
    photo = rng.uniform(0, 255, (100, 500, 3))
    objective = make_tiled(network, photo, photo[:64, :64], settings, tile=100)
    objective(photo)
    image = 3 * max(part.size[0] * part.size[1] for part in objective.tiles) * 4
    counted = tile_bytes(network, names, (100, 500), 100)
    assert counted == pytest.approx(image + objective.arena.used, rel=0.15)
    assert tile_bytes(network, names, (100, 5000), 100) == pytest.approx(counted, rel=0.1)


def test_the_largest_tile_fits_and_the_next_does_not():
    network, names, size = bind(load_network("builtin")), ["conv1_1", "conv5_1"], (700, 1000)
    for memory in (int(20e6), int(60e6)):
        tile = largest_tile(network, names, size, memory)
        assert 16 < tile < 1000
        assert with_gaps(tile_bytes(network, names, size, tile)) <= memory
        # Tiles are as equal in size as possible, so the next larger size makes fewer of them.
        counts = {n: len(cut(network.network, names, size, n)) for n in range(tile, 1000, 16)}
        larger = next(n for n, count in counts.items() if count < counts[tile])
        assert with_gaps(tile_bytes(network, names, size, larger)) > memory
    assert largest_tile(network, names, size, int(1e12)) >= 1000


def test_too_little_memory_for_a_tile_is_reported_with_the_missing_amount():
    network, names, size = bind(load_network("builtin")), ["conv1_1", "conv5_1"], (700, 1000)
    with pytest.raises(InputError, match="of 16 pixels, takes") as raised:
        largest_tile(network, names, size, int(1e6))
    more = int(re.search(r"allow (\d+) MB more", str(raised.value))[1])
    assert largest_tile(network, names, size, int(1e6) + more * 10**6) >= 16


def test_the_memory_of_a_run_grows_with_the_pixels_and_is_less_with_adam():
    network = bind(load_network("builtin"))
    settings = Settings(exact=True)
    vectors, fewer = (vectors_held(optimizer, 100) for optimizer in ("lbfgs", "adam"))
    small, large = (run_bytes(network, settings, s, s, 1, vectors) for s in ((64, 64), (256, 256)))
    assert 8 < large / small < 17
    assert run_bytes(network, settings, (256, 256), (256, 256), 1, fewer) < large


RUN = """
import sys
from pathlib import Path
from npstyle.engine.machine import held_memory
from npstyle.images.formula import draw_painting, draw_photo
from npstyle.run.machine import Machine
from npstyle.run.pictures import Pictures
from npstyle.run.settings import Settings
from npstyle.run.transfer import transfer_pictures
from tests.numeric import make_objective, make_tiled, run_forward
from npstyle.engine.bind import bind

size, network, optimizer = int(sys.argv[1]), sys.argv[2], sys.argv[3]


def announce(plan):
    assert (plan.strategies[-1].tile is None) == (memory is None)
    print(plan.peak_memory)
    if memory is not None:
        print(memory)


more, scratch = (*sys.argv[4:], None, None)[:2]
memory = None if more is None else held_memory() + int(more)
iterations = 12 if memory is None and optimizer == "lbfgs" else 2  # 12 fill the history
settings = Settings(size=size, scales=(size,), iterations=iterations, optimizer=optimizer)
transfer_pictures(
    Pictures(draw_photo(size * 3 // 4, size), (draw_painting(size * 3 // 4, size),)),
    network,
    settings,
    Machine(threads=2, memory=memory, scratch=scratch and Path(scratch)),
    announce=announce,
)
with open("/proc/self/status") as status:
    print(next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmHWM")))
"""


def estimate_and_peak(*arguments):
    command = [sys.executable, "-c", RUN, *map(str, arguments)]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    return map(int, run.stdout.split())


@pytest.mark.skipif(sys.platform != "linux", reason="the peak of a process is read from /proc")
@pytest.mark.parametrize("optimizer", ["lbfgs", "adam"])
def test_the_predicted_peak_is_the_peak_of_the_process(optimizer):
    estimate, peak = estimate_and_peak(512, "builtin", optimizer)
    assert estimate == pytest.approx(peak, rel=0.15)


@pytest.mark.skipif(sys.platform != "linux", reason="the peak of a process is read from /proc")
@pytest.mark.parametrize(("more", "on_disk"), [(370e6, False), (310e6, True)])
def test_a_run_with_a_memory_limit_uses_tiles_and_stays_within_it(more, on_disk, tmp_path):
    scratch = [tmp_path] if on_disk else []
    estimate, given, peak = estimate_and_peak(768, "builtin", "lbfgs", int(more), *scratch)
    assert estimate <= given
    assert peak <= 1.05 * given
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="the peak of a process is read from /proc")
@pytest.mark.parametrize("size", [256, 512])
def test_the_predicted_peak_is_the_peak_of_the_process_with_the_real_vgg19(size, vgg19):
    estimate, peak = estimate_and_peak(size, vgg19, "lbfgs")
    assert estimate == pytest.approx(peak, rel=0.15)
