"""tools/gpu_report.sh without a GPU: a fake interpreter writes the outputs of the steps."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TOOLS = ROOT / "tools"

pytestmark = pytest.mark.skipif(
    not (TOOLS / "gpu_report.sh").is_file() or shutil.which("bash") is None,
    reason="no checkout with tools/ here, or no bash",
)

FIGURES = {
    "device": "A GPU",
    "network": "random VGG-19",
    "numpy": "2",
    "cupy": "14",
    "torch": "2.11",
    "ceilings": {"copy": 4e12, "float32": 5e13, "tf32": 4e14, "fp16": 7e14},
    "sizes": {
        "512": {
            "shape": [384, 512],
            "operations": 3e11,
            "bytes": 2e9,
            "evaluation_s": {"float32": 0.01, "eager": 0.02},
            "ratio": {"float32": {"eager": 2.0}},
            "search": {"float32": {"iteration_s": 0.011, "evaluations": 22}},
            "memory": {"npstyle": 1e9, "estimate": 1.1e9},
            "graphs": [True],
        }
    },
    "accuracy": {
        "shape": [192, 256],
        "tf32": {
            "loss": 1e-4,
            "gradient": 2e-2,
            "gradient_with_masks": 1e-3,
            "other_masks": 12,
            "units": 1000,
        },
    },
}

TRAINING = {
    "size": 256,
    "layers": [
        {
            "layer": "3x3 /1, 64 to 64 channels, 64x64",
            "operations": 3e8,
            "npstyle_s": 3e-5,
            "pytorch_s": 6e-5,
            "error": 2e-7,
        }
    ],
    "pass_s": {"with kernels": 0.02, "without": 0.015},
}

FAKE = """#!/bin/bash
case "$*" in
*gpu_report.py*) exec {python} "$@" ;;
*gpu_inputs.py*) echo "missing: pooch" ;;
*test_replay*) echo "Fatal Python error: Aborted"; exit 134 ;;
*"-m pytest"*) echo "80 passed in 9.9s" ;;
*gpu_gradcheck*) echo "Traceback: no GPU"; exit 1 ;;
*benchmark_gpu_training*) echo '{training}' >"${{!#}}" ;;
*"--sizes 512"*) echo '{figures}' >"${{!#}}" ;;
*"--sizes 256"*"--no-compile"*) echo '{eager}' >"${{!#}}" ;;
*"--sizes 1024"*) echo '{{"device": "A GPU", "siz' >"${{!#}}"; sleep 60 ;;
*) exit 0 ;;
esac
"""


def test_a_report_is_written_even_if_steps_fail(tmp_path):
    folder = tmp_path / "report"
    python = tmp_path / "python"
    sizes = {"256": {**FIGURES["sizes"]["512"], "shape": [192, 256]}}
    shown = {"figures": json.dumps(FIGURES), "training": json.dumps(TRAINING)}
    shown["eager"] = json.dumps({**FIGURES, "sizes": sizes})
    python.write_text(FAKE.format(python=sys.executable, **shown))
    python.chmod(0o755)
    environment = {
        **os.environ,
        "PYTHON": str(python),
        "BENCHMARK_SECONDS": "2",
    }
    run = subprocess.run(
        ["bash", str(TOOLS / "gpu_report.sh"), str(folder)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert run.returncode == 0, run.stderr
    text = (folder / "report.md").read_text()
    for said in (
        "missing: pooch",
        "| tests-textbook | done |",
        "tests-textbook: `80 passed in 9.9s`",
        "| tests-replay | failed (134) |",
        "tests-replay: `Fatal Python error: Aborted`",
        "tests-gpu_transfer: `80 passed in 9.9s`",
        "| gradcheck | failed (1) |",
        "Traceback: no GPU",
        "| benchmark-1024 | stopped after 2 s |",
        "| benchmark-1024-eager | stopped after 2 s |",
        "| benchmark-256-eager | done |",
        "### 256 x 192",
        "Ceilings: copy 4.00 TB/s; products in TFLOP/s: float32 50.0, tf32 400.0, fp16 700.0.",
        "| float32 | 10.00 ms | 30.0 | 200 | 11.00 ms | 2.00 (eager) |",
        "| tf32 | 1.0e-04 | 2.0e-02 | 1.0e-03 | 12 of 1000 |",
        "| 3x3 /1, 64 to 64 channels, 64x64 | 0.030 ms | 10.0 | 2.00 | 2.0e-07 |",
        "Forward and backward at 256 x 256: with kernels 20.00 ms, without 15.00 ms.",
        "| job-npstyle-float32 | done |",
    ):
        assert said in text, text
    assert len(text) < 10_000
    assert os.listdir(folder) == ["report.md"]


def test_npstyle_reads_the_network_with_random_filters(tmp_path):
    sys.path.insert(0, str(TOOLS))
    try:
        from gpu_inputs import WIDTHS, describe, random_vgg19
    finally:
        sys.path.remove(str(TOOLS))
    from npstyle.maths.layers import Conv
    from npstyle.networks.network import load_network

    random_vgg19(tmp_path / "network.npz", dict.fromkeys(WIDTHS, 3))
    network = load_network(tmp_path / "network.npz")
    assert sum(isinstance(layer, Conv) for layer in network.layers) == 16
    assert any(line.startswith("missing: ") for line in describe())


def test_the_report_runs_every_file_of_gpu_tests():
    """All that use the GPU where there is one, but for the file that only tests the stand-in."""
    script = (TOOLS / "gpu_report.sh").read_text()
    marked = {
        str(path.relative_to(ROOT / "tests").with_suffix(""))
        for path in (ROOT / "tests").rglob("test_*.py")
        if "\nfrom tests.engine.cuda.gpus import" in path.read_text()
    }
    for name in marked - {"engine/cuda/test_memory"}:
        assert name in script, name
