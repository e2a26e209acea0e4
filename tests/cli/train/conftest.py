import pytest

from npstyle.images.formula import draw_painting, draw_photo
from npstyle.images.write import save_image
from npstyle.run.crops import LEAST_PHOTOS
from tests.cli.train.training import kept_checkpoint, npstyle, training


@pytest.fixture(scope="session")
def pictures(tmp_path_factory):
    """A painting and a folder of photos, which every test may read."""
    folder = tmp_path_factory.mktemp("train")
    (folder / "photos").mkdir()
    save_image(folder / "painting.jpg", draw_painting(48, 64))
    for k in range(LEAST_PHOTOS):
        save_image(folder / "photos" / f"{k}.jpg", draw_photo(64, 80 + k))
    return folder


@pytest.fixture(scope="session")
def trained(pictures, tmp_path_factory):
    """A training without a break: five steps, with savings after two, four and all of them."""
    output = tmp_path_factory.mktemp("trained") / "style.npz"
    with kept_checkpoint():
        run = npstyle(*training(pictures, output, "--steps", 5, "--save-every", 2))
    assert run.code == 0, run.err
    return output, run


@pytest.fixture(autouse=True)
def without_plots(request, monkeypatch):
    """Draw no plots, which take longer than a step, except in the training without a break."""
    if "trained" in request.fixturenames:
        request.getfixturevalue("trained")
    monkeypatch.setattr("npstyle.run.training_files.find_spec", lambda name: None)
