"""The rules of the source: the sizes of files and functions, and where the tests are."""

import ast
from pathlib import Path

import pytest

import npstyle

PACKAGE = Path(npstyle.__file__).resolve().parent
SOURCES = sorted(PACKAGE.rglob("*.py"))

FILE_LINES = 400
FUNCTION_LINES = 60
TEXTBOOK_LINES = 2300
TEXTBOOK_FUNCTION_LINES = 30
PARAMETERS = 10
TOP_FILES = 6


def functions(path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return [n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)]


def body_lines(function):
    """Lines of a function without its signature and docstring."""
    body = function.body
    if ast.get_docstring(function) is not None:
        body = body[1:]
    return body[-1].end_lineno - body[0].lineno + 1 if body else 0


def parameters(function):
    given = function.args
    names = [a.arg for a in (*given.posonlyargs, *given.args, *given.kwonlyargs)]
    return len(names) - (names[:1] in (["self"], ["cls"]))


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_files_functions_and_parameter_lists_are_short(path):
    assert len(path.read_text(encoding="utf-8").splitlines()) <= FILE_LINES
    for function in functions(path):
        assert body_lines(function) <= FUNCTION_LINES, function.name
        assert parameters(function) <= PARAMETERS, function.name


def test_cuda_sources_are_short():
    for path in PACKAGE.rglob("*.cu"):
        assert len(path.read_text(encoding="utf-8").splitlines()) <= FILE_LINES, path.name


def test_the_textbook_is_short():
    chapters = sorted((PACKAGE / "maths").glob("*.py"))
    lines = sum(len(path.read_text(encoding="utf-8").splitlines()) for path in chapters)
    assert lines <= TEXTBOOK_LINES
    for path in chapters:
        for function in functions(path):
            assert body_lines(function) <= TEXTBOOK_FUNCTION_LINES, function.name


def test_few_files_lie_at_the_top():
    assert len([path for path in PACKAGE.iterdir() if path.is_file()]) <= TOP_FILES


def test_the_tests_mirror_the_packages():
    tests = Path(__file__).parent
    packages = {p.relative_to(PACKAGE) for p in PACKAGE.rglob("*") if (p / "__init__.py").is_file()}
    for package in packages:
        assert list((tests / package).glob("test_*.py")), package
