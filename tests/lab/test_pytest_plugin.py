"""The fixture `gradcheck` in a run of pytest of its own."""

import os
import re
import subprocess
import sys
import tomllib
from importlib import import_module
from pathlib import Path

import pytest

from npstyle.errors import InputError

ROOT = Path(__file__).resolve().parents[2]


def example(mark):
    text = (ROOT / "npstyle" / "README.md").read_text(encoding="utf-8")
    return re.search(rf"<!-- {mark} -->\n```python\n(.*?)```", text, re.S)[1]


def run_pytest(folder, *options):
    environment = os.environ | {
        "PYTHONPATH": str(ROOT),
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
        "COLUMNS": "200",
    }
    environment.pop("PYTEST_ADDOPTS", None)
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "npstyle.lab.pytest_plugin", *options, folder],
        capture_output=True,
        text=True,
        cwd=folder,
        env=environment,
        timeout=120,
    )


def test_the_example_passes_and_a_wrong_derivative_fails_with_the_report(tmp_path):
    (tmp_path / "my_style.py").write_text(example("file"))
    (tmp_path / "test_right.py").write_text(example("fixture"))
    wrong = example("fixture").replace(
        "gradcheck(style,", "gradcheck(lambda F, A: 2 * style(F, A),"
    )
    (tmp_path / "test_wrong.py").write_text(wrong)
    run = run_pytest(tmp_path)
    assert "1 failed, 1 passed" in run.stdout, run.stdout + run.stderr
    assert "must be multiplied by 2 everywhere" in run.stdout
    assert "test_wrong.py" in run.stdout
    assert "pytest_plugin.py" not in run.stdout


def test_a_run_without_the_fixture_imports_neither_numpy_nor_the_laboratory(tmp_path):
    (tmp_path / "test_light.py").write_text(
        "import sys\n"
        "def test_light():\n"
        "    assert 'npstyle.lab.pytest_plugin' in sys.modules\n"
        "    heavy = {'numpy', 'scipy', 'npstyle.lab.gradcheck', 'npstyle.maths'}\n"
        "    assert not heavy & set(sys.modules)\n"
    )
    run = run_pytest(tmp_path)
    assert run.returncode == 0, run.stdout + run.stderr


def test_the_entry_point_names_the_plugin_and_pytest_is_no_dependency():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    (module,) = project["entry-points"]["pytest11"].values()
    assert import_module(module).gradcheck
    assert not any(name.startswith("pytest") for name in project["dependencies"])


@pytest.mark.parametrize("name", ["style", "affine_forward"])
def test_the_example_file_passes_and_every_change_of_a_derivative_is_found(tmp_path, name):
    from npstyle.lab.suite import check_file

    file = tmp_path / "my_style.py"
    file.write_text(example("file"))
    report = check_file(f"{file}:{name}", (2, 2), 20, 4)
    assert report.passed, report
    changes = {
        "style": [
            ("return F @ (F.T @ F - A)", "return 2 * F @ (F.T @ F - A)"),
            ("return np.sum((F.T @ F - A) * (F.T @ V))", "return np.sum((F.T @ F) * (F.T @ V))"),
            ("(V.T @ F + F.T @ V)", "(2 * V.T @ F)"),
        ],
        "affine_forward": [("upstream.sum(axis=0)", "upstream.mean(axis=0)")],
    }
    for old, new in changes[name]:
        file.write_text(example("file").replace(old, new))
        assert not check_file(f"{file}:{name}", (2, 2), 20, 4).passed


def test_without_its_fixed_input_the_example_asks_for_the_missing_gradient(tmp_path):
    from npstyle.lab.suite import check_file

    file = tmp_path / "my_style.py"
    file.write_text(example("file").replace('style_fixed = ("A",)', ""))
    with pytest.raises(InputError, match="or fix the input"):
        check_file(f"{file}:style", (2, 2), 20, 4)
