"""The package's front door: names without waiting."""

import ast
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import npstyle
from npstyle.engine.cuda import launch as cuda


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


def test_the_wheel_holds_every_kernel_and_the_network(tmp_path):
    wheel = pytest.importorskip("hatchling.builders.wheel", reason="hatchling is not installed")
    root = Path(npstyle.__file__).resolve().parents[1]
    if not (root / "pyproject.toml").is_file():
        pytest.skip("no checkout here to build from")
    (path,) = wheel.WheelBuilder(str(root)).build(directory=str(tmp_path))
    with zipfile.ZipFile(path) as archive:
        files = set(archive.namelist())
        (metadata,) = (archive.read(name).decode() for name in files if name.endswith("METADATA"))
    assert {f"npstyle/engine/cuda/{name}.cu" for name in cuda.NAMES} <= files
    assert "npstyle/data/builtin.npz" in files
    for extra, package in (("cuda12", "cupy-cuda12x"), ("cuda13", "cupy-cuda13x")):
        assert f"Provides-Extra: {extra}" in metadata
        assert package in metadata


def test_help_waits_for_neither_numpy_nor_scipy_nor_pillow():
    code = "import sys, npstyle.cli.main; print(*[n for n in ('numpy','scipy','PIL') if n in sys.modules])"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == ""
