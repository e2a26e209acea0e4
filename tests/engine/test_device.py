import sys
from types import SimpleNamespace

import pytest

from npstyle.cli import console
from npstyle.engine import machine
from npstyle.engine.device import CPU, Device, find_device, free_memory, on_device
from npstyle.errors import InputError
from tests.engine.cuda import cupy as stand_in


@pytest.fixture
def replaced(monkeypatch):
    """CuPy replaced by its stand-in; returns `monkeypatch`, to change the stand-in."""
    monkeypatch.setitem(sys.modules, "cupy", stand_in)
    return monkeypatch


def test_auto_takes_the_first_gpu_and_a_number_selects_one(replaced):
    assert str(find_device()) == str(find_device("cuda")) == "cuda:0"
    device = find_device("cuda:1")
    assert (str(device), device.name, device.capability) == ("cuda:1", "Stand-in", 90)
    assert find_device("cpu") == CPU


def test_without_cupy_nothing_is_imported_and_the_message_names_the_extra(monkeypatch):
    monkeypatch.setattr("npstyle.engine.device.find_spec", lambda name: None)
    monkeypatch.setattr("npstyle.engine.cuda.arrays.cupy", lambda: pytest.fail("CuPy was imported"))
    device = find_device("auto")
    assert not device.is_gpu
    assert "npstyle[cuda13]" in device.missing
    with pytest.raises(InputError, match=r"--device cuda:1: CuPy is not installed"):
        find_device("cuda:1")


def test_the_device_is_printed_and_the_reason_for_the_cpu(replaced, capsys):
    console.print_device(find_device("cuda:1"))
    console.print_device(Device(missing="it rains"), threads=2)
    assert capsys.readouterr().out.splitlines() == [
        "device    cuda:1, Stand-in",
        "device    CPU, 2 threads",
        "          no GPU: it rains",
    ]


def failing(error):
    def fail(*_):
        raise error

    return fail


DRIVER = "cudaErrorInsufficientDriver: CUDA driver version is insufficient"
BROKEN = {
    "no driver": ("runtime", {"getDeviceCount": failing(RuntimeError(DRIVER))}, "NVIDIA driver"),
    "no GPU": (
        "runtime",
        {"getDeviceCount": failing(RuntimeError("cudaErrorNoDevice: none"))},
        "no NVIDIA GPU",
    ),
    "GPUs hidden": ("runtime", {"getDeviceCount": lambda: 0}, "no GPU 0; CUDA sees 0"),
    "unknown": ("runtime", {"getDeviceCount": failing(RuntimeError("a\nb"))}, r"\(a\)"),
    "no NVRTC": ("nvrtc", {"getVersion": failing(ImportError("libnvrtc"))}, "no NVRTC"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_missing_gpu_gives_one_line_for_auto_and_an_error_for_cuda(replaced, case):
    part, changed, says = BROKEN[case]
    namespace = SimpleNamespace(**(vars(getattr(stand_in.cuda, part)) | changed))
    replaced.setattr(stand_in.cuda, part, namespace)
    device = find_device("auto")
    assert not device.is_gpu
    assert "\n" not in device.missing
    with pytest.raises(InputError, match=says):
        find_device("cuda")


def test_a_gpu_that_is_too_old_is_refused(replaced):
    replaced.setattr(stand_in.Device, "compute_capability", "61")
    with pytest.raises(InputError, match=r"compute capability 6\.1; 7\.0"):
        find_device("cuda")


def test_a_gpu_that_cuda_13_has_dropped_needs_cuda_12(replaced):
    replaced.setattr(stand_in.Device, "compute_capability", "70")
    with pytest.raises(InputError, match=r"CUDA 13 compiles no kernels for .*\[cuda12\]"):
        find_device("cuda")
    nvrtc = SimpleNamespace(getVersion=lambda: (12, 9))
    replaced.setattr(stand_in.cuda, "nvrtc", nvrtc)
    assert find_device("cuda").capability == 70


@pytest.mark.parametrize(
    ("raised", "says"),
    [
        ("ImportError('libcuda.so.1: not found')", "(libcuda.so.1: not found)"),
        ("AttributeError('module numpy has no attribute x\\nmore')", "has no attribute x)"),
        ("KeyError()", "(KeyError)"),
        ("TypeError('bad')", "(bad)"),
        ("ValueError('numpy.dtype size changed')", "(numpy.dtype size changed)"),
    ],
)
def test_a_cupy_that_cannot_be_imported_costs_auto_the_gpu_only(
    tmp_path, monkeypatch, raised, says
):
    (tmp_path / "cupy.py").write_text(f"raise {raised}")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "cupy", raising=False)
    device = find_device("auto")
    assert not device.is_gpu
    assert device.missing.startswith("CuPy does not start (")
    assert device.missing.endswith(says)
    with pytest.raises(InputError, match=r"^--device cuda: CuPy does not start \(.*\)$"):
        find_device("cuda")


@pytest.mark.parametrize("text", ["gpu", "cuda:", "cuda:x", "cuda:-1", "CUDA", ""])
def test_an_unknown_device_is_refused_by_name(text):
    with pytest.raises(InputError, match=f"--device {text}: give auto, cpu, cuda"):
        find_device(text)


def test_a_run_on_a_gpu_may_take_the_free_memory_and_leaves_no_limit(replaced):
    with on_device(find_device("cuda:1")):
        assert stand_in.Device.current == 1
        assert stand_in.pool.limit == stand_in.FREE
    assert stand_in.Device.current == stand_in.pool.limit == 0
    assert free_memory(find_device("cuda")) == stand_in.FREE


def test_the_free_memory_of_the_cpu_is_that_of_the_machine(monkeypatch):
    monkeypatch.setattr(machine, "available_memory", lambda: 123)
    with on_device(CPU):
        assert free_memory(CPU) == 123
