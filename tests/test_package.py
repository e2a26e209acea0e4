"""The package's front door: names without waiting."""

import ast
import subprocess
import sys
from pathlib import Path

import npstyle


def test_every_name_is_there_and_the_table_is_what_type_checkers_read():
    tree = ast.parse(Path(npstyle.__file__).read_text(encoding="utf-8"))
    block = next(node for node in tree.body if isinstance(node, ast.If))
    imported = {
        node.module.removeprefix("npstyle."): [alias.name for alias in node.names]
        for node in block.body
    }
    assert imported == npstyle._HOMES
    assert sorted(name for names in imported.values() for name in names) == sorted(npstyle.__all__)
    for name in npstyle.__all__:
        assert getattr(npstyle, name) is not None


def test_help_waits_for_neither_numpy_nor_scipy_nor_pillow():
    code = (
        "import sys, npstyle.cli; print(*[n for n in ('numpy','scipy','PIL') if n in sys.modules])"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == ""
