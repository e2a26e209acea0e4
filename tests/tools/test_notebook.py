"""The example notebook runs, and its results show themselves."""

from pathlib import Path

import pytest

NOTEBOOK = Path(__file__).resolve().parents[2] / "tools" / "derive_check_paint.ipynb"
nbformat = pytest.importorskip("nbformat", reason="nbformat is not installed")


@pytest.fixture(scope="module")
def shown():
    """The outputs of each code cell: texts and HTML, in one string."""
    nbclient = pytest.importorskip("nbclient", reason="nbclient is not installed")
    pytest.importorskip("ipykernel", reason="ipykernel is not installed")
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    nbclient.NotebookClient(notebook, timeout=600, kernel_name="python3").execute()
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    return [
        "".join(out.get("text", "") or out["data"].get("text/html", "") for out in cell.outputs)
        for cell in cells
    ]


def test_the_file_has_no_outputs():
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            assert cell.outputs == []
            assert cell.execution_count is None


def test_the_right_derivative_agrees_and_the_wrong_one_does_not(shown):
    _, right, wrong, *_ = shown
    assert "<td>ok</td>" in right
    assert "WRONG" not in right
    assert "<td>WRONG</td>" in wrong


def test_the_chapter_and_the_evaluation_are_shown(shown):
    *_, chapter, evaluation, step, _ = shown
    assert "equation 3" in chapter
    assert "gram_backward" in chapter
    assert "<td>complex step</td>" in chapter
    assert "<td>gradient, largest</td>" in evaluation
    predicted, measured = (float(part.split()[1]) for part in step.split(","))
    assert measured == pytest.approx(predicted, rel=0.01)


def test_the_transfer_shows_a_full_bar_and_the_picture(shown):
    painted = shown[-1]
    assert "30/30" in painted
    assert "data:image/jpeg;base64," in painted
    assert "<td>style conv1_1</td>" in painted
    assert "<td>style_weight</td><td>1000</td>" in painted
    assert "ipywidgets" not in painted
