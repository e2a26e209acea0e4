import os
import signal
import sys
from importlib import import_module
from pathlib import Path

# Tests run in parallel. The threads of two BLAS libraries on the same cores would wait for one
# another. The libraries read these variables when they are loaded.
for library in ("OPENBLAS", "MKL", "OMP"):
    os.environ.setdefault(f"{library}_NUM_THREADS", "1")

# A shell that starts the tests in the background lets them and their children ignore Ctrl-C, and
# `nohup` lets them ignore that a terminal was closed.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
    signal.signal(signal.SIGHUP, signal.SIG_DFL)

import numpy as np
import pytest

from npstyle.maths.layers import Conv, Pool, Relu
from npstyle.networks.network import Network

SHARED = Path(__file__).resolve().parents[2] / "shared"


def pytest_addoption(parser):
    parser.addoption("--seeds", type=int, default=1, help="seeds of the tests with few by default")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items):
    """Run the slow tests first, so that none of them starts when one worker has no more work."""
    items.sort(key=lambda item: item.get_closest_marker("slow") is None)


@pytest.fixture(scope="session")
def seeds(request):
    """How many seeds a test of right and wrong derivatives tries."""
    return request.config.getoption("--seeds")


@pytest.fixture
def rng():
    return np.random.default_rng(7)


@pytest.fixture(params=["cpu", "cpu.compiled"])
def cpu_engine(request):
    """The engine on the CPU, without and with compiled loops."""
    if request.param == "cpu.compiled":
        pytest.importorskip("numba", reason="compiled loops need Numba, the extra `fast`")
    return import_module(f"npstyle.engine.{request.param}")


@pytest.fixture
def own_malloc(monkeypatch):
    """Dask leaves this variable in its process; glibc then gives back more memory."""
    monkeypatch.delenv("MALLOC_TRIM_THRESHOLD_", raising=False)


@pytest.fixture
def gpus(monkeypatch, tmp_path_factory):
    """CuPy, or its stand-in where there is no GPU, ready to compile the kernels."""
    from npstyle.engine.cuda import arrays
    from tests.engine.cuda import shim
    from tests.engine.cuda.gpus import CUPY, stand_in

    arrays.forget_kernels()
    if CUPY is None:
        own = tmp_path_factory.getbasetemp()
        shim.share((own.parent if "PYTEST_XDIST_WORKER" in os.environ else own) / "kernels")
        monkeypatch.setitem(sys.modules, "cupy", stand_in)
        monkeypatch.setitem(sys.modules, "cupyx.scipy.fft", stand_in.fft)
    yield CUPY or stand_in
    arrays.forget_kernels()


@pytest.fixture(scope="session")
def shared():
    """The folder of real weights and pictures beside the checkout."""
    if not (SHARED / "weights").is_dir():
        pytest.skip("the real weights and pictures (../shared) are not on this machine")
    return SHARED


@pytest.fixture(scope="session")
def vgg19(shared, tmp_path_factory):
    """Path of the real VGG-19, converted."""
    from npstyle.networks.convert import convert

    path = tmp_path_factory.mktemp("weights") / "vgg19.npz"
    convert(shared / "weights" / "vgg19_keras_notop.h5", path)
    return path


@pytest.fixture
def small_network(rng):
    """Two blocks like VGG's with few channels, in float64."""

    def conv(name, channels, filters):
        weight = rng.standard_normal((3, 3, channels, filters)) / np.sqrt(9 * channels / 2)
        return Conv(name, weight, rng.normal(0, 0.3, filters), 1, 1)

    return Network(
        name="small",
        layers=(
            conv("conv1_1", 3, 4),
            Relu("relu1_1"),
            conv("conv1_2", 4, 5),
            Relu("relu1_2"),
            Pool("pool1", 2, 2, "avg"),
            conv("conv2_1", 5, 6),
            Relu("relu2_1"),
        ),
        channel_order="BGR",
        mean=(103.939, 116.779, 123.68),
        scale=(0.02, 0.02, 0.02),
        normalized=False,
        sha256="0" * 64,
    )
