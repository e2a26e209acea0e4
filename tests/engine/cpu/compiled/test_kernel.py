"""Where compiled loops are kept, and what happens without Numba."""

import os
import pickle
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from npstyle.engine import cpu, device
from npstyle.engine.bind import bind
from npstyle.engine.device import CPU, engine_of, missing_loops
from npstyle.networks.network import load_network

ROOT = Path(__file__).resolve().parents[4]

needs_numba = pytest.mark.skipif(
    find_spec("numba") is None, reason="compiled loops need Numba, the extra `fast`"
)


def test_without_numba_the_fast_route_is_numpys_and_says_what_the_extra_brings(monkeypatch):
    monkeypatch.setattr(device, "find_spec", lambda name: None)
    assert engine_of(CPU, fast=True) is cpu
    assert "pip install 'npstyle[fast]'" in missing_loops()


@pytest.mark.parametrize("error", [ImportError, AttributeError, SystemError])
def test_a_numba_that_does_not_start_is_named_with_its_reason(monkeypatch, error):
    def broken(name):
        raise error("Numba needs NumPy 2.3 or less.\nGot 9.9.")

    monkeypatch.setattr(device, "find_spec", lambda name: True)
    monkeypatch.setattr(device, "import_module", broken)
    assert engine_of(CPU, fast=True) is cpu
    assert missing_loops().endswith("(Numba needs NumPy 2.3 or less.)")


def test_exact_runs_and_help_do_not_import_numba():
    says = "import sys, npstyle.cli.main, npstyle.run.transfer; print('numba' in sys.modules)"
    run = subprocess.run(
        [sys.executable, "-c", says], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert run.stdout.strip() == "False"
    assert engine_of(CPU) is cpu


@needs_numba
def test_a_network_bound_to_the_loops_survives_pickling():
    bound = bind(load_network("builtin"), engine=engine_of(CPU, fast=True), route="fast")
    copy = pickle.loads(pickle.dumps(bound))
    assert copy.engine is bound.engine is not cpu
    assert np.array_equal(copy.layers[0].kernel, bound.layers[0].kernel)


@needs_numba
@pytest.mark.slow
def test_a_cache_that_cannot_be_written_does_not_break_a_run(tmp_path):
    """Every place of the cache is a file, so that no folder can be made there."""
    (tmp_path / "file").touch()
    says = """
import numba.core.caching as caching
def refuse(self): raise OSError("read-only file system")
for kind in caching.CacheImpl._locator_classes: kind.ensure_cache_path = refuse
from npstyle.engine.device import engine_of, CPU
engine = engine_of(CPU, fast=True)
import numpy as np
x = np.ones((4, 4, 3), np.float32)
U = engine.transform_filters(np.ones((3, 3, 3, 2), np.float32))
print(float(engine.winograd_conv2d(x, U)[1, 1, 0]))
"""
    run = subprocess.run(
        [sys.executable, "-c", says],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )
    assert run.returncode == 0, run.stderr
    assert float(run.stdout) == pytest.approx(27, abs=1e-4)
