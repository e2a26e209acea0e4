"""The textbook stands alone, and stays short."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from npstyle import maths

FILES = sorted(Path(maths.__file__).parent.glob("*.py"))


def test_the_textbook_imports_numpy_and_nothing_else():
    code = (
        "import sys, time, numpy; start = time.process_time(); import npstyle.maths; "
        "print(time.process_time() - start, *sys.modules)"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    seconds, *modules = run.stdout.split()
    own = {name for name in modules if name.partition(".")[0] == "npstyle"}
    assert {name for name in own if not name.startswith("npstyle.maths")} == {"npstyle"}
    assert not {"scipy", "cupy", "PIL", "h5py", "rich"} & set(modules)
    assert float(seconds) < 0.2


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_a_file_imports_only_numpy_the_standard_library_and_the_textbook(file):
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [node.module]
        else:
            continue
        for name in names:
            top = name.partition(".")[0]
            assert top in {"numpy", *sys.stdlib_module_names} or name.startswith("npstyle.maths")


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_every_page_and_every_public_function_has_a_docstring(file):
    tree = ast.parse(file.read_text(encoding="utf-8"))
    assert ast.get_docstring(tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
            assert ast.get_docstring(node), node.name
