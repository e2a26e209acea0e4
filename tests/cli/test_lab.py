"""`npstyle gradcheck` and `npstyle explain` as users run them; bad input in the tests' process."""

import json
import re
import sys
from itertools import islice
from pathlib import Path

import pytest

from npstyle.lab import suite
from npstyle.lab.battery import CHAPTERS
from tests.cli.program import npstyle
from tests.lab.test_feedforward_mutations import MUTATIONS as FEEDFORWARD
from tests.lab.test_mutations import IN_NETWORK, MUTATIONS

README = Path(__file__).resolve().parents[2] / "README.md"


def readme_example():
    return re.search(r"<!-- example -->\n```python\n(.*?)```", README.read_text(), re.S)[1]


def test_all_checks_pass_and_give_a_table_and_a_plot(tmp_path, in_this_process, monkeypatch):
    every = suite.all_subjects
    some = ("conv2d", "relu", "tv", "objective gatys")
    monkeypatch.setattr(
        suite, "all_subjects", lambda *given: (s for s in every(*given) if s.name.startswith(some))
    )
    plot = tmp_path / "plot.png"
    few = ("--quick", "--samples", 2, "--directions", 1)
    run = in_this_process("gradcheck", *few, "--network", "builtin", "--plot", plot)
    assert run.returncode == 0, run.stdout + run.stderr
    for word in (
        "conv2d 3x3",
        "objective gatys",
        "complex step",
        "kinks",
        "comparisons checked",
        "all agree",
    ):
        assert word in run.stdout
    assert max(map(len, run.stdout.splitlines())) <= 80
    assert plot.read_bytes().startswith(b"\x89PNG")


def test_json_contains_every_number(in_this_process, monkeypatch):
    check = suite.check_network
    monkeypatch.setattr(suite, "check_network", lambda *given: islice(check(*given), 40))
    run = in_this_process("gradcheck", "--quick", "--json")
    assert run.returncode == 0, run.stderr
    reports = json.loads(run.stdout, parse_constant=pytest.fail)
    assert len(reports) == 40
    assert all(report["passed"] for report in reports)
    assert {"method", "error", "kinks", "slopes", "remainders"} <= set(reports[0]["outcomes"][0])


def test_the_example_in_the_readme_finds_the_missing_factor_and_the_correction_passes(tmp_path):
    file = tmp_path / "my_formula.py"
    file.write_text(readme_example())
    run = npstyle("gradcheck", f"{file}:my_loss")
    assert run.returncode == 1, run.stderr
    assert "must be multiplied by 2 everywhere" in run.stdout
    file.write_text(readme_example().replace("(2 / len", "(4 / len"))
    run = npstyle("gradcheck", f"{file}:my_loss")
    assert run.returncode == 0, run.stdout + run.stderr


def test_the_readme_states_how_many_mutations_there_are():
    count = len(MUTATIONS) + len(IN_NETWORK) + len(FEEDFORWARD)
    assert f"{count} deliberately wrong derivatives" in README.read_text()


@pytest.mark.parametrize("chapter", ["gram", "tiles"])
def test_explain_shows_formula_code_and_check(in_this_process, chapter):
    run = in_this_process("explain", chapter)
    assert run.returncode == 0, run.stderr
    found = CHAPTERS[chapter]
    assert found.module.__doc__.strip().splitlines()[0] in run.stdout
    for function in found.functions:
        assert f"def {function.__name__}(" in run.stdout
    assert "all agree" in run.stdout


FILES = {
    "no function": ("x = 1", "has no function loss; it has none"),
    "syntax": ("def loss(x) return x", "raised SyntaxError"),
    "import": ("import no_such_module_here", "raised ModuleNotFoundError"),
    "raises": (
        "def loss(x): return 1 / 0\ndef loss_backward(x): return x",
        "raised ZeroDivisionError in line 1: ",
    ),
    "no gradient": ("def loss(x): return x.sum()", "pair (value, gradient)"),
    "no number": (
        "def loss(x): return 0 * x.sum() + float('nan')\ndef loss_backward(x): return x",
        "mine.py:loss: the function returned NaN",
    ),
    "wrong shape": (
        "def loss(x): return x.sum()\ndef loss_backward(x): return x[0]",
        "gradient for input 0 (x) has shape",
    ),
    "random": (
        "import numpy as np\ndef loss(x): return np.random.rand()\ndef loss_backward(x): return x",
        "without randomness",
    ),
    "not float": (
        "def loss(x): return x.sum()\ndef loss_backward(x): return x\n"
        "def loss_inputs(rng): return rng.integers(0, 9, 5)",
        "needs a float array",
    ),
    "exit": ("raise SystemExit(0)", "raised SystemExit"),
    "undeclared cache": (
        "def loss(x): return x, {}\ndef loss_backward(dout, saved): return dout",
        "name that function's parameter `cache`",
    ),
    "no such input": (
        "def loss(x): return x\ndef loss_backward(u, x): return u\nloss_fixed = ('mask',)",
        "fixed: the function has no input mask; it has x",
    ),
    "no function for tangents": (
        "def loss(x): return x\ndef loss_backward(u, x): return u\nloss_jvp = 3",
        "loss_jvp is no function",
    ),
    "array without upstream": (
        "def loss(x): return x * 2.0\ndef loss_backward(x): return x",
        "must take dL/dF",
    ),
}


NEIGHBOUR = """
from __future__ import annotations
from dataclasses import dataclass
import numpy as np
import my_neighbour

@dataclass
class Factor:
    value: float = 3.0

def loss(x, mode, mask):
    return my_neighbour.sine(x) * Factor().value, np.sum(mask * x)

def loss_backward(x, mode, mask, upstream):
    return [Factor().value * np.cos(x) * upstream[0] + mask * upstream[1]]

def loss_jvp(x, mode, mask, v):
    return Factor().value * np.cos(x) * v, np.sum(mask * v)

def loss_inputs(rng):
    return rng.standard_normal(4), "plain", rng.standard_normal(4)

loss_fixed = "mask"
"""


def test_a_file_may_use_the_modules_beside_it_dataclasses_and_inputs_without_derivatives(
    tmp_path, in_this_process
):
    (tmp_path / "my_neighbour.py").write_text("from numpy import sin as sine")
    file = tmp_path / "mine.py"
    file.write_text(NEIGHBOUR)
    before = sys.path.copy()
    run = in_this_process("gradcheck", f"{file}:loss")
    assert run.returncode == 0, run.stdout + run.stderr
    assert sys.path == before
    assert "jvp adjoint" in run.stdout
    assert "input 1 (mode) has no derivative (str) and was held fixed" in run.stdout
    file.write_text(NEIGHBOUR.replace("np.sum(mask * v)", "np.sum(v)"))
    run = in_this_process("gradcheck", f"{file}:loss", "--plot", tmp_path / "plot.png")
    assert run.returncode == 1, run.stderr
    assert "<u, J v> = <J^T u, v> fails" in run.stdout
    assert (tmp_path / "plot.png").is_file()


def test_a_forward_function_finds_its_backward_function(tmp_path, in_this_process):
    file = tmp_path / "mine.py"
    file.write_text(
        "def layer_forward(x): return [x * x, x]\n"
        "def layer_backward(dout, cache): return 2 * dout * cache\n"
    )
    run = in_this_process("gradcheck", f"{file}:layer_forward")
    assert run.returncode == 0, run.stdout + run.stderr


def test_help_names_all_that_a_file_may_define(in_this_process):
    run = in_this_process("gradcheck", "--help")
    for name in ("_backward(upstream, *inputs)", "_inputs(rng)", "_fixed", "_jvp(", "_hvp("):
        assert f"NAME{name}" in run.stdout


@pytest.mark.parametrize("case", FILES)
def test_a_file_that_cannot_be_checked_gets_one_sentence(tmp_path, in_this_process, case):
    text, says = FILES[case]
    file = tmp_path / "mine.py"
    file.write_text(text)
    run = in_this_process("gradcheck", f"{file}:loss")
    assert run.returncode == 2, run.stdout
    assert says in run.stderr
    assert run.stderr.startswith(f"npstyle: {file}:")
    assert "Traceback" not in run.stderr
    assert run.stdout == ""
    assert len(run.stderr.strip().splitlines()) == 1


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("gradcheck", "no.py:loss"), "no.py"),
        (("gradcheck", "no_colon"), "FILE.py:NAME"),
        (("gradcheck", "--size", "4", "--samples", "1", "--directions", "1"), "--size"),
        (("gradcheck", "--samples", "0"), "--samples"),
        (("gradcheck", "--network", "nowhere"), "nowhere"),
        (("gradcheck", "--plot", "x.xyz"), ".xyz"),
        (("gradcheck", "x.py:f", "--shape", "4,x"), "--shape 4,x"),
        (("gradcheck", "x.py:f", "--shape", "1" + 30 * "0"), "memory does not hold it"),
        (("gradcheck", "x.py:f", "--shape", "1000000,1000000"), "memory does not hold it"),
        (("gradcheck", "--device", "gpu"), "--device gpu: give auto"),
        (("gradcheck", "x.py:f", "--device", "auto"), "--device: npstyle cannot choose"),
        (("gradcheck", "x.py:f", "--size", "8"), "--size: is for npstyle's own derivatives"),
        (("gradcheck", "x.py:f", "--network", "vgg19"), "--network: is for npstyle's own"),
        (("gradcheck", "--shape", "4"), "--shape: is for a function of your own"),
        (("explain", "lstm"), "conv2d"),
    ],
)
def test_a_bad_option_gets_one_sentence(tmp_path, in_this_process, arguments, says):
    (tmp_path / "x.py").write_text("def f(x): return x.sum(), 1 + 0 * x")
    run = in_this_process(*arguments, cwd=tmp_path)
    assert run.returncode == 2, run.stdout
    assert says in run.stderr
    assert "Traceback" not in run.stderr
    assert run.stdout == ""


def test_without_matplotlib_a_plot_is_refused_before_the_work(tmp_path):
    (tmp_path / "matplotlib.py").write_text("raise ImportError('not here')")
    code = "import sys; sys.path.insert(0, '.'); from npstyle.cli.main import main; main()"
    from subprocess import run

    found = run(
        [sys.executable, "-c", code, "gradcheck", "--quick", "--plot", "x.png"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        timeout=60,
    )
    assert found.returncode == 2
    assert "npstyle[plots]" in found.stderr
