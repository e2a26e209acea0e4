"""The package from outside: its names and its wheel."""

import ast
import zipfile
from pathlib import Path

import pytest

import npstyle
from npstyle.engine.cuda import launch as cuda


def test_every_name_of_the_stub_can_be_imported():
    stub = ast.parse(Path(npstyle.__file__).with_suffix(".pyi").read_text(encoding="utf-8"))
    imports = [node for node in stub.body if isinstance(node, ast.ImportFrom)]
    names = [alias.asname for node in imports for alias in node.names]
    assert sorted(names) == sorted(npstyle.__all__)
    for name in names:
        assert getattr(npstyle, name) is not None


def test_the_wheel_holds_every_kernel_and_the_networks(tmp_path):
    wheel = pytest.importorskip("hatchling.builders.wheel", reason="hatchling is not installed")
    root = Path(npstyle.__file__).resolve().parents[1]
    if not (root / "pyproject.toml").is_file():
        pytest.skip("no checkout here to build from")
    (path,) = wheel.WheelBuilder(str(root)).build(directory=str(tmp_path))
    with zipfile.ZipFile(path) as archive:
        files = set(archive.namelist())
        (metadata,) = (archive.read(name).decode() for name in files if name.endswith("METADATA"))
    assert {f"npstyle/engine/cuda/{name}.cu" for name in cuda.NAMES} <= files
    for network in ("any_style", "builtin", "great_wave", "multistyle26", "starry_night"):
        assert f"npstyle/data/{network}.npz" in files
    for extra, package in (("cuda12", "cupy-cuda12x"), ("cuda13", "cupy-cuda13x")):
        assert f"Provides-Extra: {extra}" in metadata
        assert package in metadata
