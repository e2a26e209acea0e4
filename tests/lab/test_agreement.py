"""Every function of the engine agrees with its page of the textbook, on the CPU and on the GPU."""

from inspect import isfunction, signature
from types import SimpleNamespace

import numpy as np
import pytest

from npstyle.engine import cpu, cuda
from npstyle.engine.cuda.tensor_cores import has_tensor_cores
from npstyle.lab.agreement import TABLE, agreement, agreement_outcomes, relative_error
from npstyle.lab.battery import CHAPTERS
from npstyle.lab.whole import cases, objective_outcome, whole_agreements
from npstyle.lab.whole_painter import painter_outcome
from npstyle.networks.network import load_network
from tests.engine.cuda.gpus import needed

MEMORY = {"LOSS_ARRAYS", "ON_GPU", "strip_bytes", "workspace_bytes"}
"""Where arrays lie and how much memory they take: nothing that the textbook has."""

TENSOR_CORES = {"pack_filters", "tensor_conv2d", "tensor_conv2d_backward"}


def test_the_table_has_every_function_that_an_engine_exports():
    assert set(TABLE) == (set(cpu.__all__) | set(cuda.__all__)) - MEMORY
    assert set(cpu.__all__) <= set(cuda.__all__)
    assert set(cuda.__all__) - set(cpu.__all__) == TENSOR_CORES


def test_the_engines_functions_take_the_same_arguments():
    for name in set(cpu.__all__) & set(cuda.__all__):
        of_cpu, of_gpu = getattr(cpu, name), getattr(cuda, name)
        if isfunction(of_cpu):
            taken = [
                [(p.name, p.default, p.kind) for p in signature(function).parameters.values()]
                for function in (of_cpu, of_gpu)
            ]
            assert taken[0] == taken[1], name


def test_the_chapters_name_every_function_that_has_a_page():
    named = {name for chapter in CHAPTERS.values() for name in chapter.engine}
    without = {name for name, entry in TABLE.items() if entry.page is None}
    assert named == set(TABLE) - without - {"numbers", "pack_filters"}


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("seed", [0, 1])
def test_the_cpu_agrees_with_the_textbook(dtype, seed):
    outcomes = dict(agreement_outcomes(cpu, dtype, seed))
    assert set(outcomes) == set(cpu.__all__) - MEMORY
    for name, outcome in outcomes.items():
        assert outcome.passed, (name, outcome.note)
        assert outcome.method == "textbook"


@pytest.mark.parametrize("seed", [0, 1])
def test_the_compiled_loops_agree_with_the_textbook(cpu_engine, seed):
    outcomes = dict(agreement_outcomes(cpu_engine, np.float32, seed))
    assert cpu_engine.__all__ == cpu.__all__
    assert set(outcomes) == set(cpu.__all__) - MEMORY
    for name, outcome in outcomes.items():
        assert outcome.passed, (name, outcome.note)


@pytest.mark.parametrize("name", sorted(set(cuda.__all__) - MEMORY))
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
class TestGpu:
    pytestmark = needed

    def test_the_gpu_agrees_with_the_textbook(self, name, dtype):
        if name in TENSOR_CORES and not has_tensor_cores():
            pytest.skip("the GPU has no tensor cores that the kernels can use")
        outcome = agreement(name, cuda, dtype)
        assert outcome.passed, outcome.note


class TestWholeOnGpu:
    pytestmark = needed

    def test_passes_and_objective_agree_with_the_textbook(self):
        rng = np.random.default_rng(0)
        photo, painting, pixels = (rng.uniform(1, 254, (18, 17, 3)) for _ in range(3))
        every = {case.name: case for case in cases(load_network("builtin"), photo, painting)}
        for name in ("gatys", "in regions"):
            outcome = objective_outcome(every[name], cuda, photo, pixels)
            assert outcome.passed, (name, outcome.note)


def test_passes_and_objective_on_the_cpu_agree_with_the_textbook():
    outcomes = dict(whole_agreements(load_network("builtin"), cpu, 20, 0))
    for name, outcome in outcomes.items():
        assert outcome.passed, (name, outcome.note)
        assert outcome.error <= 1e-12
    presets = ("gatys", "paper", "neural-style")
    assert {"network", *(f"objective {name}" for name in presets)} <= set(outcomes)


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("conv2d_backward", lambda right: lambda *a: 1.0001 * right(*a)),
        ("gram", lambda right: lambda F, guide=None: right(F)),
        ("style_loss_backward", lambda right: lambda *a: right(*a[:5])),
        ("max_pool2d", lambda right: lambda x, *way: right(x[:, ::-1], *way)),
        ("relu", lambda right: lambda z, out=None: z),
    ],
)
def test_the_note_names_a_function_of_the_engine_that_differs(name, wrong):
    functions = {key: getattr(cpu, key) for key in cpu.__all__}
    functions[name] = wrong(functions[name])
    engine = SimpleNamespace(__name__="npstyle.engine.cpu", **functions)
    outcome = agreement(name, engine, np.float64)
    assert not outcome.passed
    assert outcome.note.startswith(f"differs from {TABLE[name].page.__module__}")


def test_an_array_of_another_shape_or_with_nan_never_agrees():
    assert relative_error(np.zeros((2, 3)), np.zeros((3, 2))) == np.inf
    assert not relative_error(np.array([np.nan]), np.ones(1)) <= 1
    assert relative_error(np.ones(3), np.ones(3)) == 0


@pytest.mark.parametrize("seed", [0, 1])
def test_the_passes_over_a_network_that_paints_agree_with_the_textbook(seed):
    outcome = painter_outcome(seed)
    assert outcome.passed, outcome.note
    assert outcome.checked == 4
