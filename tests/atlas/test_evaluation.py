import numpy as np
import pytest
from PIL import Image

from npstyle.atlas import evaluation
from npstyle.atlas.heatmaps import SEQUENTIAL, Album
from npstyle.atlas.pair import demo_pair
from npstyle.engine.bind import bind
from npstyle.engine.objective import StyleObjective
from npstyle.lab.whole import textbook_objective
from npstyle.networks.network import configure, load_network
from npstyle.run.settings import Settings

SIZE = 64


@pytest.fixture(scope="module")
def looked(tmp_path_factory):
    folder = tmp_path_factory.mktemp("look") / "figures"
    folder.mkdir()
    pair, network = demo_pair(SIZE), load_network("builtin")
    picture = (pair.photo + pair.painting) / 2
    configured = configure(network, "avg", np.float64)
    losses = Settings(size=SIZE).losses()
    formula = textbook_objective(configured, pair.photo, pair.painting, losses)
    found = evaluation.look(configured, formula, pair.photo, pair.painting, picture, Album(folder))
    objective = StyleObjective(bind(configured, losses.layers), pair.photo, pair.painting, losses)
    return found, objective(picture), folder


def test_the_terms_are_those_of_the_objective(looked):
    found, expected, _ = looked
    assert found.loss == pytest.approx(expected.loss, rel=1e-6)
    for (name, value, _), (part, right) in zip(
        sorted(found.terms), sorted(expected.parts.items()), strict=True
    ):
        assert name.replace("at relu", "conv") == part
        assert value == pytest.approx(right, rel=1e-6)


def test_the_gradients_of_the_terms_add_up_to_that_of_the_objective(looked):
    found, expected, _ = looked
    total = found.pixels[-1]
    assert total.title == "all terms"
    norm = float(np.linalg.norm(expected.gradient))
    assert float(total.about.removeprefix("norm ")) == pytest.approx(norm, rel=5e-3)


def test_every_layer_is_drawn_forward_and_backward(looked):
    found, _, _ = looked
    forward = [group.title for group in found.activations]
    assert forward[:3] == ["relu1_1", "relu1_2", "pool1"]
    assert forward[-1] == "relu5_1"
    assert [group.title for group in found.arriving] == forward[::-1]
    assert [g.title for g in found.masks] == [name for name in forward if name.startswith("relu")]
    assert [g.title for g in found.grams] == [f"relu{k}_1" for k in range(1, 6)]


def test_no_derivative_of_a_unit_lies_outside_its_receptive_field(looked):
    found, _, folder = looked
    for field, figure in zip(found.fields, found.effective, strict=True):
        picture = Image.open(folder.parent / figure.file).convert("RGB")
        factor = picture.width // SIZE
        pixels = np.asarray(picture)[::factor, ::factor]
        inside = np.zeros(pixels.shape[:2], bool)
        y, x = max(field.y, 0), max(field.x, 0)
        inside[y : field.y + field.height, x : field.x + field.width] = True
        lit = np.any(pixels != SEQUENTIAL[0], axis=2)
        assert lit.any(), field
        assert not np.any(lit & ~inside), field
    assert [field.width for field in found.fields] == sorted(f.width for f in found.fields)


def test_a_large_gram_matrix_is_averaged_over_blocks():
    G = np.arange(256.0)[:, None] + np.zeros((256, 256))
    small = evaluation._shrunk(G)
    assert small.shape == (128, 128)
    np.testing.assert_allclose(small[:, 0], np.arange(0.5, 256, 2))
